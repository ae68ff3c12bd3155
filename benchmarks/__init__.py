"""zkwire beside its peers: `python -m benchmarks`. See benchmarks/README.md."""
