"""`python -m election`."""

import sys

from .command.verbs import main

if __name__ == "__main__":
    sys.exit(main())
