"""Simplifying outlines: a tolerance, what it costs, one step."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle, mask_to_rle, rle_area, rle_box_xywh, rle_to_coco, rle_to_mask
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_combining import pick
from tests.web.test_project import square

HW = (400, 600)


def blob(x: int, y: int, **about: Any) -> dict[str, Any]:
    """A disc with waves along its outline."""
    v, u = np.mgrid[: HW[0], : HW[1]] + 0.5
    angle = np.arctan2(v - y, u - x)
    rle = mask_to_rle(np.hypot(u - x, v - y) < 60 + 4 * np.sin(11 * angle))
    box, area = list(rle_box_xywh(rle)), rle_area(rle)
    return {**square(x, y, 9, HW, **about), "rle": rle_to_coco(rle), "box": box, "area": area}


@pytest.fixture
def blobs() -> Project:
    project = Project({"first": np.full((*HW, 3), 90, np.uint8)}, arm="control")
    project.add("first", blob(150, 150, label="cup"))
    project.add("first", blob(400, 200, label="cat"))
    return project


@pytest.fixture
def picked(sit_down: SitDown, blobs: Project) -> Any:
    """Both masks are picked, and what they become is looked at."""
    ann = sit_down(blobs).begin("s.editor?.state.masks.length", 2)
    ann.keys("Control+i")
    ann.message("First select the mask to simplify")
    ann.keys("o")
    pick(ann, (150, 150), (400, 200))
    ann.keys("Control+i")
    bar_of(ann).wait_for()
    return ann


def bar_of(ann: Any) -> Any:
    return ann.page.get_by_role("group", name="Simplify outline")


def costs(ann: Any) -> tuple[float, int, int]:
    """Percent of the pixels, corners, and corners before."""
    told = bar_of(ann).get_by_role("status").inner_text()
    found = re.fullmatch(r"(\d+(?:\.\d)?)% of pixels change, (\d+) of (\d+) vertices remain", told)
    return float(found[1]), int(found[2]), int(found[3])


def test_outlines_are_simplified_in_one_step(picked: Any, blobs: Project) -> None:
    before = [record["rle"] for record in blobs.of("first")]
    shapes = "s.editor.state.masks.map(m => m.rle.counts.length)"
    counts = picked.ask(shapes)
    picked.keys(*["ArrowRight"] * 8)
    picked.until("s.simplifying.tolerance", 6)
    share, _, _ = costs(picked)
    picked.keys("Enter")
    bar_of(picked).wait_for(state="hidden")
    picked.saved()
    pairs = [
        (rle_to_mask(coco_to_rle(rle)), rle_to_mask(coco_to_rle(record["rle"])))
        for rle, record in zip(before, blobs.of("first"), strict=True)
    ]
    changed = sum((a ^ b).sum() for a, b in pairs) / sum(a.sum() for a, _ in pairs)
    assert share == pytest.approx(100 * changed, abs=0.06)
    assert changed > 0.01
    picked.keys("Control+z")
    picked.until(shapes, counts)
