"""`python -m research.paper WHAT`: `anymask evaluate` with the measures and baselines of the paper.

WHAT is whatever `anymask evaluate` takes, or

    suite    the 23 data sets of "Segment Anything", section 7.1: those in the folder --data are
             measured, the others are listed with their publishers
    natural  photos of everyday scenes, on which the order of a click's masks is judged
    hard     thin structures, glass and soft matter: scenes drawn on the photos of --data, and the
             real sets of such objects that lie there

`python -m research.paper claims` tests findings of the paper with small models; see its --help.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anymask.base import ConfigError
from anymask.cli import Settings, read_options
from anymask.evaluation.commands import write_report
from anymask.evaluation.commands.evaluate import ACTIONS, read_methods, read_photos
from anymask.evaluation.evaluating import evaluate_photos
from anymask.evaluation.measures import MEASURES, Measure, check_measures
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.evaluation.suite import SetQuery, Suite, read_suite
from anymask.formats import ReadSettings
from anymask.formats.losses import ReadKeywords
from research import datasets
from research.command import exit_status
from research.paper.baselines import list_baselines
from research.paper.calibration import measure_calibration
from research.paper.edges import measure_edges
from research.paper.fairness import measure_fairness
from research.paper.hard_sets import HARD, find_hard_sets
from research.paper.naming import measure_names
from research.paper.published import open_found
from research.paper.soft_matter import measure_alpha

SUITES = Path(__file__).parent / "suites"
SAME_SUITE = {"suite": "paper"}  # names of a suite file
FURTHER = {("zero-shot", "bsds500_val"): ("edges",)}  # of a suite's set, beside its own measures
PAPER_MEASURES = {
    "calibration": Measure(
        about="does the predicted quality rank the candidates of a click, and is it right?",
        function=measure_calibration,
    ),
    "names": Measure(
        about="the right name among a set's labels, first and first five: drawn masks, box answers",
        function=measure_names,
    ),
    "fairness": Measure(
        about="mean IoU by groups (--groups FILE.csv, else labels), and the largest gap",
        function=measure_fairness,
    ),
    "edges": Measure(
        about="edges of a grid of clicks against people's: ODS, OIS, AP, R50 (annotated sets)",
        function=measure_edges,
    ),
    "alpha": Measure(
        about="SAD of the opacity of smoke, fog and strands, by boxes (scenes of `hard`)",
        function=measure_alpha,
    ),
}


def find_sets(what: str, options: dict[str, Any]) -> tuple[Suite, list[EvalSet]]:
    """What WHAT means, with what is measured there.

    Args:
        options: Options of `evaluate_photos`; those about datasets are removed.
    """
    names, only, also = (tuple(options.pop(n, ())) for n in ("sets", "protocol", "also"))
    labels = {name: options.pop(name, None) for name in ("root", "form", "images", "split")}
    if what == HARD:
        return find_hard_sets(labels["root"], names, only, also)
    own = SUITES / f"{SAME_SUITE.get(what, what)}.toml"
    root = labels["root"] and Path(labels["root"]).expanduser()
    if own.is_file() and root is not None:
        suite = read_suite(own)
        if not root.is_dir():
            raise ConfigError(f"--data {root} is not a folder. Pass the folder of the data sets.")
        reading = {name: options[name] for name in ReadKeywords.__annotations__ if name in options}
        sets = open_found(suite, root, names, ReadSettings(**reading))
        sets = [with_measures(one, only or one.plan.measures, also) for one in sets]
    else:
        labels["root"] = root
        what = str(own) if own.is_file() else what
        suite, sets = SetQuery(data=what, sets=names, protocol=only, also=also, **labels).open()
    further = [() if only else FURTHER.get((suite.name, one.plan.name), ()) for one in sets]
    plans = [
        replace(one.plan, measures=one.plan.measures + more)
        for one, more in zip(sets, further, strict=True)
    ]
    return suite, [replace(one, plan=plan) for one, plan in zip(sets, plans, strict=True)]


def with_measures(one: EvalSet, measures: Sequence[str], also: Sequence[str]) -> EvalSet:
    """The set with these measures. Raises ConfigError for an unknown one."""
    names = check_measures([*measures, *also], "measures")
    return replace(one, plan=replace(one.plan, measures=names))


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """The options; from here on the paper's measures and data sets are known by their names."""
    MEASURES.update(PAPER_MEASURES)
    datasets.register()
    parser = argparse.ArgumentParser(
        "python -m research.paper", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    ACTIONS["photos"].add_to(parser)
    parser.add_argument("--groups", metavar="FILE.csv", type=Path, help="of `--measure fairness`")
    parser.add_argument("--baselines", action="store_true", help="GrabCut, flood fill, regions too")
    Settings(EvalSettings, only=("slow",)).add_to(parser)
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    """Measure and print the tables."""
    if args.groups:
        by_file = partial(measure_fairness, groups=args.groups)
        MEASURES["fairness"] = replace(PAPER_MEASURES["fairness"], function=by_file)
    options = read_photos(args) | read_options(args, EvalSettings)
    sets = find_sets(args.data, options)
    methods = read_methods(args)
    if args.baselines:
        found = list_baselines()
        methods, options["skipped"] = [*methods, *found.methods], found.skipped
    write_report(evaluate_photos(methods, sets, **options), args)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if words is None else words
    if list(words[:1]) == ["claims"]:
        from research.claims.__main__ import main as test_claims  # it trains models

        return test_claims(words[1:])
    return exit_status("research.paper", lambda: run(read_words(words)))


if __name__ == "__main__":
    sys.exit(main())
