"""`python -m naaflib` is `naaf`."""

import sys

from .cli import main

sys.exit(main())
