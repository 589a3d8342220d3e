"""Options of automatic masks: tiles, retries and post-processing in words in, settings out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from anymask.cli.options import add_options, read_options
from anymask.jobs.choices import ArrangementChoice, LookChoice

if TYPE_CHECKING:
    from anymask.predictors.arrangement import ArrangementDict


def add_arrangement_options(parser: argparse.ArgumentParser) -> None:
    """The options of `ArrangementChoice`."""
    from anymask.predictors.arrangement import Arrangement

    add_options(parser.add_argument_group("what becomes of the masks"), Arrangement)
    add_options(parser.add_argument_group("large photos and masks of low quality"), LookChoice)


def read_arrangement(args: argparse.Namespace) -> ArrangementChoice:
    """What was chosen. Raises InputError, before anything is opened."""
    from anymask.predictors.arrangement import Arrangement

    given = cast("ArrangementDict", read_options(args, Arrangement))
    return ArrangementChoice(given, LookChoice(**read_options(args, LookChoice)))
