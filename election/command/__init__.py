"""The command line: `python -m election`."""
