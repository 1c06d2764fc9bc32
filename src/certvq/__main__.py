"""Run the command line as `python -m certvq`."""

import sys

from certvq.cli import main

if __name__ == "__main__":
    sys.exit(main())
