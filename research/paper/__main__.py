"""`python -m research.paper WHAT`: `anymask evaluate` with the measures and baselines of the paper.

WHAT is whatever `anymask evaluate` takes, or

    zero-shot
             sets of many domains, of which the group `dev` is the mean to develop against
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
from anymask.cli.evaluate import ACTIONS, read_images, read_methods
from anymask.cli.reports import write_report
from anymask.evaluation.datasets import SetQuery, with_measures
from anymask.evaluation.evaluating import evaluate_images
from anymask.evaluation.measures import MEASURES, Measure
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.formats import ReadSettings
from anymask.formats.loss_report import ReadKeywords
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
from research.paper.suite import SUITES, read_suite

SAME_SUITE = {"suite": "paper"}  # names of a suite file
READING = ReadKeywords.__annotations__
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


def find_sets(what: str, options: dict[str, Any]) -> list[EvalSet]:
    """The datasets that WHAT means, with what is measured there.

    Args:
        options: Options of `evaluate_images`; those about datasets are replaced by the settings of
            the suite.
    """
    names, only, also = (tuple(options.pop(n, ())) for n in ("sets", "protocol", "also"))
    labels = {name: options.pop(name) for name in ("format", "images", "split")}
    root, what = options.pop("root"), SAME_SUITE.get(what, what)
    options["name"] = Path(what).name
    if what == HARD:
        return find_hard_sets(root, names, only, also)
    reading = ReadSettings(**{name: value for name, value in options.items() if name in READING})
    if not (SUITES / f"{what}.toml").is_file():
        return SetQuery(data=what, protocol=only, also=also, reading=reading, **labels).open()
    suite = read_suite(what)
    options |= suite.settings | options
    data = root or suite.data
    if data is None or not data.expanduser().is_dir():
        raise ConfigError(f"--data {data} is not a folder. Pass the folder of the data sets.")
    found = open_found(suite, data.expanduser(), names, reading)
    return [with_measures(one, only, also) for one in found]


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """The options; from here on the paper's measures and data sets are known by their names."""
    MEASURES.update(PAPER_MEASURES)
    datasets.register()
    parser = argparse.ArgumentParser(
        "python -m research.paper", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    ACTIONS["images"].add_to(parser)
    parser.add_argument("--data", dest="root", metavar="DIR", type=Path, help="the sets of WHAT")
    parser.add_argument("--sets", metavar="A,B", default="", help="measure only these sets")
    parser.add_argument("--groups", metavar="FILE.csv", type=Path, help="of `--measure fairness`")
    parser.add_argument("--baselines", action="store_true", help="GrabCut, flood fill, regions too")
    Settings(EvalSettings, only=("slow",)).add_to(parser)
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    """Measure and print the tables."""
    if args.groups:
        by_file = partial(measure_fairness, groups=args.groups)
        MEASURES["fairness"] = replace(PAPER_MEASURES["fairness"], function=by_file)
    options = read_images(args) | read_options(args, EvalSettings) | {"root": args.root}
    options["sets"] = [name for name in args.sets.split(",") if name]
    sets = find_sets(args.data, options)
    methods = read_methods(args)
    if args.baselines:
        found = list_baselines()
        methods, options["skipped"] = [*methods, *found.methods], found.skipped
    write_report(evaluate_images(methods, sets, **options), args)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if words is None else words
    if list(words[:1]) == ["claims"]:
        from research.claims.__main__ import main as test_claims  # it trains models

        return test_claims(words[1:])
    return exit_status("research.paper", lambda: run(read_words(words)))


if __name__ == "__main__":
    sys.exit(main())
