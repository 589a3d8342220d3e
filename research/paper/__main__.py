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
from typing import Any

from anymask.base import AnymaskError
from anymask.cli import add_options, read_options
from anymask.evaluation import (
    EvalSet,
    EvalSettings,
    SetPlan,
    SetQuery,
    Suite,
    add_report_options,
    configure_photos,
    evaluate_photos,
    read_methods,
    read_photos,
    with_measures,
    write_report,
)
from research import datasets
from research.paper.baselines import list_baselines
from research.paper.hard_scenes import SCENES, scene_set
from research.paper.measures import register

SUITES = Path(__file__).parent / "suites"
HARD = "hard"
FURTHER = {("zero-shot", "bsds500_val"): ("edges",)}  # of a suite's set, beside its own measures


def find_sets(what: str, asked: dict[str, Any]) -> tuple[Suite, list[EvalSet]]:
    """What WHAT means, with what is measured there.

    asked  options as `evaluate_photos` takes them; those about sets are taken out
    """
    names, only, also = (tuple(asked.pop(n, ())) for n in ("sets", "protocol", "also"))
    labels = {name: asked.pop(name, None) for name in ("root", "form", "images", "split")}
    if what == HARD:
        scenes = [name for name in SCENES if name in names or not names]
        plans = tuple(SetPlan(name=name, groups=(HARD,)) for name in scenes)
        sets = [EvalSet(plan, *scene_set(plan.name)) for plan in plans]
        return Suite(name=HARD, sets=plans), with_measures(sets, only, also)
    own = SUITES / f"{what}.toml"
    labels["root"] = labels["root"] and Path(labels["root"])
    what = str(own) if own.is_file() else what
    suite, sets = SetQuery(data=what, sets=names, protocol=only, also=also, **labels).open()
    further = [() if only else FURTHER.get((suite.name, one.plan.name), ()) for one in sets]
    plans = [
        replace(one.plan, measures=one.plan.measures + more)
        for one, more in zip(sets, further, strict=True)
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
    configure_photos(parser)
    add_report_options(parser)
    parser.add_argument("--baselines", action="store_true", help="GrabCut, flood fill, regions too")
    add_options(parser, EvalSettings, ("slow",))
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print the tables; the exit status."""
    try:
        args = read_words(words)
        asked = read_photos(args) | read_options(args, EvalSettings)
        sets = find_sets(args.data, asked)
        methods = read_methods(args)
        if args.baselines:
            found = list_baselines()
            methods, asked["skipped"] = [*methods, *found.methods], found.skipped
        write_report(evaluate_photos(methods, sets, **asked), args)
    except AnymaskError as error:
        print(f"research.paper: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
