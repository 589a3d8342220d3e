"""What the tests of anymask require of every format, of the formats of this plug-in."""

import json
from pathlib import Path

import numpy as np
import pytest
import test_via as via
from PIL import Image
from tool_files import BROKEN, SOURCES

from anymask.studio.project import Project
from tests.formats import (
    test_archives,
    test_bad_records,
    test_class_lists,
    test_dataset,
    test_formats,
    test_layouts,
    test_loss_report,
    test_messages,
    test_names,
    test_origins,
    test_terms,
    traits,
)
from tests.formats.published import WRITERS
from tests.formats.truth import RING, TWO_PARTS, Truth, photo, png
from tests.studio import test_exports
from tests.studio.test_terms import filled as filled

NAMES = ("v7", "encord", "supervisely", "cellpose")  # that are written
LISTS = {"v7": "v7", "encord": "o.json", "supervisely": "sly"}  # of classes
EVERY = pytest.mark.parametrize("name", NAMES)


@EVERY
def test_pixels_come_back_or_their_loss_is_told(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    test_formats.test_pixels_come_back_or_their_loss_is_told(tmp_path_factory, name)


@EVERY
@pytest.mark.parametrize(
    "check",
    [
        test_formats.test_a_format_is_recognised_from_what_it_writes,
        test_formats.test_no_picture_and_a_picture_without_masks_are_fine,
        test_dataset.test_every_format_streams_what_it_reads,
        test_names.test_every_format_writes_names_that_are_no_text,
        test_origins.test_origins_come_back_from_every_format,
        test_terms.test_terms_come_back_from_every_format,
    ],
)
def test_it_is_like_the_built_in_formats(check: object, name: str, tmp_path: Path) -> None:
    check(name, tmp_path)  # type: ignore[operator]  # a test of one format


def test_outlines_follow_the_edge_and_say_what_that_costs(tmp_path: Path) -> None:
    test_formats.test_outlines_follow_the_edge_and_say_what_that_costs("v7", tmp_path)


@EVERY
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_it_is_read_from_archives(name: str, ending: str, tmp_path: Path) -> None:
    test_archives.test_every_format_is_read_from_archives(tmp_path, name, ending)


@pytest.mark.parametrize("name", ["v7", "supervisely", "cellpose"])
@pytest.mark.parametrize("pair", test_names.PAIRS)
def test_both_pictures_are_written(name: str, pair: str, tmp_path: Path) -> None:
    test_names.test_every_format_writes_both_pictures(tmp_path, name, pair)


@pytest.mark.parametrize("name", BROKEN)
def test_the_other_records_are_read_and_each_bad_one_is_reported(name: str, tmp_path: Path) -> None:
    test_bad_records.test_the_other_records_are_read_and_each_bad_one_is_reported(
        BROKEN[name](tmp_path / "in")
    )


@pytest.mark.parametrize("name", BROKEN)
def test_all_of_them_are_listed_where_they_are_errors(name: str, tmp_path: Path) -> None:
    test_bad_records.test_all_of_them_are_listed_where_they_are_errors(
        BROKEN[name](tmp_path / "in")
    )


@pytest.fixture
def class_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in LISTS.items():
        monkeypatch.setitem(test_class_lists.TARGETS, name, target)


@pytest.mark.usefixtures("class_lists")
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("split", test_class_lists.SPLITS)
def test_a_list_comes_through_and_back(name: str, split: str, tmp_path: Path) -> None:
    test_class_lists.test_a_list_comes_through_and_back(name, split, tmp_path)


@pytest.mark.usefixtures("class_lists")
@pytest.mark.parametrize("name", LISTS)
def test_ids_with_gaps_that_are_not_kept_are_named(name: str, tmp_path: Path) -> None:
    test_class_lists.test_ids_with_gaps_that_are_not_kept_are_named(name, tmp_path)


# Losses: each of these formats with every other one.


@pytest.mark.parametrize(
    ("source", "to"),
    [(source, to) for source in SOURCES for to in (*test_loss_report.WRITABLE_FORMATS, *NAMES)]
    + [(source, to) for source in traits.SOURCES for to in NAMES],
)
def test_what_is_lost_is_named(
    source: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source in SOURCES:
        monkeypatch.setitem(traits.SOURCES, source, SOURCES[source])
    test_loss_report.test_what_is_lost_is_named(source, to, tmp_path)


@EVERY
@pytest.mark.parametrize("field", test_loss_report.FIELDS)
def test_a_field_comes_back_or_is_named(field: str, name: str, tmp_path: Path) -> None:
    test_loss_report.test_a_field_comes_back_or_is_named(field, name, tmp_path)


# Messages.


@pytest.mark.parametrize("name", ["v7", "encord", "supervisely"])
def test_odd_values_are_named_in_sentences(name: str, tmp_path: Path) -> None:
    test_messages.test_odd_values_are_named_in_sentences(tmp_path, name)


@pytest.mark.parametrize(
    "document",
    [
        via.project(via.sample_image(via.SHAPES["polygon"][0], **{"class": {"cat": True}})),
        via.project_3(
            a={"vid": "1", "flg": 0, "z": [], "xy": via.THREE["polygon"][0], "av": {"1": "1"}}
        ),
    ],
    ids=["via 2", "via 3"],
)
def test_odd_values_of_via_are_named_in_sentences(document: object, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    (tmp_path / "in.json").write_text(json.dumps(document))
    test_messages.check(tmp_path / "in.json", "via")


# Projects.


@EVERY
@pytest.mark.parametrize("settings", [{}, {"images": True}, {"images": True, "shares": (1, 1)}])
def test_the_archive_of_a_project_is_read(
    project: Project, tmp_path: Path, name: str, settings: dict[str, object]
) -> None:
    test_exports.test_the_archive_of_a_project_is_read(project, tmp_path, name, settings)


# The layout.


def write_hqseg(root: Path) -> list[Truth]:
    photo(root / "DIS5K" / "DIS-VD" / "im" / "1#Accessories#3#Jewelry.jpg")
    white = np.where(RING, 255, 0).astype(np.uint8)
    png(root / "DIS5K" / "DIS-VD" / "gt" / "1#Accessories#3#Jewelry.png", white)
    thin = root / "thin_object_detection" / "HRSOD"
    photo(thin / "images" / "10.jpg")
    png(thin / "masks_max255" / "10.png", np.where(TWO_PARTS, 255, 0).astype(np.uint8))
    return [
        Truth("DIS5K/DIS-VD/im/1#Accessories#3#Jewelry.jpg", [(RING, None)]),
        Truth("thin_object_detection/HRSOD/images/10.jpg", [(TWO_PARTS, None)]),
    ]


@pytest.mark.parametrize(
    "check",
    [
        test_layouts.test_a_data_set_is_recognised_and_read_pixel_for_pixel,
        test_layouts.test_no_other_split_is_read_in_its_place,
        test_layouts.test_a_truncated_file_of_truth_is_named,
        test_layouts.test_a_published_data_set_becomes_a_set_of_our_own,
    ],
)
def test_the_layout_is_like_the_built_in_ones(
    check: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WRITERS, "HQSeg-44K", ("hqseg", write_hqseg))
    check("HQSeg-44K", tmp_path)  # type: ignore[operator]  # a test of one layout
