"""Label Studio: brush bytes as its SDK writes them, percent, and addresses."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import DataError, InputError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    Policy,
    brush_to_rle,
    label_studio,
    mask_to_brush,
    read,
    write_files,
)
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import pixels, rings, written
from tests.masks.strategies import Pixels, masks, quickly


def test_two_pixels_are_the_bytes_that_one_gets_by_hand() -> None:
    """8 values; 8 bits each; sizes 3, 4, 8, 16; four times 0; four times 255; 7 bits of padding."""
    bits = (
        "00000000000000000000000000001000" + "00111" + "0010" + "0011" + "0111" + "1111"
        "1" + "00" + "011" + "00000000"
        "1" + "00" + "011" + "11111111" + "0000000"
    )
    by_hand = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert by_hand == [0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128]
    assert mask_to_brush(np.array([[False, True]])) == by_hand


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_a_brush_takes_a_mask_of_any_numbers(kind: type) -> None:
    mask = np.zeros((5, 7), np.bool_)
    mask[1:4, 2:6] = True
    packed = mask_to_brush(mask.astype(kind) * kind(255))
    assert packed == mask_to_brush(mask)
    assert brush_to_rle(packed, mask.shape) == mask_to_rle(mask)
    with pytest.raises(InputError, match="must have the shape"):
        mask_to_brush(mask[None])


def slow_brush(mask: Pixels) -> list[int]:
    """The same, run by run, as text."""
    values = np.repeat(mask.ravel().astype(int) * 255, 4).tolist()
    text = f"{len(values):032b}" + "00111" + "0010001101111111"
    while values:
        length = next((n for n, v in enumerate(values) if v != values[0]), len(values))
        length = min(length, 65536)
        for which, size in enumerate((3, 4, 8, 16)):
            if length <= 1 << size:
                text += f"1{which:02b}" + format(length - 1, f"0{size}b") + f"{values[0]:08b}"
                break
        values = values[length:]
    text += "0" * (8 - len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


@quickly
@given(masks())
def test_bytes_are_those_of_the_slow_way_and_come_back(mask: Pixels) -> None:
    packed = mask_to_brush(mask)
    assert packed == slow_brush(mask)
    assert brush_to_rle(packed, mask.shape) == mask_to_rle(mask)


@pytest.mark.parametrize("pixels", [16383, 16384, 16385, 32768, 40000])
def test_runs_longer_than_16_bits_are_cut(pixels: int) -> None:
    mask = np.zeros((1, 50000), np.bool_)
    mask[0, 5 : 5 + pixels] = True
    packed = mask_to_brush(mask)
    assert packed == slow_brush(mask)
    assert brush_to_rle(packed, mask.shape) == mask_to_rle(mask)


def test_single_values_and_soft_edges_are_read() -> None:
    """Another encoder may list values: 2 pixels of alpha 127 and 128."""
    values = "".join(f"{value:08b}" for value in (0, 0, 0, 127, 9, 9, 9, 128))
    bits = f"{8:032b}" + "00111" + "0010001101111111" + "0" + "00" + "111" + values
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert brush_to_rle(packed, (1, 2)) == mask_to_rle(np.array([[False, True]]))


@quickly
@given(st.lists(st.integers(0, 255), max_size=30))
def test_any_bytes_are_read_or_refused(tail: list[int]) -> None:
    try:
        rle = brush_to_rle([0, 0, 0, 48, 57, 27, *tail], (3, 4))
    except DataError:
        return
    assert rle.counts.sum() == 12


# Tasks.


def test_predictions_have_what_an_import_looks_for(tmp_path: Path) -> None:
    mask = Mask(rings().masks[1].rle, "dot", score=0.75)
    image = AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=(mask,))
    assert not written(tmp_path / "tasks.json", [image], "label-studio-polygon")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    (prediction,) = task["predictions"]
    (region,) = prediction["result"]
    assert task["data"]["image"] == "a.jpg"
    assert (prediction["model_version"], prediction["score"]) == ("anymask", 0.75)
    points = np.array(region["value"].pop("points"))
    np.testing.assert_allclose(sorted(points[:, 0]), [100 * 11 / 12] * 2 + [100] * 2)
    assert region == {
        "id": "0-0",
        "from_name": "label",
        "to_name": "image",
        "type": "polygonlabels",
        "original_width": 12,
        "original_height": 9,
        "image_rotation": 0,
        "score": 0.75,
        "readonly": False,
        "value": {"polygonlabels": ["dot"], "closed": True},
    }
    (found,) = label_studio.read(tmp_path / "tasks.json", LossReport())
    assert found == image


@pytest.mark.parametrize(
    ("turn", "point"), [(0, (1, 2)), (90, (7, 1)), (180, (8, 7)), (270, (2, 8))]
)
def test_regions_of_turned_images_are_turned_back(
    turn: int, point: tuple[int, int], tmp_path: Path
) -> None:
    """The pixel (1, 2) of 10 x 10, as shown after clockwise turns of the image, by hand."""
    x, y = point
    value = {"x": 10 * x, "y": 10 * y, "width": 10, "height": 10, "rectanglelabels": ["a"]}
    about = {"type": "rectanglelabels", "original_width": 10, "original_height": 10}
    region = about | {"value": value, "image_rotation": turn}
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    (image,) = label_studio.read(tmp_path / "a.json", LossReport())
    assert np.argwhere(image.masks[0].mask).tolist() == [[2, 1]]


@pytest.mark.parametrize("width", [11, 22, 151])
def test_the_far_side_is_a_hundred_percent_and_no_more(width: int, tmp_path: Path) -> None:
    """11 * (100 / 11) is 100.00000000000001, which Label Studio's own check refuses."""
    full = Mask(mask_to_rle(np.ones((3, width), np.bool_)), "all")
    written(
        tmp_path / "a.json",
        [AnnotatedImage(file_name="a", hw=(3, width), masks=(full,))],
        "label-studio-polygon",
    )
    (task,) = json.loads((tmp_path / "a.json").read_text())
    points = np.array(task["predictions"][0]["result"][0]["value"]["points"])
    assert points.max() == 100


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("/data/upload/1/0f-a%20b.jpg", "0f-a b.jpg"),
        ("/data/local-files/?d=photos/a.jpg", "photos/a.jpg"),
        ("/data/local-files/?d=cam1%2F0001.jpg", "cam1/0001.jpg"),
        ("http://localhost:8080/data/local-files/?d=/cam1/a%20b.jpg", "cam1/a b.jpg"),
        ("/data/local-files/?d=C%3A%5Ccam1%5Ca.jpg", "C:/cam1/a.jpg"),
        ("s3://bucket/photos/a.jpg", "photos/a.jpg"),
        ("gs://bucket/cam1/a%2Bb.jpg", "cam1/a%2Bb.jpg"),  # keys are not quoted
        ("azure-blob://container/cam1/0001.jpg", "cam1/0001.jpg"),
        ("https://bucket.s3.amazonaws.com/cam1/a.jpg?X-Amz-Signature=0", "cam1/a.jpg"),
        ("https://example.org/cam1/a%20b.jpg", "cam1/a b.jpg"),
        ("/tasks/3/resolve/?fileuri=czM6Ly9idWNrZXQvY2FtMS9hLmpwZw==", "cam1/a.jpg"),
        ("http://localhost:8080/data/upload/12/0f1e2d3c-a.jpg", "0f1e2d3c-a.jpg"),
        ("/data/cam1/a.jpg", "data/cam1/a.jpg"),
        ("D:\\data\\cam1\\a.jpg", "D:/data/cam1/a.jpg"),
        ("https://example.org/a.jpg?size=3", "a.jpg"),
    ],
)
def test_addresses_end_in_a_name_and_are_written_back(
    address: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.json"
    size = {"original_height": 2, "original_width": 3}
    path.write_text(json.dumps([{"data": {"image": address} | size, "annotations": []}]))
    (image,) = label_studio.read(path, LossReport())
    assert (image.file_name, image.hw) == (name, (2, 3))
    assert not written(path, [image], "label-studio")
    assert json.loads(path.read_text())[0]["data"]["image"] == address


def region(**keys: Any) -> dict[str, Any]:
    value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["cat"]}
    size = {"original_height": 10, "original_width": 20}
    return {"type": "polygonlabels", "value": value} | size | keys


