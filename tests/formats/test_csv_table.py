"""The table of measurements as a format: what is written, and that it is never read."""

import csv
from pathlib import Path

import numpy as np
import pytest

from anymask.cli.main import main
from anymask.formats import AnnotatedImage, write_annotations
from anymask.masks import Mask, mask_to_rle, measure
from tests.evaluation.small_sets import rectangle, write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [], [(0, 0, 64, 48)]]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_every_mask_of_a_data_set_is_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, table = write_set(tmp_path / "set", IMAGES), tmp_path / "masks.csv"
    assert main(["convert", str(data), str(table)]) == 0
    told = "".join(capsys.readouterr())
    assert "Converted 3 images (3 masks)" in told
    assert "pixels" not in told
    assert "shapes" not in told
    rows = rows_of(table)
    assert [(row["image"], row["number"], int(row["area"])) for row in rows] == [
        ("0.png", "1", 18 * 27),
        ("0.png", "2", 20 * 35),
        ("2.png", "1", 64 * 48),
    ]
    assert [rows[1][name] for name in ("x0", "y0", "x1", "y1")] == ["40", "5", "59", "39"]
    assert [float(row["perimeter"]) for row in rows] == [90, 110, 224]
    assert main(["convert", str(data), str(tmp_path / "folder"), "--to", "csv"]) == 0
    assert (tmp_path / "folder" / "masks.csv").read_bytes() == table.read_bytes()


def test_labels_are_kept_and_crowds_left_out(tmp_path: Path) -> None:
    rle = mask_to_rle(rectangle((10, 10), (1, 1, 5, 5)))
    masks = (Mask(rle, "cup"), Mask(rle, crowd=True), Mask(rle, 'a "b"'))
    image = AnnotatedImage(file_name="sub/a.jpg", hw=(10, 10), masks=masks)
    empty = AnnotatedImage(file_name="b.jpg", hw=(10, 10))
    report = write_annotations([image, empty], tmp_path / "a.csv", "csv")
    rows = rows_of(tmp_path / "a.csv")
    assert [(row["image"], row["number"], row["label"]) for row in rows] == [
        ("sub/a.jpg", "1", "cup"),
        ("sub/a.jpg", "2", 'a "b"'),
    ]
    assert report.counts() == {"crowds": 1}
    write_annotations([empty], tmp_path / "none.csv", "csv")
    assert (tmp_path / "none.csv").read_text("utf-8") == ",".join(measure.TABLE_HEADER) + "\n"


def test_an_empty_mask_is_a_row_of_zeros(tmp_path: Path) -> None:
    mask = Mask(mask_to_rle(np.zeros((4, 5), bool)), "gone")
    image = AnnotatedImage(file_name="a.jpg", hw=(4, 5), masks=(mask,))
    write_annotations([image], tmp_path / "a.csv", "csv")
    (row,) = rows_of(tmp_path / "a.csv")
    assert set(list(row.values())[3:]) == {"0"}
