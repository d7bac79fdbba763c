"""`python -m snnconvert` is the command `snnconvert`."""

import sys

from snnconvert.cli import main

sys.exit(main())