def task(*regions: Any, **keys: Any) -> dict[str, Any]:
    return {"data": {"image": "a.jpg"}, "annotations": [{"result": list(regions)}]} | keys


def read_file(folder: Path, *tasks: Any) -> tuple[list[AnnotatedImage], LossReport]:
    (folder / "a.json").write_text(json.dumps(list(tasks)))
    report = LossReport()
    return label_studio.read(folder / "a.json", report), report


def test_annotations_go_before_predictions_and_cancelled_ones_do_not_count(tmp_path: Path) -> None:
    cancelled = {"was_cancelled": True, "result": [region()] * 3}
    rows = [cancelled, {"result": [region()]}, {"result": []}]
    (image,), report = read_file(tmp_path, task(annotations=rows, predictions=[cancelled]))
    assert len(image.masks) == 1
    assert [str(loss) for loss in report.losses] == [
        "a.jpg: the task has 2 annotations; only the first one is read"
    ]


def test_finished_annotations_are_written_where_asked(tmp_path: Path) -> None:
    """Label Studio's converter reads `annotations`, and wants an `id` of every task."""
    path, report = tmp_path / "tasks.json", LossReport()
    policy = Policy(out_type="annotations", tolerance=0)
    write_files(label_studio.encode([rings()], path, report, policy, polygons=True), path)
    (written_task,) = json.loads(path.read_text())
    assert written_task["id"] == 1
    assert "predictions" not in written_task
    (annotation,) = written_task["annotations"]
    assert annotation["was_cancelled"] is False
    (found,) = label_studio.read(path, LossReport())
    assert pixels(found) == [row for row in pixels(rings()) if row[0] != "none"]


