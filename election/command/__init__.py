"""The command line `python -m election`, and the command that runs only while leader."""
