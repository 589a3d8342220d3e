"""`anymask audit --self-test`: sets of careful masks in, how well made-up errors are found out."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.primitives.errors import InputError
from anymask.primitives.progress import ProgressBar
from anymask.primitives.storage import write_json


def run_trial(args: argparse.Namespace) -> None:
    """Try each set, fit if asked for, print the table. Raises DataError for what is no set."""
    from anymask.audit import self_test_report as report
    from anymask.audit.corruptions import CORRUPTIONS
    from anymask.audit.grading import grader_to_json, load_grader
    from anymask.audit.self_test import CLEAN, DeletedMask, SelfTestCase, fit_grader, run_self_test
    from anymask.cli.options import read_model
    from anymask.data.sets import load_set
    from anymask.primitives.machine import this_machine

    sets = [load_set(find_set(source)) for source in args.sources]
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


def find_set(source: Path) -> Path:
    """The folder of a set of ours. Raises InputError for anything else."""
    from anymask.data.sets import is_set

    if not is_set(source):
        raise InputError(
            f"--self-test needs sets of ours (a folder with masks.jsonl and images/), got "
            f"{str(source)!r}; `anymask convert {source} DIR --to set` makes one"
        )
    return source
