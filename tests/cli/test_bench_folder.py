"""`anymask bench folder`: what is run, and what is made of the answers. Nothing is timed."""

import importlib.util
import json
from pathlib import Path

import pytest

from anymask.cli import bench_folder
from anymask.cli.main import main
from anymask.primitives.errors import AnymaskError
from anymask.primitives.timing import ProcessRun

SUMMARY = {
    "photos": 4, "done": 3, "failed": 1, "made": 60, "seconds": 6.0, "photos_per_second": 0.5,
    "about": {"weights": "abc", "grid": {"points_per_side": 8}},
}  # fmt: skip


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """No process is started; two workers are twice as fast as one."""
    asked: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    def pretend(words: list[str]) -> ProcessRun:
        asked.append(words[1:])
        count = int(words[words.index("--workers") + 1])
        told = SUMMARY | {"photos_per_second": 0.5 * count}
        Path(words[words.index("--json") + 1]).write_text(json.dumps(told))
        if "fails" in words:
            raise AnymaskError("1 of 4 photos failed")
        return ProcessRun(7.5, 2**20 * 300)

    monkeypatch.setattr(bench_folder, "run_process", pretend)
    return asked


def test_the_rates_stand_side_by_side_with_what_a_large_set_would_need(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "folder", "photos", "--options=--points-per-side 8", "--json", "b.json"]
    assert main(words) == 0
    out = capsys.readouterr().out
    for row in (
        "|  | 1 worker | 2 workers |",
        "| photos a second | 0.5 | 1 |",
        "| 11000000 photos on 1000 machines | 6.11 hours | 3.06 hours |",  # 11e6 / rate / 1000
        "| start and end | 1.50 s | 1.50 s |",
        "| memory of the largest process | 300 MiB | 300 MiB |",
        "- 3 photos in 'photos', 20 masks each; 1 failed",
        '- weights abc, settings {"points_per_side": 8}',
        "- skipped: ray: it is not installed",
    ):
        assert row in out
    assert len(asked) == 4  # two rounds of two
    assert asked[0][:4] == ["-m", "anymask", "everything", "photos"]
    assert asked[0][4:10] == [
        "--no-overlay",
        "--model",
        "nano",
        "--points-per-side",
        "8",
        "--workers",
    ]
    figures = json.loads(Path("b.json").read_text())["figures"]
    assert next(one["turns"] for one in figures if one["runtime"] == "2 workers") == [1.0, 1.0]


def test_ray_takes_part_where_it_is_installed(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert main(["bench", "folder", "photos", "--rounds", "1", "--workers", "3"]) == 0
    assert "|  | 3 workers | ray, 3 |" in capsys.readouterr().out
    assert [words[words.index("--engine") + 1] for words in asked if "--engine" in words] == ["ray"]


def test_photos_that_fail_do_not_spoil_the_measure(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "folder", "photos", "--rounds", "1", "--options", "fails"]
    assert main(words) == 0
    assert "| photos a second | 0.5 | 1 |" in capsys.readouterr().out


def test_who_cannot_work_is_left_out(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend = bench_folder.run_process

    def refuse(words: list[str]) -> ProcessRun:
        if words[words.index("--workers") + 1] == "2":
            raise AnymaskError("it fell over")
        return pretend(words)

    monkeypatch.setattr(bench_folder, "run_process", refuse)
    assert main(["bench", "folder", "photos"]) == 0
    out = capsys.readouterr().out
    assert "|  | 1 worker |\n" in out
    assert out.count("- skipped: 2 workers: it fell over") == 1
    assert main(["bench", "folder", "photos", "--workers", "2"]) == 2
    assert "nothing could be measured; skipped: ray: it is not" in capsys.readouterr().err


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a folder of photos: anymask bench folder PHOTOS"),
        (["gone"], "wanted a folder of photos to measure on, 'gone' is none"),
        (["photos", "--workers", "1,0"], "wanted --workers as numbers of at least 1, such as 1,2"),
        (["photos", "--workers", "x"], "got 'x'"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "folder", *words]) == 2
    assert message in capsys.readouterr().err
