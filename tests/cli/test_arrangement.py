"""Layouts, tiles and retries of `anymask everything`, as the command line says them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.formats import read_sa1b
from anymask.masks import Mask
from anymask.segment import Model
from tests.segment.fakes import ColourRuntime, discs

PICTURE, _ = discs((90, 120), [(30, 45, 20), (90, 45, 22)])
EVERYTHING = [
    "everything", "photo.png", "-o", "out", "--mode", "exact", "--grid", "6",
    "--score", "0.3", "--stability", "0.3", "--box-nms-thresh", "1",
]  # fmt: skip


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColourRuntime:
    """A working folder with a photo, where every model is a fake."""
    runtime = ColourRuntime()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(runtime))
    Image.fromarray(PICTURE).save("photo.png")
    return runtime


def told() -> dict:
    return json.loads(Path("out/photo.json").read_text())


def records() -> list[Mask]:
    return [Mask.from_sa1b(record) for record in told()["annotations"]]


def test_a_partition_and_what_it_covers(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*EVERYTHING, "--layout", "partition"]) == 0
    times = np.sum([record.mask for record in records()], axis=0)
    assert times.max() == 1
    assert told()["anymask"]["coverage"] == pytest.approx(times.mean())
    assert f"{100 * times.mean():.0f} % of the image" in capsys.readouterr().err


def test_a_tree_is_written(runtime: ColourRuntime) -> None:
    assert main([*EVERYTHING, "--layout", "tree"]) == 0
    assert max(record.depth for record in records()) >= 1
    rows = told()["annotations"]
    areas = {row["id"]: row["area"] for row in rows}
    parts = [row for row in rows if "parent" in row]
    assert parts
    assert all(areas[row["parent"]] > row["area"] for row in parts)
    for row, record in zip(rows, read_sa1b(rows), strict=True):
        parent = None if record.parent is None else rows[record.parent]["id"]
        assert parent == row.get("parent")


def test_levels_duplicates_and_small_masks(runtime: ColourRuntime) -> None:
    main(EVERYTHING)
    every = len(records())
    main([*EVERYTHING, "--granularity", "whole"])
    wholes = len(records())
    main([*EVERYTHING, "--iou", "0.5"])
    single = len(records())
    main([*EVERYTHING, "--min-mask-area", "1300"])
    assert all(record.area >= 1300 for record in records())
    assert max(wholes, single, len(records())) < every


def test_other_settings_make_the_photo_anew_and_the_same_do_not(
    runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*EVERYTHING, "--layout", "tree"])
    main([*EVERYTHING, "--layout", "tree"])
    assert "exist" in capsys.readouterr().err
    main([*EVERYTHING, "--tile", "none"])
    assert "exist" not in capsys.readouterr().err


def test_tiles_of_a_side_are_looked_at(runtime: ColourRuntime) -> None:
    assert main([*EVERYTHING, "--tile", "80"]) == 0
    assert {record.crop_box for record in records()} != {(0, 0, 120, 90)}
    assert told()["anymask"]["arrangement"]["tile"] == 80


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--tile", "big"], "--tile: Expected auto, none or a tile size in pixels, got 'big'"),
        (["--tile", "10"], "--tile: Expected auto, none or a tile size in pixels, got '10'"),
        (
            ["--min-mask-area", "-1"],
            "min_mask_area must be a number of pixels, 0 or more, got",
        ),
        (["--layout", "heap"], "--layout: Invalid choice 'heap'. Choose from: flat"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], error: str, runtime: ColourRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*EVERYTHING, *options]) == 2
    assert error in capsys.readouterr().err
    assert not Path("out").exists()
