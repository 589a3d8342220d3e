"""Sets measured by several processes: the same scores, and what is said when one cannot go on."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.cli.main import main
from anymask.evaluation.evaluating import score_in_workers
from anymask.evaluation.results import SetScores
from tests.evaluation.small_sets import write_set

PHOTOS = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)]]


@dataclass(frozen=True)
class Toy:
    """Scores whose area is the set's number; what else happens is said by set."""

    refuses: bool = False
    breaks_at: int | None = None
    dies_at: int | None = None

    @property
    def about(self) -> dict[str, Any]:
        return {}

    def open(self) -> "Toy":
        if self.refuses:
            raise InputError("there is no such thing")
        return self

    def __call__(self, place: int, report: Callable[[str, int, int], None]) -> SetScores:
        report(f"set {place}", 1, 2)
        if place == self.dies_at:
            os.kill(os.getpid(), 9)
        if place == self.breaks_at:
            raise ZeroDivisionError
        none = np.zeros(0, np.int64)
        return SetScores(
            name=str(place), groups=(), image=none, mask=none, area=np.array([place]), columns=()
        )


NAMES = ["a", "b", "c"]


def test_every_set_is_scored_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = dict(score_in_workers(Toy(), NAMES, [0, 2, 1], 2))
    assert {place: scores.area.tolist() for place, scores in found.items()} == {
        0: [0],
        1: [1],
        2: [2],
    }
    assert "sets 3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("toy", "kind", "message"),
    [
        (Toy(refuses=True), Exception, "there is no such thing"),
        (Toy(breaks_at=1), ZeroDivisionError, ""),
        (Toy(dies_at=1), Exception, r"evaluated 'b' was killed \(SIGKILL\)"),
    ],
)
def test_a_worker_that_cannot_go_on_is_told(toy: Toy, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message or None):
        list(score_in_workers(toy, NAMES, [0, 1, 2], 1))


def test_processes_measure_what_one_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    for name in ("first", "second"):
        write_set(tmp_path / "data" / name, PHOTOS)
    reports = []
    for workers in ("1", "2"):
        out = tmp_path / f"{workers}.json"
        words = ["evaluate", str(tmp_path / "data"), "--measure", "noc", "--json", str(out)]
        assert main([*words, "--workers", workers]) == 0
        reports.append(json.loads(out.read_text(encoding="utf-8")))
    one, two = reports
    assert [row["name"] for row in two["sets"]] == ["first", "second"]
    for key in ("sets", "means", "weights_hash", "settings"):
        assert one[key] == two[key]
