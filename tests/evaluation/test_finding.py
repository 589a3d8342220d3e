"""Figures of finding against cases that were worked out by hand, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from anymask.cli.main import main
from anymask.evaluation.finding import FindAnswer, measure_finding
from anymask.masks import Rle, mask_to_rle, rle_merge
from tests.evaluation.small_sets import rectangle, write_set

SIDE = 60


def square(x: int, y: int, width: int = 10, height: int = 10) -> Rle:
    return mask_to_rle(rectangle((SIDE, SIDE), (x, y, x + width, y + height)))


A, B, ELSEWHERE = square(0, 0), square(20, 0), square(40, 40)
PART = square(0, 0, 10, 7)  # its IoU with A is .7


def asked(found: Sequence[Rle], scores: Sequence[float], truths: Sequence[Rle]) -> FindAnswer:
    return FindAnswer("cup", found, scores, truths)


HALF = asked([A, ELSEWHERE], [0.9, 0.8], [A, B])  # one right, one wrong, one missed
NOTHING, WRONG = asked([], [], []), asked([B], [0.95], [])


@pytest.mark.parametrize(
    ("questions", "figures"),
    [
        # F1 2/4 at each threshold; 51 of 101 recalls are reached with precision 1
        ([HALF, NOTHING], {"cgF1": 50, "pmF1": 0.5, "IL_MCC": 1, "AP": 51 / 101, "mIoU": 1 / 3,
                           "counting error": 0, "found": 1, "not here": 1,
                           "precision": 0.5, "recall": 0.5, "unlabeled": 0}),
        # tp 1, tn 1, fp 1: 1 / sqrt(2 * 1 * 2 * 1); the surest mask is wrong: precision 1/2
        ([HALF, NOTHING, WRONG], {"IL_MCC": 0.5, "cgF1": 25, "AP50": 51 / 202, "not here": 0.5,
                                  "counting error": 1 / 3}),
        # IoU .7 counts at .5, .55, .6, .65 and .7
        ([asked([PART], [1.0], [A])], {"pmF1": 0.5, "AP": 0.5, "AP50": 1, "mIoU": 0.7}),
        # one truth, found twice: the second time is wrong
        ([asked([A, PART], [0.5, 0.6], [A])], {"pmF1": 2 / 3, "AP50": 1, "counting error": 1}),
        ([asked([], [], [A])], {"pmF1": 0, "AP": 0, "mIoU": 0, "recall": 0, "found": 0}),
        # of three found masks one is right, one lies on unlabeled pixels and counts as neither
        ([FindAnswer("cup", [A, PART, ELSEWHERE], [0.9, 0.8, 0.7], [A, B], [A, ELSEWHERE],
                     rle_merge([A, B]))],
         {"precision": 0.5, "recall": 0.5, "unlabeled": 1 / 3, "candidates": 0.5}),
    ],
)  # fmt: skip
def test_figures_are_those_worked_out_by_hand(
    questions: list[FindAnswer], figures: dict[str, float]
) -> None:
    told = measure_finding(questions)
    assert {name: told[name] for name in figures} == pytest.approx(figures, abs=1e-6)


def test_phrases_count_alike_whatever_their_photos() -> None:
    once = FindAnswer("cup", [A], [1.0], [A])
    never = [FindAnswer("spoon", [], [], [A])] * 3
    assert measure_finding([once, *never])["mIoU"] == pytest.approx(0.5)


def test_the_command_measures_a_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [[(10, 15, 40, 45)], [(20, 15, 50, 45)]]
    path = write_set(tmp_path / "tiles", boxes, (SIDE, SIDE)) / "masks.jsonl"
    path.write_text(path.read_text().replace('"rle"', '"label": "box", "rle"'))
    command = ["evaluate", "find", str(path.parent), "--limit", "1", "--model", "nano"]
    assert main([*command, "--by", "colors", "--json", str(tmp_path / "told.json")]) == 0
    assert "precision" in capsys.readouterr().out
    figures = json.loads((tmp_path / "told.json").read_text())["colors"]
    assert figures["mIoU"] > 0.8
    assert main([*command, "--by", "words", "--json", str(tmp_path / "told.json")]) == 0
    report = json.loads((tmp_path / "told.json").read_text())
    assert report["words"]["candidates"] == 1
    assert report["questions"] == 1
    path.write_text(path.read_text().replace('"box"', '"zzyzx"'))
    assert main([*command, "--by", "words"]) == 2
    assert "known names" in capsys.readouterr().err
