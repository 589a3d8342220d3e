"""The command line of anymask, with these data sets."""

import sys

from anymask.cli.main import main
from research.datasets import register

register()
sys.exit(main())
