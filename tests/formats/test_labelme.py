"""labelme: masks keep every pixel, polygons their parts, and unknown keys stay."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, labelme, read, read_annotations
from anymask.masks import Mask
from tests.formats.annotated import pixels, rings, written


def test_the_photo_is_seen_from_the_file_s_own_folder(tmp_path: Path) -> None:
    names = ["a.png", "cam 1/a.png", "cam 2/deep/a.png"]
    images = [replace(rings(), file_name=name, masks=rings().masks[:1]) for name in names]
    written(tmp_path, images, "labelme")
    for image in images:  # as labelme looks for it
        path = (tmp_path / image.file_name).with_suffix(".json")
        assert path.parent / json.loads(path.read_text())["imagePath"] == tmp_path / image.file_name
    assert labelme.read(tmp_path, LossReport()) == images
    assert list(read(tmp_path)) == images
    (single,) = labelme.read(tmp_path / "cam 1" / "a.json", LossReport())
    assert single.file_name == "a.png"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("a.jpg", "notes/a.jpg"),
        ("..\\photos\\a.jpg", "photos/a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("notes/a.jpg", "notes/a.jpg"),  # seen from above already
        ("/photos/a.jpg", "/photos/a.jpg"),
        ("C:\\a.jpg", "C:/a.jpg"),
    ],
)
def test_other_places_of_a_photo_are_followed(said: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.json").write_text(json.dumps(document(imagePath=said)))
    (image,) = labelme.read(tmp_path, LossReport())
    assert image.file_name == name


def test_the_parts_of_a_polygon_share_a_group(tmp_path: Path) -> None:
    report = written(tmp_path, [rings()], "labelme-polygon")
    shapes = json.loads((tmp_path / "rings.json").read_text())["shapes"]
    assert [(shape["label"], shape["group_id"]) for shape in shapes] == [
        ("ring", 1),
        ("ring", 1),
        ("dot", None),
        ("all", None),
    ]
    assert report.counts() == {"holes": 1, "empty": 1}


def test_a_stamp_is_the_box_of_first_and_last_pixel(tmp_path: Path) -> None:
    written(tmp_path, [rings()], "labelme")
    shape = json.loads((tmp_path / "rings.json").read_text())["shapes"][0]
    assert shape["points"] == [[1, 1], [10, 7]]
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as stamp:
        np.testing.assert_array_equal(np.asarray(stamp) != 0, rings().masks[0].mask[1:8, 1:11])


def document(*shapes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    about = {"imagePath": "..\\photos\\a.jpg", "imageHeight": 40, "imageWidth": 50}
    return {"version": "5.4.1", "flags": {}, "shapes": list(shapes)} | about | keys


def read_file(
    folder: Path, *shapes: dict[str, Any], **keys: Any
) -> tuple[AnnotatedImage, LossReport]:
    (folder / "a.json").write_text(json.dumps(document(*shapes, **keys)))
    report = LossReport()
    (image,) = labelme.read(folder / "a.json", report)
    return image, report


def test_rectangles_and_circles_are_filled(tmp_path: Path) -> None:
    box = {"label": "box", "shape_type": "rectangle", "points": [[30, 35], [10, 5]]}
    disc = {"label": "disc", "shape_type": "circle", "points": [[20, 20], [30, 20]]}
    image, _ = read_file(tmp_path, box, disc)
    truth = np.zeros((40, 50), np.bool_)
    truth[5:35, 10:30] = True
    np.testing.assert_array_equal(image.masks[0].mask, truth)
    four, _ = read_file(tmp_path, box | {"points": [[10, 5], [30, 5], [30, 35], [10, 35]]})
    np.testing.assert_array_equal(four.masks[0].mask, truth)
    assert image.masks[1].area == pytest.approx(np.pi * 100, rel=0.01)
    assert image.file_name == "photos/a.jpg"


def test_polygons_agree_with_pillow_but_for_the_border(tmp_path: Path) -> None:
    corners = [(5.0, 5.0), (44.0, 10.0), (30.0, 35.0), (20.0, 18.0)]
    image, _ = read_file(tmp_path, {"label": "x", "shape_type": "polygon", "points": corners})
    canvas = Image.new("L", (50, 40))
    ImageDraw.Draw(canvas).polygon(corners, fill=1)
    theirs = np.asarray(canvas) != 0
    y, x = np.nonzero(image.masks[0].mask != theirs)
    outline = shapely.Polygon(corners).exterior
    assert shapely.distance(outline, shapely.points(x + 0.5, y + 0.5)).max() < 1.5


def test_two_masks_of_one_group_are_kept_apart(tmp_path: Path) -> None:
    first, second = (Mask(rings().masks[n].rle, "x", id=3) for n in (0, 1))
    image = AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=(first, second))
    assert written(tmp_path, [image], "labelme").counts() == {"ids": 1}
    (found,) = labelme.read(tmp_path, LossReport())
    assert pixels(found) == pixels(image)


MASK = {"label": "x", "shape_type": "mask", "points": [[0, 0], [2, 2]]}


def test_a_stamp_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    stamp = MASK | {"mask": base64.b64encode(b"%PDF-1.4").decode()}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document(stamp)))
    with pytest.raises(DataError, match="`mask` is a PDF document, not a supported image"):
        labelme.read(path, LossReport())


def test_a_photo_beside_the_folder_of_its_notes_is_found(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    (tmp_path / "notes" / "a.json").write_text(json.dumps(document(imagePath="..\\photos\\a.jpg")))
    stream = read(tmp_path / "notes")
    (image,) = stream
    assert stream.image_path(image) == tmp_path / "photos" / "a.jpg"


def test_an_embedded_photo_is_named_where_its_file_is_missing(tmp_path: Path) -> None:
    rows = {"label": "cat", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    about = {"imageData": "iVBORw0KGgo=", "imagePath": "a.png", "shapes": [rows]}
    about |= {"imageHeight": 10, "imageWidth": 20}
    (tmp_path / "a.json").write_text(json.dumps(about))
    _, report = read_annotations(tmp_path / "a.json")
    assert [loss.name for loss in report.losses] == ["imageData"]
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    _, report = read_annotations(tmp_path / "a.json")
    assert not report.losses


def test_the_shapes_of_x_anylabeling_are_read(tmp_path: Path) -> None:
    """Turned and other boxes of four corners; its files have keys that labelme has not."""
    own = {"score": 0.75, "difficult": False, "attributes": {}, "kie_linking": [], "flags": {}}
    corners = {
        "rectangle": [[2, 1], [6, 1], [6, 4], [2, 4]],
        "rotation": [[10, 1], [13, 4], [10, 7], [7, 4]],
        "quadrilateral": [[13, 1], [19, 2], [18, 9], [14, 8]],
        "cuboid": [[1, 1], [2, 1], [2, 2], [1, 2], [3, 3], [4, 3], [4, 4], [3, 4]],
    }
    shapes = [
        {"label": kind, "points": points, "group_id": None, "shape_type": kind, **own}
        for kind, points in corners.items()
    ]
    shapes[1]["direction"] = 0.785
    document = {
        "version": "3.2.1", "flags": {}, "checked": True, "shapes": shapes, "imagePath": "a.jpg",
        "imageData": None, "imageHeight": 10, "imageWidth": 20,
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(document))
    report = LossReport()
    (image,) = labelme.read(tmp_path / "a.json", report)
    found = {mask.label: mask for mask in image.masks}
    assert sorted(found) == ["quadrilateral", "rectangle", "rotation"]
    assert found["rotation"].score == 0.75
    for kind, mask in found.items():
        y, x = np.mgrid[:10, :20] + 0.5
        polygon = shapely.Polygon(corners[str(kind)])
        border = shapely.distance(polygon.exterior, shapely.points(x, y)) == 0
        inside = shapely.contains_xy(polygon, x, y)
        np.testing.assert_array_equal(mask.mask[~border], inside[~border])
    assert [loss.reason for loss in report.losses] == ["shapes of type 'cuboid' have no mask"]
