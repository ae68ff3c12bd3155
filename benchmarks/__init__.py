"""zkwire compared with other clients: `python -m benchmarks`. See benchmarks/README.md."""
