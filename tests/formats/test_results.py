"""Lists of COCO results and of segment-anything's generator; pycocotools is the oracle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.base import DataError
from anymask.formats import read_annotations
from anymask.formats.registry import recognized
from anymask.masks import rle_to_mask

DISC = (np.mgrid[:30, :40][0] - 12) ** 2 + (np.mgrid[:30, :40][1] - 20) ** 2 < 60
POLYGON = [3.0, 4.0, 30.0, 5.0, 28.0, 25.0, 6.0, 20.0]


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """Run-lengths by pycocotools, as JSON."""
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def plain(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run-lengths, as the generator's `uncompressed_rle`."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": [*mask.shape], "counts": ([0] if flat[0] else []) + counts}


def result(image_id: object, **keys: Any) -> dict[str, Any]:
    """A record of COCO results."""
    told = {"image_id": image_id, "category_id": 18, "bbox": [12, 4, 16, 16], "score": 0.75}
    return told | {"segmentation": compressed(DISC)} | keys


def save(path: Path, hw: tuple[int, int] = (30, 40)) -> None:
    """A picture."""
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", hw[::-1]).save(path)


def test_coco_results_are_read(tmp_path: Path) -> None:
    for name in ("000000000139.jpg", "val_7.png"):
        save(tmp_path / "photos" / name)
    rows = [
        result(139), result(7, segmentation=plain(DISC)), result(139, segmentation=[POLYGON]),
        result(7, segmentation=None), result("7"),
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(rows))
    assert recognized(tmp_path / "results.json")[0] == "results"
    images, report = read_annotations(tmp_path / "results.json", image_root=tmp_path / "photos")
    assert [image.file_name for image in images] == ["000000000139.jpg", "val_7.png"]
    first, second = (image.masks for image in images)
    assert [(mask.label, mask.score) for mask in first] == [("18", 0.75)] * 2
    assert len(second) == 2
    for mask in (first[0], *second):
        assert np.array_equal(rle_to_mask(mask.rle), DISC)
    drawn = coco_mask.merge(coco_mask.frPyObjects([POLYGON], 30, 40))["counts"].decode()
    assert compressed(rle_to_mask(first[1].rle))["counts"] == drawn
    assert [loss.reason for loss in report.losses] == ["a box alone"]
    assert report.notes == [
        "The results have no class names, so classes are named by their category ids."
    ]


def test_run_lengths_tell_the_size_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps([result(139), result("cam1/a")]))
    images, _ = read_annotations(tmp_path / "results.json")
    assert [(image.file_name, image.hw) for image in images] == [
        ("139", (30, 40)), ("cam1/a", (30, 40)),
    ]  # fmt: skip


def test_wrapped_and_empty_results_are_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for more, label in (({}, "18"), ({"categories": [{"id": 18, "name": "dog"}]}, "dog")):
        odd = [result(139, category_id=9), result(139, category_id=[1]), 7] if more else []
        path.write_text(json.dumps({"annotations": [result(139), *odd]} | more))
        assert recognized(path)[0] == "results"
        (image,), report = read_annotations(path)
        assert ([mask.label for mask in image.masks], report.skipped) == ([label], len(odd))
        assert np.array_equal(rle_to_mask(image.masks[0].rle), DISC)
    path.write_text("[]")
    assert (recognized(path)[0], read_annotations(path)[0]) == ("results", [])


def test_polygons_need_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps([result(1, segmentation=[POLYGON])]))
    with pytest.raises(DataError, match=r"image 1: The size of the image is unknown.*--images DIR"):
        read_annotations(tmp_path / "results.json")


def test_a_number_that_two_pictures_have_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_7.jpg")
    save(tmp_path / "b_7.jpg")
    (tmp_path / "results.json").write_text(json.dumps([result(7)]))
    with pytest.raises(DataError, match=r"Two images have this number: a_7.jpg and b_7.jpg"):
        read_annotations(tmp_path / "results.json")


@pytest.mark.parametrize("encode", [compressed, plain])
def test_lists_of_the_generator_are_read(tmp_path: Path, encode: Any) -> None:
    record = {
        "segmentation": encode(DISC), "area": int(DISC.sum()), "bbox": [12, 4, 16, 16],
        "predicted_iou": 0.97, "point_coords": [[20.0, 12.0]], "stability_score": 0.98,
        "crop_box": [0, 0, 40, 30],
    }  # fmt: skip
    (tmp_path / "out").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"out/{name}.json").write_text(json.dumps([record]))
        save(tmp_path / f"photos/{name}.jpg")
    assert recognized(tmp_path / "out")[0] == "results"
    images, report = read_annotations(tmp_path / "out", image_root=tmp_path / "photos")
    assert not report
    assert [image.file_name for image in images] == ["a.jpg", "b.jpg"]
    for image in images:
        (mask,) = image.masks
        assert np.array_equal(rle_to_mask(mask.rle), DISC)
        assert (mask.score, mask.stability, mask.label) == (0.97, 0.98, None)
        assert mask.points == ((20.0, 12.0),)


def test_broken_records_are_skipped(tmp_path: Path) -> None:
    broken = [
        3, result(None), result([1]), result(1, segmentation={"size": [30, 40], "counts": "x"}),
        result(1, segmentation=compressed(DISC[:20])), result(1, score="high"),
        result(1, segmentation=[[1, 2, 3]]),
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps([result(1), *broken]))
    (image,), report = read_annotations(tmp_path / "results.json")
    assert len(image.masks) == 1
    assert report.skipped == len(broken)
    with pytest.raises(DataError, match="7 invalid records"):
        read_annotations(tmp_path / "results.json", on_bad="error")
