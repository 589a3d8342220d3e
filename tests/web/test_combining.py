"""Several masks at once: merged, subtracted, split, copied, locked, hidden, raised, noted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle, rle_to_mask
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

HW = (400, 600)


@pytest.fixture
def project() -> Project:
    """Two photos of one size; two squares that overlap, and one apart."""
    images = {name: np.full((*HW, 3), 90, np.uint8) for name in ("first", "second")}
    project = Project(images, arm="control")
    for x, y in ((100, 100), (130, 100), (300, 200)):
        project.add("first", square(x, y, 60, HW, label="cup"))
    return project


def opened(sit_down: SitDown, project: Project) -> Any:
    ann = sit_down(project).begin("s.editor?.state.masks.length", 3)
    ann.keys("o")
    return ann


def pick(ann: Any, *places: tuple[int, int]) -> None:
    """Click the first, Shift + click the others."""
    for number, place in enumerate(places):
        ann.page.mouse.move(*ann.at(*place))
        if number:
            ann.page.keyboard.down("Shift")
        ann.page.mouse.click(*ann.at(*place))
        if number:
            ann.page.keyboard.up("Shift")
    assert ann.ask("s.editor.selection.length") == len(places)


def areas(project: Project, image: str = "first") -> list[int]:
    rles = [coco_to_rle(record["rle"]) for record in project.of(image)]
    return sorted(int(rle_to_mask(rle).sum()) for rle in rles)


def test_masks_are_merged_subtracted_and_split(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (110, 110), (180, 110), (310, 210))
    ann.page.get_by_role("button", name="Merge").click()
    ann.until_so(lambda: areas(project) == [90 * 60 + 3600], "the merged mask")
    assert [record["score"] for record in project.records.values()] == [None]
    ann.page.get_by_role("button", name="Split").click()
    ann.until_so(lambda: areas(project) == [3600, 90 * 60], "its two parts")
    ann.keys("Control+z", "Control+z")
    ann.until_so(lambda: areas(project) == [3600] * 3, "the three of before")
    ann.keys("Escape")
    pick(ann, (110, 110), (180, 110))
    ann.keys("Control+b")
    ann.until_so(lambda: areas(project) == [30 * 60, 3600, 3600], "the difference")
    ann.keys("Escape")
    pick(ann, (310, 210))
    ann.keys("Control+k")
    ann.message("only one connected part")


def test_masks_are_locked_hidden_and_raised(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    top = "s.editor.map.at(140, 110)[0].key"
    pick(ann, (110, 110))
    ann.keys("Control+]")
    first = ann.ask("s.editor.state.selected")
    ann.until(top, first)
    ann.keys("Control+[")
    ann.until(top, ann.ask("s.editor.state.masks[1].key"))
    ann.keys("Control+h")
    ann.until("s.editor.map.at(110, 110).length", 0)
    ann.keys("Control+h", "z", "Delete")
    ann.message("This mask is locked")
    assert len(project.records) == 3
    ann.keys("z", "Delete")
    ann.until_so(lambda: len(project.records) == 2, "the unlocked one")
