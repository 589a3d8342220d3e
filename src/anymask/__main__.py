"""`python -m anymask` is the `anymask` command."""

import sys

from anymask.cli.main import main

sys.exit(main())
