"""`python -m fastapi_poto --help`."""

import sys

from .commands.command import main

if __name__ == "__main__":
    sys.exit(main())
