"""VGG Image Annotator 1 to 3: projects and exports as the tool writes them.

Pictures are 20 x 10; masks are worked out by hand.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.formats import read_annotations
from anymask.masks import rle_to_mask

Y, X = np.mgrid[:10, :20] + 0.5

SHAPES: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "rect": (
        {"name": "rect", "x": 2, "y": 1, "width": 4, "height": 3},
        (X > 2) & (X < 6) & (Y > 1) & (Y < 4),
    ),
    "polygon": (
        {"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [0, 0, 5, 5]},
        (X > 10) & (Y < 5),
    ),
    "circle": ({"name": "circle", "cx": 5, "cy": 5, "r": 2.5}, (X - 5) ** 2 + (Y - 5) ** 2 < 6.25),
    "ellipse": (
        {"name": "ellipse", "cx": 10, "cy": 5, "rx": 6, "ry": 2.2},
        ((X - 10) / 6) ** 2 + ((Y - 5) / 2.2) ** 2 < 1,
    ),
    "turned": (  # a quarter: the radii change places
        {"name": "ellipse", "cx": 10, "cy": 5, "rx": 4.4, "ry": 7.3, "theta": 1.5707963},
        ((X - 10) / 7.3) ** 2 + ((Y - 5) / 4.4) ** 2 < 1,
    ),
}


@pytest.fixture(autouse=True)
def images(tmp_path: Path) -> None:
    """Two pictures beside the file."""
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)


def sample_image(*shapes: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    """A picture's record of VIA 2."""
    regions = [{"shape_attributes": one, "region_attributes": attributes} for one in shapes]
    return {"filename": "a.jpg", "size": 830, "regions": regions, "file_attributes": {}}


def project(*records: dict[str, Any], **region: Any) -> dict[str, Any]:
    """A project of VIA 2."""
    by_key = {f"{one['filename']}{one['size']}": one for one in records}
    return {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "p"}},
        "_via_img_metadata": by_key,
        "_via_attributes": {"region": region, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [*by_key],
    }


def masks_of(path: Path) -> list[tuple[str | None, np.ndarray]]:
    """The masks of the first picture of a file."""
    images, _ = read_annotations(path)
    assert images[0].hw == (10, 20)
    return [(mask.label, rle_to_mask(mask.rle)) for mask in images[0].masks]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["project", "export", "export 1"])
def test_the_shapes_of_via_2_are_read(tmp_path: Path, shape: str, kind: str) -> None:
    numbers, expected = SHAPES[shape]
    record = sample_image(numbers, **{"class": "cat"})
    if kind == "export 1":  # VIA 1 numbers the regions
        record["regions"] = dict(enumerate(record["regions"])) | {}
        record |= {"fileref": "", "base64_img_data": ""}
    document = project(record) if kind == "project" else {"a.jpg830": record}
    (tmp_path / "via.json").write_text(json.dumps(document))
    assert anymask.read(tmp_path / "via.json").format == "via"
    ((label, mask),) = masks_of(tmp_path / "via.json")
    assert label == "cat"
    assert np.array_equal(mask, expected)


def test_points_and_lines_are_reported(tmp_path: Path) -> None:
    line = {"name": "polyline", "all_points_x": [1, 5], "all_points_y": [1, 5]}
    point = {"name": "point", "cx": 1, "cy": 2}
    (tmp_path / "via.json").write_text(
        json.dumps({"k": sample_image(point, line, SHAPES["rect"][0])})
    )
    (image,), report = read_annotations(tmp_path / "via.json")
    assert len(image.masks) == 1
    assert [loss.reason for loss in report.losses] == [
        "regions of shape 'point' have no mask", "regions of shape 'polyline' have no mask",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "label", "extra"),
    [
        ({"class": "cat"}, "cat", {}),
        ({"colour": "red", "class": "cat"}, "cat", {"attributes": {"colour": "red"}}),
        ({"Type": "cat", "note": ""}, "cat", {}),
        ({"colour": "red", "size": "big"}, "red", {"attributes": {"size": "big"}}),
        ({"class": {"cat": True, "dog": True}}, "cat", {"attributes": {"class": ["cat", "dog"]}}),
        ({"class": {"cat": False, "dog": True}}, "dog", {}),
        ({"class": "1"}, "car", {}),
        ({}, None, {}),
    ],
)
def test_an_attribute_names_the_class(
    tmp_path: Path, attributes: dict[str, Any], label: str | None, extra: dict[str, Any]
) -> None:
    about = {"class": {"type": "dropdown", "options": {"1": "car", "cat": "a small animal"}}}
    document = project(sample_image(SHAPES["rect"][0], **attributes), **about)
    (tmp_path / "via.json").write_text(json.dumps(document))
    (image,), _ = read_annotations(tmp_path / "via.json")
    assert (image.masks[0].label, image.masks[0].extra) == (label, extra)


