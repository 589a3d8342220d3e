"""`python -m research.paper WHAT`: `anymask evaluate` with the measures and baselines of the paper.

WHAT is whatever `anymask evaluate` takes, or

    paper  the 23 data sets of "Segment Anything", section 7.1, under --data
    hard   rendered scenes of glass, smoke, wires, ...; they need no files
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anymask.base import AnymaskError
from anymask.cli import add_options
from anymask.evaluation import (
    EvalSet,
    EvalSettings,
    SetPlan,
    Suite,
    asked_sets,
    read_sets,
    with_measures,
)
from anymask.evaluation.commands import evaluate as package
from research import datasets
from research.paper.baselines import list_baselines
from research.paper.hard_scenes import SCENES, scene_set
from research.paper.measures import register

SUITES = Path(__file__).parent / "suites"
HARD = "hard"
FURTHER = {("zero-shot", "bsds500_val"): ("edges",)}  # of a suite's set, beside its own measures


def hard_sets(names: Sequence[str] = ()) -> tuple[Suite, list[EvalSet]]:
    """Every kind of rendered scene, or those that are named."""
    plans = tuple(
        SetPlan(name=name, groups=(HARD,)) for name in SCENES if name in names or not names
    )
    return Suite(name=HARD, sets=plans), [EvalSet(plan, *scene_set(plan.name)) for plan in plans]


def find_sets(args: argparse.Namespace) -> tuple[Suite, list[EvalSet]]:
    """What WHAT means, with what is measured there."""
    if args.what == HARD:
        suite, sets = hard_sets([name for name in args.sets.split(",") if name])
        return suite, with_measures(sets, args.measure, args.only)
    own = SUITES / f"{args.what}.toml"
    args.what = str(own) if own.is_file() else args.what
    suite, sets = asked_sets(read_sets(args))
    if args.only:
        return suite, sets
    plans = [
        replace(one.plan, measures=one.plan.measures + FURTHER.get((suite.name, one.plan.name), ()))
        for one in sets
    ]
    return suite, [replace(one, plan=plan) for one, plan in zip(sets, plans, strict=True)]


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """The options; from here on the paper's measures and data sets are known by their names."""
    groups = argparse.ArgumentParser(add_help=False)
    groups.add_argument(
        "--groups", metavar="FILE", type=Path, help="groups for `fairness`: image,mask,GROUP,..."
    )
    register(groups.parse_known_args(words)[0].groups)
    datasets.register()
    parser = argparse.ArgumentParser(
        "python -m research.paper", description=__doc__, parents=[groups],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    package.configure(parser)
    parser.add_argument("--baselines", action="store_true", help="GrabCut, flood fill, regions too")
    add_options(parser, EvalSettings, ("slow",))
    args = parser.parse_args(words)
    args.workers = 1  # the table of another process would lack these measures
    return args


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print the tables; the exit status."""
    try:
        args = read_words(words)
        suite, sets = find_sets(args)
        found = list_baselines() if args.baselines else None
        more, skipped = (found.methods, found.skipped) if found else ((), ())
        package.evaluate(args, suite, sets, more, skipped)
    except AnymaskError as error:
        print(f"research.paper: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
