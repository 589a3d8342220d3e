"""`python -m research.nano.train RECIPE ...`: `anymask train` with composed scenes."""

from __future__ import annotations

import argparse

from anymask.cli import train
from research.nano.scenes import compose


def main() -> None:
    """Read the words of `anymask train` and train."""
    parser = argparse.ArgumentParser(prog="python -m research.nano.train", description=__doc__)
    train.COMMAND.add_to(parser)
    train.run(parser.parse_args(), scenes=compose)


if __name__ == "__main__":
    main()
