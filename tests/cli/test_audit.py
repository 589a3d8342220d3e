"""`anymask audit` as a user meets it."""

import itertools
import json
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.formats import read_annotations
from anymask.masks import empty_rle, mask_to_rle, rle_to_string
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime, discs

HW = (96, 128)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos of discs; in the first one a mask has a twin, in the second one is empty."""
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()), raising=False)
    folder = tmp_path / "discs"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(2):
        pixels, masks = discs(HW, [(30, 30, 18), (90, 40 + 9 * number, 22)])
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        rles = [mask_to_rle(mask) for mask in masks]
        rles.append(empty_rle(HW) if number else rles[0])
        found = [{"rle": rle_to_string(rle), "label": "disc"} for rle in rles]
        rows.append({"image": f"images/{number}.png", "hw": list(HW), "masks": found})
    (folder / "masks.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return folder


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["audit", str(data), "-o", str(out), "--grid", "4", *more]


def test_grades_pictures_and_a_page_are_written(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = tmp_path / "out"
    text = cli.out(words(data, out))
    assert text.startswith("discs: 2 images, 6 masks, mean grade ")
    assert "| disc | 0.00 | remove | empty mask |" in text
    assert "duplicate of mask 0" in text
    raw = json.loads((out / "audit.json").read_text("utf-8"))
    assert len(raw["grades"]) == 6
    assert raw["suspects"][0]["reasons"] == ["empty mask"]
    assert (raw["model"], raw["weights"]) == ("fake", "colour")
    page = (out / "audit.html").read_text("utf-8")
    assert page.count("<img ") == len(list((out / "suspects").glob("*.jpg"))) > 0
    assert "http" not in page
    with Image.open(out / "suspects.jpg") as sheet:
        assert sheet.size[0] > 100


def test_only_what_is_accepted_is_changed(data: Path, tmp_path: Path, cli: CommandLine) -> None:
    out, better = tmp_path / "out", tmp_path / "better"
    more = ["--proposals", str(better), "--to", "coco", "--accept"]
    assert main(words(data, out, *more, "1")) == 0
    (image, other), _ = read_annotations(better / "annotations.json")
    assert (len(image.masks), len(other.masks)) == (3, 2)
    assert "No proposal exists for suspect 90" in cli.refused(words(data, out, *more, "1,90-91"))


@pytest.mark.parametrize(
    ("option", "place"), [("-o", "set"), ("-o", "set/audit"), ("--proposals", "set/better")]
)
def test_results_never_lie_among_the_annotations(
    data: Path, tmp_path: Path, option: str, place: str, cli: CommandLine
) -> None:
    main(["convert", str(data), str(tmp_path / "set"), "--to", "sa1b"])
    before = sorted((tmp_path / "set").rglob("*"))
    outputs = {"-o": str(tmp_path / "out")} | {option: str(tmp_path / place)}
    more = ["--images", str(data / "images"), *itertools.chain(*outputs.items())]
    assert "Choose a folder outside of the dataset" in cli.refused(
        ["audit", str(tmp_path / "set"), *more]
    )
    assert sorted((tmp_path / "set").rglob("*")) == before
