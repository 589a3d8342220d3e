"""Sets measured by several processes have the same scores; what happens to a pool: tests/jobs."""

import json
from pathlib import Path

import pytest

from anymask.cli.main import main
from tests.evaluation.small_sets import write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)]]


def test_processes_measure_what_one_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    for name in ("first", "second"):
        write_set(tmp_path / "data" / name, IMAGES)
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
