"""`anymask everything` on photos and folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli import everything
from anymask.cli.main import main
from anymask.predictors.image import Model
from anymask.primitives.records import MaskRecord
from tests.predictors.fakes import ColourRuntime, discs, iou

PICTURE, MASKS = discs((90, 120), [(30, 45, 20), (90, 45, 22)])
GRID = ["--points-per-side", "8", "--pred-iou-thresh", "0.3", "--stability-score-thresh", "0.3"]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColourRuntime:
    """A working folder with two photos, where the model is a fake."""
    runtime = ColourRuntime()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(runtime))
    Path("photos").mkdir()
    Image.fromarray(PICTURE).save("photos/one.png")
    Image.fromarray(PICTURE[:, ::-1].copy()).save("photos/two.png")
    return runtime


def test_a_photo_becomes_records_and_a_picture(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["everything", "photos/one.png", "-o", "out", *GRID]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {Path('out/one.json')}: ")
    told = json.loads(Path("out/one.json").read_text())
    assert told["image"] == {"image_id": 1, "width": 120, "height": 90, "file_name": "one.png"}
    assert [record["id"] for record in told["annotations"]] == list(
        range(1, len(told["annotations"]) + 1)
    )
    masks = [MaskRecord.from_sa1b(record).mask for record in told["annotations"]]
    for truth in MASKS:
        assert max(iou(mask, truth) for mask in masks) > 0.7
    with Image.open("out/one.png") as picture:
        assert picture.size == (120, 90)


def test_the_picture_is_made_smaller_where_the_photo_is_large(
    runtime: ColourRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everything, "OVERLAY_SIDE", 60)
    main(["everything", "photos/one.png", "-o", "out", *GRID])
    with Image.open("out/one.png") as picture:
        assert picture.size == (60, 45)


def test_a_folder_is_done_once_and_again_when_something_changed(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for more in ([], [], ["--box-nms-thresh", "0.5"]):
        assert main(["everything", "photos", "-o", "photos/out", *GRID, *more]) == 0
        told.append(capsys.readouterr().out)
    Path("photos/out/one.json").write_text("{")
    main(["everything", "photos", "-o", "photos/out", *GRID, "--box-nms-thresh", "0.5"])
    told.append(capsys.readouterr().out)
    assert told == [
        "2 done, 0 there already, 0 failed\n",
        "0 done, 2 there already, 0 failed\n",
        "2 done, 0 there already, 0 failed\n",
        "1 done, 1 there already, 0 failed\n",
    ]


def test_one_broken_photo_does_not_stop_the_folder(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/one.png").write_bytes(b"")
    assert main(["everything", "photos", "-o", "out", *GRID]) == 2
    captured = capsys.readouterr()
    assert "is empty (0 bytes)" in captured.err
    assert captured.err.endswith("what is done is kept\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["two.json", "two.png"]


def test_nothing_found_is_a_result(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["everything", "photos/one.png", "-o", "out", "--pred-iou-thresh", "9"]) == 0
    assert "no mask passed; lower --pred-iou-thresh or" in capsys.readouterr().out
    assert json.loads(Path("out/one.json").read_text())["annotations"] == []


def test_a_grid_that_makes_no_sense_is_told(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["everything", "photos/one.png", "-o", "out", "--points-per-side", "0"]) == 2
    assert "points_per_side must be a whole number of at least 1, got 0" in capsys.readouterr().err


def test_the_options_are_those_of_the_python_surface(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["everything", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--stability-score-offset X" in out
    assert "(default: 0.88; nano: 0.45)" in " ".join(out.split())


def test_one_photo_is_done_once(runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    for told in ("wrote", "there already:"):
        main(["everything", "photos/one.png", "-o", "out", *GRID])
        assert capsys.readouterr().out.startswith(told)


def test_masks_of_a_one_pixel_photo_can_be_drawn(runtime: ColourRuntime) -> None:
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save("dot.png")
    assert main(["everything", "dot.png", "-o", "out", *GRID]) == 0
