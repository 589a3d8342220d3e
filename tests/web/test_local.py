"""The page without a server of ours: photos from the disk, the whole model in the browser."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.masks import Mask, coco_to_rle, measure, rle_area
from tests.web.conftest import SitDown


def open_images(ann: Any, files: list[Path], query: str = "?local=1") -> None:
    ann.open(query)
    ann.page.set_input_files("input[type=file]", [str(file) for file in files])
    ann.until("s.editor !== null")


def test_photos_are_labelled_kept_and_exported(
    sit_down: SitDown, image_files: list[Path], tmp_path: Path
) -> None:
    ann = sit_down(None)
    open_images(ann, image_files)
    ann.seen()
    ann.click(300, 180)
    ann.name("cup")
    ann.keep()
    ann.keys("p")
    ann.drag((20, 20), (120, 20))
    ann.keep()
    ann.saved()
    ann.open("?local=1")
    ann.until("s.editor?.state.masks.length", 2)

    check_exports(ann, tmp_path)


def check_exports(ann: Any, tmp_path: Path) -> None:
    """Both masks leave in all three formats, the same in each."""
    coco = json.loads(export(ann, "COCO", tmp_path).read_text("utf-8"))
    assert [category["name"] for category in coco["categories"]] == ["cup"]
    for annotation in coco["annotations"]:
        kept = coco_to_rle(annotation["segmentation"])
        assert kept.size == (400, 600)
        assert rle_area(kept) == annotation["area"] > 0

    records = json.loads(export(ann, "SA-1B", tmp_path).read_text("utf-8"))["annotations"]
    assert sorted("predicted_iou" in record for record in records) == [False, True]  # one by hand
    masks = [Mask.from_sa1b(record) for record in records]
    assert [mask.label for mask in masks] == ["cup", "cup"]
    assert [mask.area for mask in masks] == [a["area"] for a in coco["annotations"]]

    with export(ann, "Table (CSV)", tmp_path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, mask in zip(rows, masks, strict=True):
        numbers = measure.measure_mask(mask.rle)
        for column in ("area", "x", "y1", "perimeter", "length", "solidity", "parts"):
            assert float(row[column]) == pytest.approx(getattr(numbers, column), rel=0.01), column
    assert [row["label"] for row in rows] == ["cup", "cup"]

    values = np.asarray(Image.open(export(ann, "Label images (PNG)", tmp_path)))
    assert sorted(set(np.unique(values).tolist())) == [0, 1, 2]
    assert (values == 2).sum() == masks[1].area or (values == 1).sum() == masks[0].area


def export(ann: Any, name: str, folder: Path) -> Path:
    ann.keys("Control+s")
    with ann.page.expect_download() as download:
        ann.page.get_by_label("Format").select_option(name)
        ann.page.get_by_label("All images with masks, or marked as done").check()
        ann.page.get_by_role("button", name="Export", exact=True).last.click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    ann.page.get_by_role("button", name="Close").last.click()
    return target


def test_it_works_where_the_host_sends_no_isolation_headers(
    sit_down: SitDown, image_files: list[Path]
) -> None:
    ann = sit_down(None, isolated=False)
    open_images(ann, image_files[:1], "")
    ann.seen()
    assert ann.page.evaluate("crossOriginIsolated") is False
    assert ann.ask("s.model().threads") == 1
    timing = ann.page.evaluate("window.anymask.bench(5)")
    assert timing["hovers"] == 5


def test_fifty_megapixels_stay_crisp(sit_down: SitDown, tmp_path: Path) -> None:
    height, width = 5800, 8700
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 1] = 90
    image[5000, 8000] = (255, 255, 255)
    cv2.imwrite(str(tmp_path / "field.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    ann = sit_down(None)
    ann.open("?local=1")
    ann.page.get_by_label("Mode").select_option("control")
    ann.until("s.project.arm", "control")
    ann.page.set_input_files("input[type=file]", [str(tmp_path / "field.png")])
    ann.until("s.editor?.hw.join()", f"{height},{width}")
    ann.page.evaluate(
        "(() => { const {session, stage} = window.anymask;"
        "session.view.show([8000, 5000, 1, 1]); session.view.zoomTo(32); stage.draw(true); "
        "stage.drawNow(); })()"
    )
    assert colors(ann, (8000.1, 5000.1), (8000.9, 5000.9), (7999.9, 5000.5), (8001.1, 5000.5)) == [
        [255, 255, 255], [255, 255, 255], [0, 90, 0], [0, 90, 0]
    ]  # fmt: skip
    ann.page.mouse.click(*ann.at(8000.5, 5000.5))
    ann.looked()
    ann.keep()
    ann.saved()
    assert ann.ask("s.editor.state.masks[0].rle.size") == [height, width]
    assert 300 < ann.ask("s.editor.state.masks[0].area") < 600


def colors(ann: Any, *places: tuple[float, float]) -> list[list[int]]:
    script = """places => places.map(place => {
      const {session} = window.anymask, canvas = document.querySelector('.layer-image');
      const [x, y] = session.view.toScreen(place);
      return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3);
    })"""
    found: list[list[int]] = ann.page.evaluate(script, places)
    return found
