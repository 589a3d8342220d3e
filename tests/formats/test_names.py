"""Pictures of one name in several folders, or in other case, keep files of their own."""

import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anymask.base import DataError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    Policy,
    encode_annotations,
    find_format,
    read,
    read_annotations,
    write_annotations,
)
from anymask.formats.documents import name_uuid, output_paths, output_stems
from anymask.formats.registry import WRITABLE_FORMATS
from anymask.masks import Mask, Masks, mask_to_rle

# Formats of several files, which other tests have no other names for.
OF_FILES = sorted(
    name for name, one in WRITABLE_FORMATS.items() if one.kind != "file" and name != "sav"
)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["/data/cam1/1.jpg", "/data/cam2/1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"]),
        (["/a/cam1/1.jpg", "/b/cam1/1.jpg"], ["a/cam1/1.jpg", "b/cam1/1.jpg"]),
        (
            ["/a/x/1.jpg", "/a/y/1.jpg", "/b/x/1.jpg", "/b/x/2.jpg"],
            ["a/x/1.jpg", "y/1.jpg", "b/x/1.jpg", "2.jpg"],
        ),
        (["/1.jpg", "/data/1.jpg"], ["1.jpg", "data/1.jpg"]),
        (
            ["C:\\data\\cam1\\1.jpg", "C:\\data\\cam2\\1.jpg"],
            ["data/cam1/1.jpg", "data/cam2/1.jpg"],
        ),
        (["\\\\host\\cam1\\1.jpg", "\\\\host\\cam2\\1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"]),
        (["cam1/1.jpg", "cam2/1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"]),
        (["s3://b/cam1/1.jpg", "s3://b/cam2/1.jpg"], ["b/cam1/1.jpg", "b/cam2/1.jpg"]),
        (["A.jpg", "a.jpg", "a-2.jpg"], ["A.jpg", "a-3.jpg", "a-2.jpg"]),
        (["/x/A.jpg", "/y/a.jpg"], ["x/A.jpg", "y/a.jpg"]),
        (["Cam/1.jpg", "cam/1.jpg"], ["Cam/1.jpg", "cam/1-2.jpg"]),
        (["stra\u00dfe.jpg", "STRASSE.jpg"], ["stra\u00dfe.jpg", "STRASSE-2.jpg"]),
        (["\u00e9.jpg", "e\u0301.jpg"], ["\u00e9.jpg", "e\u0301-2.jpg"]),
        (["/data/cam1/1.jpg"], ["1.jpg"]),
        (["a.jpg", "a.jpg"], ["a.jpg", "a.jpg"]),
    ],
)
def test_the_shortest_distinct_end_of_a_name_is_its_place(
    names: list[str], stems: list[str]
) -> None:
    assert [stem.as_posix() for stem in output_stems(names)] == stems


@given(st.lists(st.text("aAb/.:\\", max_size=6), unique=True, max_size=6))
def test_places_differ_where_case_does_not_count(names: list[str]) -> None:
    images = [AnnotatedImage(file_name=name, hw=(1, 1)) for name in names]
    try:
        paths = output_paths(images, Path("out"), ".json")
    except DataError:
        return  # names that are equal but for `..`
    assert len({str(path).casefold() for path in paths}) == len(names)


def image(name: str, column: int) -> AnnotatedImage:
    """A picture of 8 x 6 whose mask is one column."""
    pixels = np.zeros((6, 8), np.bool_)
    pixels[:, column] = True
    return AnnotatedImage(file_name=name, hw=(6, 8), masks=(Mask(mask_to_rle(pixels), "x"),))


PAIRS = {
    "posix": ("/data/cam1/0001.jpg", "/data/cam2/0001.jpg"),
    "windows": ("D:\\data\\cam1\\0001.jpg", "D:\\data\\cam2\\0001.jpg"),
    "drives": ("C:\\cam1\\0001.jpg", "D:\\cam2\\0001.jpg"),
    "addresses": ("https://h/cam1/0001.jpg", "https://h/cam2/0001.jpg"),
    "case": ("A.jpg", "a.jpg"),
}


@pytest.mark.parametrize("form", OF_FILES)
@pytest.mark.parametrize("pair", PAIRS)
def test_every_format_writes_both_pictures(tmp_path: Path, form: str, pair: str) -> None:
    names = PAIRS[pair]
    report = write_annotations([image(names[0], 1), image(names[1], 5)], tmp_path / "out", form)
    files = [path for path in (tmp_path / "out").rglob("*.*") if path.is_file()]
    assert len({str(path).casefold() for path in files}) == len(files)
    assert bool(report.notes) is (pair == "case")
    if form in ("yolo", "imagej", "label-tif", "csv"):  # need the pictures, or are written only
        return
    found, _ = read_annotations(tmp_path / "out", form)
    columns = sorted(int(one.masks[0].rle.counts[0]) // 6 for one in found if one.masks)
    assert columns == [1, 5]


def test_a_picture_is_not_taken_for_one_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos/0001.jpg")
    write_annotations([image("cam1/0001.jpg", 1)], tmp_path / "one.json", "coco")
    write_annotations(
        [image("cam1/0001.jpg", 1), image("cam2/0001.jpg", 5)], tmp_path / "two.json", "coco"
    )
    one, two = (
        read(tmp_path / name, images=tmp_path / "photos") for name in ("one.json", "two.json")
    )
    assert one.image_path(next(iter(one))) == tmp_path / "photos/0001.jpg"
    for first in list(two):
        with pytest.raises(DataError, match="is not in"):
            two.image_path(first)


@pytest.mark.parametrize("form", WRITABLE_FORMATS)
def test_every_format_writes_names_that_are_no_text(form: str, tmp_path: Path) -> None:
    name, label = "caf\udce9.png", "th\udce9"  # as Python reads names in Latin-1 on Linux
    mask = Mask(mask_to_rle(np.eye(8, dtype=bool)), label=label, id=1)
    image = AnnotatedImage(file_name=name, hw=(8, 8), masks=Masks([mask]))
    target = tmp_path / f"out{find_format(form).ending}"
    files = encode_annotations([image], target, form, LossReport(), Policy())
    assert [*files]


def test_ids_of_names_are_those_of_rfc_4122() -> None:
    assert name_uuid("ü.png#1") == str(uuid.uuid5(uuid.NAMESPACE_URL, "ü.png#1"))
    assert name_uuid("\udce9.png") != name_uuid("\udcea.png")
