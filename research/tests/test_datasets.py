"""The less used data sets: recognised, and read pixel for pixel."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import SequencePlace, load_dataset
from anymask.formats.layouts import LAYOUTS, iter_dataset, recognize_layout
from anymask.masks import rle_to_mask
from research.datasets import DATASETS
from research.tests import small_datasets as published
from research.tests.small_datasets import WRITERS
from tests.formats.test_layouts import check, told
from tests.formats.truth import RING

EVERY = pytest.mark.parametrize("name", WRITERS)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `register` does, for one test."""
    for name, layout in DATASETS.items():
        monkeypatch.setitem(LAYOUTS, name, layout)


@EVERY
def test_a_data_set_is_recognised_and_read_pixel_for_pixel(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    truths = write(tmp_path)
    assert recognize_layout(tmp_path) == layout
    check(load_dataset(tmp_path)[1], truths, tmp_path)
    check(list(iter_dataset(tmp_path, layout)), truths, tmp_path)
    with pytest.raises(DataError, match="no-such|looked for"):
        load_dataset(tmp_path, layout, "no-such")


def test_every_layout_has_a_data_set_to_be_tested_on() -> None:
    assert {layout for layout, _ in WRITERS.values()} == set(DATASETS)


@EVERY
def test_a_truncated_file_of_truth_is_named(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    images = {tmp_path / truth.image for truth in write(tmp_path)}
    files = [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix in (".json", ".png", ".mat", ".hdf5") and path not in images
    ]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert "contact" in path.parts or path.name in told(tmp_path, layout)
        path.write_bytes(whole)


@pytest.mark.parametrize("rows", [None, 3, [None], [{"image": None}], [{"image": {}}]])
def test_a_hostile_file_of_visor_is_named(rows: object, tmp_path: Path) -> None:
    published.write_visor(tmp_path)
    (path,) = tmp_path.rglob("P01_01.json")
    path.write_text(json.dumps({"video_annotations": rows}))
    assert "P01_01.json" in told(tmp_path, "visor")


@EVERY
def test_a_data_set_becomes_a_set_of_our_own(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    truths = write(tmp_path / "published")
    words = ["--from", layout, "--split", LAYOUTS[layout].split, "--to", "set", "--copy-images"]
    assert main(["convert", str(tmp_path / "published"), str(tmp_path / "ours"), *words]) == 0
    for truth in truths:
        truth.image = f"images/{truth.image.removeprefix('images/')}"
    check(load_dataset(tmp_path / "ours")[1], truths, tmp_path / "ours")


def test_bsds_keeps_who_drew_what_and_the_borders(tmp_path: Path) -> None:
    published.write_bsds(tmp_path)
    _, (sample,) = load_dataset(tmp_path)
    assert tuple(mask.annotator for mask in sample.objects) == (0, 0, 1, 1, 1)
    numbers = RING.astype(int)
    borders = np.zeros(RING.shape, np.bool_)
    borders[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    np.testing.assert_array_equal(rle_to_mask(sample.benchmark.boundaries[0]), borders)
    assert len(sample.benchmark.boundaries) == 2


def test_open_images_boxes_are_in_pixels(tmp_path: Path) -> None:
    published.write_open_images(tmp_path)
    _, (sample,) = load_dataset(tmp_path)
    assert tuple(mask.drawn_box for mask in sample.objects) == ((6.0, 10.0, 30.0, 30.0),)


def test_a_sparse_frame_of_visor_knows_its_video_and_its_number(tmp_path: Path) -> None:
    published.write_visor(tmp_path)
    (frame,) = load_dataset(tmp_path)[1]
    assert frame.place == SequencePlace("P01_01", 298)
    (path,) = tmp_path.rglob("P01_01.json")
    path.write_text(path.read_text().replace("_frame_0000000298", "_still"))
    assert isinstance(frame.source, Path)
    frame.source.rename(frame.source.with_name("P01_01_still.jpg"))
    assert load_dataset(tmp_path)[1][0].place is None  # a name without a number tells none


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("MaskPath", "Mask", r"segmentation\.csv: The column 'MaskPath' is missing"),
        ("00a1_m01_1.png", "../m.png", r"csv, line 2: The path '../m.png' points outside"),
        ("0.25", "a quarter", r"csv, line 2: a value has a wrong type"),
        (",0.25,0.75,0.9,", "", r"csv, line 2: The line has too few columns"),
    ],
)
def test_a_broken_line_of_a_table_is_named(old: str, new: str, told: str, tmp_path: Path) -> None:
    published.write_open_images(tmp_path)
    path = tmp_path / "validation-annotations-object-segmentation.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=told):
        load_dataset(tmp_path)