@pytest.mark.parametrize(("polygons", "kind"), [(False, "BrushLabels"), (True, "PolygonLabels")])
def test_the_interface_beside_the_tasks_names_what_they_use(
    tmp_path: Path, polygons: bool, kind: str
) -> None:
    masks = tuple(Mask(rings().masks[1].rle, label) for label in ("a & b", "犬", '"quoted"', "犬"))
    image = AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=masks)
    written(
        tmp_path / "tasks.json", [image], "label-studio-polygon" if polygons else "label-studio"
    )
    view = ET.parse(tmp_path / "tasks.label_config.xml").getroot()
    (source_image,), (control,) = view.findall("Image"), view.findall(kind)
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    for row in task["predictions"][0]["result"]:
        assert (row["from_name"], row["to_name"]) == (control.get("name"), source_image.get("name"))
    assert [label.get("value") for label in control] == ["a & b", "犬", '"quoted"']
    assert source_image.get("value") == "$image"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rectanglelabels", {"x": 75, "y": 0, "width": 25, "height": 50, "rotation": 90}),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 10, "rotation": 0}),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 5, "radiusY": 50, "rotation": 90}),
    ],
)
def test_turned_rectangles_and_ellipses_are_filled(
    kind: str, value: dict[str, Any], tmp_path: Path
) -> None:
    """In a picture of 20 x 10; a rectangle turns clockwise around its first corner."""
    (image,), report = read_file(tmp_path, task(region(type=kind, value=value | {kind: ["a"]})))
    rows, columns = np.mgrid[:10, :20] + 0.5
    truth = (columns > 10) & (columns < 15) & (rows < 5)  # 5 x 5 pixels, left of the corner
    if kind == "ellipselabels":
        truth = ((columns - 10) / 5) ** 2 + ((rows - 5) / 1) ** 2 < 1
    np.testing.assert_array_equal(image.masks[0].mask, truth)
    assert not report


def test_an_uploaded_photo_is_found_by_the_name_that_it_had(tmp_path: Path) -> None:
    made = task(region(), data={"image": "/data/upload/1/0a1b2c3d-a.jpg"})
    (tmp_path / "a.json").write_text(json.dumps([made]))
    (tmp_path / "a.jpg").write_bytes(b"")
    stream = read(tmp_path / "a.json")
    (image,) = stream
    assert (image.file_name, stream.image_path(image)) == ("0a1b2c3d-a.jpg", tmp_path / "a.jpg")
