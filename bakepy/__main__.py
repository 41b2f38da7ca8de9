"""`python -m bakepy` is `bakepy`."""

import sys

from bakepy.cli import main

if __name__ == "__main__":
    sys.exit(main())
