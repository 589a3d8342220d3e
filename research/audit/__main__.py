"""`python -m research.audit SET ...`: masks made wrong in known ways, and how many are found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from anymask.base import InputError, ProgressBar, this_machine, write_json
from anymask.cli import MODEL, read_model
from anymask.evaluation.audit_grading import grader_to_json, load_grader
from anymask.formats import load_set
from research.audit import self_test_report as report
from research.audit.corruptions import CORRUPTIONS
from research.audit.self_test import CLEAN, DeletedMask, SelfTestCase, fit_grader, run_self_test
from research.command import exit_status


def main(words: Sequence[str] | None = None) -> int:
    """Try the sets; the exit status."""
    parser = argparse.ArgumentParser("python -m research.audit", description=__doc__)
    add = parser.add_argument
    add("sources", metavar="SET", nargs="+", type=Path, help="folders of masks.jsonl and images/")
    add("--masks", metavar="N", type=int, default=24, help="masks of each set (default: 24)")
    add("--deletions", metavar="N", type=int, default=3, help="of a set (default: 3)")
    add("--fit", metavar="FILE", type=Path, help="fit the grade to what was tried, write it there")
    add("--grades", metavar="FILE", type=Path, help="grade by what --fit wrote")
    add("--below", metavar="GRADE", type=float, default=0.5, help="a suspect's grade (0.5)")
    add("--json", metavar="FILE", type=Path, help="write the figures there")
    MODEL.add_to(parser)
    return exit_status("research.audit", lambda: run_trial(parser.parse_args(words)))


def run_trial(args: argparse.Namespace) -> None:
    """Try each set, fit if asked for, print the table. Raises DataError for what is no set."""
    sets = [load_set(source) for source in args.sources]
    grader = None if args.fit else load_grader(args.grades)
    model = read_model(args).load()
    cases: list[SelfTestCase] = []
    deletions: list[DeletedMask] = []
    for info, samples in sets:
        with ProgressBar(info.name, args.masks) as bar:
            options = args.masks, args.deletions, bar.update
            found, gone = run_self_test(model, info.name, samples, *options)
        cases, deletions = cases + found, deletions + gone
    clean = sum(case.kind == CLEAN for case in cases)
    if not clean:
        raise InputError("the sets have no mask of 100 pixels or more; give others")
    ways = f"each made wrong in {len(CORRUPTIONS)} ways"
    tried = f"{model.name}; {clean} masks of {len(sets)} sets, {ways}"
    if args.fit:
        grader = fit_grader(cases, tried)
        write_json(args.fit, grader_to_json(grader))
    assert grader is not None
    result = report.evaluate_self_test(grader, cases, deletions, args.below)
    weights = model.runtime.weights_hash
    if args.json:
        about = {"tried": tried, "graded_by": grader.about, "weights": weights}
        write_json(args.json, about | report.self_test_to_json(result))
    print(report.self_test_to_markdown(result), end="")
    print(f"\n- tried: {tried}\n- grades: fitted to {grader.about}\n- weights {weights}")
    print(f"- machine: {this_machine().line()}")


if __name__ == "__main__":
    sys.exit(main())
