"""`anymask evaluate LABELS`: what people have, in any format, without making a set of it first."""

import json
from pathlib import Path

import pytest

import anymask
from anymask.cli.main import main
from tests.conftest import CommandLine
from tests.evaluation.small_sets import perfect, write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)], []]


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of ours, the same as COCO and as YOLO, and a model that is always right."""
    monkeypatch.setattr(anymask, "load", lambda *_: perfect("model"), raising=False)
    own = write_set(tmp_path / "own", IMAGES)
    coco, yolo = str(tmp_path / "labels.json"), str(tmp_path / "yolo")
    assert main(["convert", str(own), coco, "--to", "coco"]) == 0
    assert main(["convert", str(own), yolo, "--to", "yolo", "--copy-images"]) == 0
    return tmp_path


def measured(tmp_path: Path, *words: str) -> dict:
    """The report of a command: which masks were measured, and what each got."""
    out = tmp_path / "out.json"
    assert main(["evaluate", *words, "--json", str(out)]) == 0
    raw = json.loads(out.read_text(encoding="utf-8"))
    (one,) = raw["sets"]
    assert one.pop("name") == raw["data"]
    return dict(one)


def test_labels_of_any_format_are_measured_as_the_same_set_is(labels: Path) -> None:
    own = measured(labels, str(labels / "own"))
    assert own["area"] == [18 * 27, 20 * 35, 64 * 48]
    images = ["--images", str(labels / "own" / "images")]
    assert measured(labels, str(labels / "labels.json"), *images) == own
    assert measured(labels, str(labels / "labels.json"), *images, "--from", "coco") == own
    assert measured(labels, str(labels / "yolo")) == own
    assert measured(labels, str(labels / "yolo" / "data.yaml")) == own


def test_invalid_records_of_sets_are_skipped_and_told(
    labels: Path, capsys: pytest.CaptureFixture[str], cli: CommandLine
) -> None:
    file = labels / "own" / "masks.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rows[0]["masks"].append({"rle": "!!", "label": "cup"})
    rows[2]["hw"] = [24, 32]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert measured(labels, str(labels / "own"))["area"] == [18 * 27, 20 * 35, 64 * 48]
    told = capsys.readouterr().err
    assert "masks.jsonl, line 1: mask 2" in told
    assert "2.png. The image was scaled by 2" in told
    assert "2 invalid records" in cli.refused(
        ["evaluate", str(labels / "own"), "--on-bad", "error"]
    )
