"""`python -m anymask`: runs the `anymask` command."""

import sys

from anymask.cli.main import main

sys.exit(main())