def test_attributes_of_files_and_the_class_list_are_kept(tmp_path: Path) -> None:
    options = {"type": "dropdown", "options": {"cat": "", "dog": ""}}
    record = sample_image(SHAPES["rect"][0], **{"class": "dog"}) | {
        "file_attributes": {"light": "dusk", "note": ""}
    }
    (tmp_path / "via2.json").write_text(json.dumps(project(record, **{"class": options})))
    row = {"vid": "1", "flg": 0, "z": [], "xy": [2, 2, 1, 4, 3], "av": {"1": "1"}}
    whole = {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {"2": "dusk"}}
    document = project_3(**{"1_a": row, "1_b": whole})
    light = {"aname": "light", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}}
    document["attribute"]["2"] = light
    (tmp_path / "via3.json").write_text(json.dumps(document))
    for name in ("via2.json", "via3.json"):
        images, report = read_annotations(tmp_path / name)
        assert images[0].extra == {"file_attributes": {"light": "dusk"}}
        assert [*report.classes] == ["cat", "dog"]
        assert report.facts.info == {"name": "p"}
        assert not report.losses
    begin = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    cells = """a.jpg,830,"{""light"":""dusk""}",0,0,"{}","{}"\n"""
    (tmp_path / "via.csv").write_text(f"{begin},region_attributes\n{cells}")
    ((image,), _) = read_annotations(tmp_path / "via.csv")
    assert image.extra == {"file_attributes": {"light": "dusk"}}


def test_the_csv_of_via_2_is_read(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    names = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    writer.writerow([*names.split(","), "region_attributes"])
    for number, (shape, _) in enumerate(SHAPES.values()):
        about = [json.dumps(shape), json.dumps({"class": "cat"})]
        writer.writerow(["a.jpg", 830, "{}", len(SHAPES), number, *about])
    writer.writerow(["b.jpg", 830, "{}", 0, 0, "{}", "{}"])
    for begin in ("", "#"):
        (tmp_path / "via.csv").write_text(begin + text.getvalue())
        assert anymask.read(tmp_path / "via.csv").format == "via"
        found = masks_of(tmp_path / "via.csv")
        for (_, mask), (_, expected) in zip(found, SHAPES.values(), strict=True):
            assert np.array_equal(mask, expected)
        images, _ = read_annotations(tmp_path / "via.csv")
        assert [(image.file_name, len(image.masks)) for image in images] == [
            ("a.jpg", 5), ("b.jpg", 0),
        ]  # fmt: skip


THREE = {
    "rect": ([2, 2, 1, 4, 3], SHAPES["rect"][1]),
    "circle": ([3, 5, 5, 2.5], SHAPES["circle"][1]),
    "ellipse": ([4, 10, 5, 6, 2.2], SHAPES["ellipse"][1]),
    "polygon": ([7, 10, 0, 20, 0, 20, 5, 10, 5], SHAPES["polygon"][1]),
    "extreme rectangle": ([8, 2, 2, 3, 1, 6, 3, 4, 4], SHAPES["rect"][1]),
    "extreme circle": ([9, 2.5, 5, 7.5, 5, 5, 7.5], SHAPES["circle"][1]),
}


def project_3(**metadata: dict[str, Any]) -> dict[str, Any]:
    """A project of VIA 3 with two pictures."""
    select = {"type": 4, "options": {"0": "cat", "1": "dog"}, "default_option_id": ""}
    attribute = {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "desc": ""} | select
    files = {
        str(number): {"fid": number, "fname": name, "type": 2, "loc": 1, "src": ""}
        for number, name in enumerate(("a.jpg", "b.jpg"), start=1)
    }
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "pname": "p", "data_format_version": "3.1.2"},
        "config": {"file": {}, "ui": {}},
        "attribute": {"1": attribute},
        "file": files,
        "metadata": metadata,
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
    }


