"""Lets ``python -m xferlib`` be the command ``xferlib``."""

import sys

from xferlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
