"""What `anymask eval` measures on: a suite, sets, or labels of any format in, sets read out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anymask.data.layouts import fitting_layout
from anymask.data.sets import is_set
from anymask.data.streams import open_stream
from anymask.evaluation.measures import check_measures
from anymask.evaluation.selection import EvalSet
from anymask.evaluation.suite import (
    SHIPPED,
    Suite,
    find_suite,
    folder_suite,
    labelled_suite,
    open_sets,
    read_suite,
)
from anymask.primitives.errors import ConfigError, InputError

LABELS = {"origin": "--from", "images": "--images", "split": "--split"}  # about labels alone


def configure_labels(parser: argparse.ArgumentParser) -> None:
    """The options of labels that are no set of ours."""
    add = parser.add_argument_group("labels (`anymask eval LABELS`)").add_argument
    add("--from", dest="origin", metavar="FORMAT", help="the format; recognised when left out")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--split", metavar="NAME", help="of a published data set or of videos, such as val")


def asked_sets(args: argparse.Namespace) -> tuple[Suite, list[EvalSet]]:
    """The suite and those of its sets that the options leave, with what is measured on them.

    Raises ConfigError or DataError when something is absent or broken, InputError for options that
    do not go together.
    """
    suite, sets = _find_sets(args, [name for name in args.sets.split(",") if name])
    return suite, with_measures(sets, args.measure, args.only)


def with_measures(sets: Sequence[EvalSet], names: Sequence[str], only: bool) -> list[EvalSet]:
    """The sets, with more measures or with no others. Raises ConfigError for an unknown name."""
    if only and not names:
        raise InputError("--only leaves what --measure names; give at least one --measure NAME")
    plans = [
        replace(
            one.plan,
            measures=check_measures([*names, *(() if only else one.plan.measures)], "--measure"),
        )
        for one in sets
    ]
    return [replace(one, plan=plan) for one, plan in zip(sets, plans, strict=True)]


def _find_sets(args: argparse.Namespace, names: Sequence[str]) -> tuple[Suite, list[EvalSet]]:
    path = Path(args.what).expanduser()
    if path.exists() and path.suffix != ".toml" and (_says_labels(args) or not _has_sets(path)):
        return _read_labels(args, path, names)
    for name, option in LABELS.items():
        if getattr(args, name) is not None:
            raise InputError(
                f"{option} is for one file or folder of labels, got {args.what!r}; leave it out"
            )
    if path.is_dir():
        suite, parent = folder_suite(path)
        return suite, open_sets(suite, parent, names)
    file = find_suite(args.what)
    suite = read_suite(file)
    folder = suite.data if args.data is None else Path(args.data).expanduser()
    if folder is None or not folder.is_dir():
        unsaid = folder is None or (args.data is None and file.parent == SHIPPED)
        lost = "" if unsaid else f" ({folder} is no folder)"
        raise ConfigError(f"suite {suite.name!r} names sets; say where they lie: --data DIR{lost}")
    return suite, open_sets(suite, folder, names)


def _says_labels(args: argparse.Namespace) -> bool:
    return any(getattr(args, name) is not None for name in LABELS)


def _has_sets(path: Path) -> bool:
    """Whether a path is a set of ours, a folder of such, or a published data set."""
    if not path.is_dir():
        return False
    return is_set(path) or any(map(is_set, path.iterdir())) or fitting_layout(path) is not None


def _read_labels(
    args: argparse.Namespace, path: Path, names: Sequence[str]
) -> tuple[Suite, list[EvalSet]]:
    stream = open_stream(path, args.origin, args.images, args.split)
    suite, sets = labelled_suite(stream)
    for line in stream.unread_lines():
        print(line, file=sys.stderr)
    if names and names != [suite.name]:
        raise ConfigError(f"--sets names sets of a suite, {path} is one set; leave it out")
    return suite, sets
