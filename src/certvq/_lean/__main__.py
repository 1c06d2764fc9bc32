"""``python -m certvq._lean``: set Lean up from npm."""

import sys

from certvq._lean._setup import main

sys.exit(main())