@pytest.mark.parametrize("shape", THREE)
def test_the_shapes_of_via_3_are_read(tmp_path: Path, shape: str) -> None:
    numbers, expected = THREE[shape]
    row = {"vid": "1", "flg": 0, "z": [], "xy": numbers, "av": {"1": "1"}}
    (tmp_path / "via.json").write_text(json.dumps(project_3(**{"1_abc": row})))
    assert anymask.read(tmp_path / "via.json").format == "via"
    ((label, mask),) = masks_of(tmp_path / "via.json")
    assert label == "dog"
    assert np.array_equal(mask, expected)


def test_times_and_regions_of_videos_are_reported(tmp_path: Path) -> None:
    rows = {
        "1_a": {"vid": "1", "flg": 0, "z": [1.5], "xy": [2, 2, 1, 4, 3], "av": {}},
        "1_b": {"vid": "1", "flg": 0, "z": [1.5, 3], "xy": [], "av": {}},
        "2_c": {"vid": "2", "flg": 0, "z": [], "xy": [2, 2, 1, 4, 3], "av": {}},
    }
    (tmp_path / "via.json").write_text(json.dumps(project_3(**rows)))
    images, report = read_annotations(tmp_path / "via.json")
    assert [len(image.masks) for image in images] == [0, 1]
    assert [loss.reason for loss in report.losses] == ["regions of a video have no mask"] * 2


def test_the_csv_of_via_3_is_read(tmp_path: Path) -> None:
    rows = [
        "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        "# Notes:",
        '# SHAPE_ID = {"POINT":1,"RECTANGLE":2,"CIRCLE":3}',
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,"
        "metadata",
    ]
    for number, (numbers, _) in enumerate(THREE.values()):
        coordinates = ",".join(map(str, numbers))
        rows.append(f'"1_{number}","[""a.jpg""]",0,"[]","[{coordinates}]","{{""1"":""cat""}}"')
    (tmp_path / "via.csv").write_text("\n".join(rows) + "\n")
    assert anymask.read(tmp_path / "via.csv").format == "via"
    found = masks_of(tmp_path / "via.csv")
    for (label, mask), (_, expected) in zip(found, THREE.values(), strict=True):
        assert label == "cat"
        assert np.array_equal(mask, expected)


BROKEN: dict[str, Any] = {
    "no name": {"x": 1}, "unknown": {"name": "star", "x": 1},
    "text": {"name": "rect", "x": "left", "y": 1, "width": 4, "height": 3},
    "missing": {"name": "rect", "x": 1, "y": 1, "width": 4},
    "flat": {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 0},
    "short": {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]},
    "uneven": {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]},
    "none": None,
}  # fmt: skip


def test_broken_regions_are_skipped_alone(tmp_path: Path) -> None:
    shapes = [SHAPES["rect"][0], *BROKEN.values(), SHAPES["circle"][0]]
    (tmp_path / "via.json").write_text(json.dumps(project(sample_image(*shapes))))
    (image,), report = read_annotations(tmp_path / "via.json")
    assert len(image.masks) == 2
    assert report.skipped == len(BROKEN)
    with pytest.raises(DataError, match="8 invalid records"):
        read_annotations(tmp_path / "via.json", on_bad="error")


def test_pictures_may_lie_elsewhere_or_be_missing(tmp_path: Path) -> None:
    record = sample_image(SHAPES["rect"][0]) | {"filename": "https://host/cam1/0001.jpg"}
    (tmp_path / "via.json").write_text(json.dumps({"k": record}))
    with pytest.raises(
        DataError, match=r"cam1/0001.jpg: The size of the image is unknown.*--images DIR"
    ):
        read_annotations(tmp_path / "via.json")
    (tmp_path / "other/cam1").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "other/cam1/0001.jpg")
    (image,), _ = read_annotations(tmp_path / "via.json", image_root=tmp_path / "other")
    assert (image.file_name, len(image.masks)) == ("cam1/0001.jpg", 1)


def test_boxes_that_are_corners_get_one_line(tmp_path: Path) -> None:
    boxes = [(8, 4, 19, 9), (2, 1, 6, 4)]
    rects = [
        dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"name": "rect"}
        for box in boxes
    ]
    (tmp_path / "via.json").write_text(json.dumps(project(sample_image(*rects))))
    _, report = read_annotations(tmp_path / "via.json")
    assert report.notes == [
        "1 box extends beyond its image. The numbers may be x0 y0 x1 y1, "
        "but the format requires x y width height."
    ]
