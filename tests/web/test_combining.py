"""Several masks at once: merged, subtracted, split, copied, locked, hidden, raised, noted on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anymask.primitives.rle import (
    coco_to_rle,
    mask_to_rle,
    rle_area,
    rle_box_xywh,
    rle_to_coco,
    rle_to_mask,
)
from tests.web.project_server import Project
from tests.web.test_project import square

SitDown = Callable[..., Any]
HW = (400, 600)


@pytest.fixture
def project() -> Project:
    """Two photos of one size; two squares that overlap, and one apart."""
    photos = {name: np.full((*HW, 3), 90, np.uint8) for name in ("first", "second")}
    project = Project(photos, arm="control")
    for x, y in ((100, 100), (130, 100), (300, 200)):
        project.add("first", square(x, y, 60, HW, label="cup"))
    return project


def opened(sit_down: SitDown, project: Project) -> Any:
    ann = sit_down(project)
    ann.open()
    ann.until("s.editor?.state.masks.length", 3)
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
    assert [record["quality"] for record in project.records.values()] == [None]
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
    ann.message("This mask has one part only")


def test_several_masks_are_named_and_deleted_at_once(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (110, 110), (310, 210))
    ann.keys("1")
    labels = "s.editor.state.masks.map(m => m.label).join()"
    ann.until(labels, "cat,cup,cat")
    ann.keys("Delete")
    ann.until(labels, "cup")
    ann.keys("Control+z", "Control+z")
    ann.until(labels, "cup,cup,cup")


def test_masks_go_along_to_the_next_photo(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (110, 110), (310, 210))
    ann.keys("Control+d")
    ann.until("s.editor.state.masks.length", 5)
    ann.keys("Control+e")
    ann.until("s.editor?.entry.id", "second")
    ann.until_so(lambda: areas(project, "second") == [3600, 3600], "the copies")
    ann.saved()
    assert len(project.of("first")) == 5
    assert {record["label"] for record in project.of("second")} == {"cup"}


def test_a_copy_can_be_seen_and_moved(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (110, 110))
    ann.keys("z", "Control+h", "Control+e")
    ann.until("s.editor?.entry.id", "second")
    ann.until_so(lambda: areas(project, "second") == [3600], "the copy")
    ann.until("s.editor.map.at(110, 110).length", 1)
    ann.keys("Delete")
    ann.until_so(lambda: areas(project, "second") == [], "nothing locked")


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
    ann.message("This mask is locked: unlock it first")
    assert len(project.records) == 3
    ann.keys("z", "Delete")
    ann.until_so(lambda: len(project.records) == 2, "the unlocked one")


def test_notes_are_kept(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (310, 210))
    ann.page.get_by_text("Notes", exact=True).click()
    for title, text in (
        ("Tags", "cut off, blurred"),
        ("Attributes", "colour=red, side=left"),
        ("Comment", "is this a cup?"),
    ):
        field = ann.page.get_by_label(title, exact=True)
        field.fill(text)
        field.press("Tab")
    wanted = {
        "tags": ["cut off", "blurred"],
        "attributes": {"colour": "red", "side": "left"},
        "comment": "is this a cup?",
    }
    ann.until_so(lambda: wanted in [r.get("notes") for r in project.records.values()], "the notes")
    ann.open()
    ann.until("s.editor?.state.masks.length", 3)
    ann.keys("j")
    comment = ann.page.get_by_label("Comment", exact=True)
    ann.until_so(lambda: comment.input_value() == "is this a cup?", "the comment")


def test_a_mask_takes_the_pixels_of_those_beneath(sit_down: SitDown, project: Project) -> None:
    ann = opened(sit_down, project)
    pick(ann, (110, 110))
    ann.page.get_by_role("button", name="Take pixels").click()
    ann.until_so(lambda: areas(project) == [30 * 60, 3600, 3600], "the one beneath, cut")
    ann.keys("Control+z")
    ann.until_so(lambda: areas(project) == [3600] * 3, "the three of before")
    ann.keys("Escape")
    pick(ann, (310, 210))
    ann.keys("Control+x")
    ann.message("No mask beneath gives it pixels")


def test_new_masks_take_their_pixels_where_that_is_wanted(
    sit_down: SitDown, project: Project
) -> None:
    ann = opened(sit_down, project)
    overlap = ann.page.get_by_role("button", name="No overlap")
    ann.keys("Escape", "Control+Shift+X")
    ann.until_so(lambda: overlap.get_attribute("aria-pressed") == "true", "the switch")
    ann.keys("p")
    ann.drag((330, 190), (330, 270))
    drawn = ann.area()
    ann.keep()
    ann.saved()
    masks = [rle_to_mask(coco_to_rle(one["rle"])) for one in project.of("first")]
    new, square_of = masks[-1], masks[2]
    assert new.sum() == drawn
    assert square_of.sum() == 3600 - new[200:260, 300:360].sum() < 3600
    assert not (new & square_of).any()
    ann.keys("Control+z")
    ann.until_so(lambda: areas(project) == [3600] * 3, "one step back")


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


SHAPES = "s.editor.state.masks.map(m => m.rle.counts.length)"


def test_outlines_are_simplified_in_one_step_and_what_it_costs_is_seen(
    sit_down: SitDown, blobs: Project
) -> None:
    ann = sit_down(blobs)
    ann.open()
    ann.until("s.editor?.state.masks.length", 2)
    ann.keys("Control+i")
    ann.message("Pick the mask to simplify first")
    ann.keys("o")
    pick(ann, (150, 150), (400, 200))
    before = ann.ask(SHAPES)
    rles = [record["rle"] for record in blobs.of("first")]
    ann.keys("Control+i")
    bar = ann.page.get_by_role("group", name="Simplify outline")
    slider = bar.get_by_role("slider", name="Tolerance")
    bar.wait_for()
    ann.until("document.activeElement.max", "12")
    ann.keys("Home")
    bar.get_by_text("0% of pixels change, ").wait_for()
    assert slider.get_attribute("aria-valuetext") == "0 pixels"
    ann.keys(*["ArrowRight"] * 12)
    told = r"^(\d+(\.\d)?)% of pixels change, (\d+) of (\d+) corners$"
    ann.until("s.simplifying.tolerance", 6)
    share, _, corners, corners_before = re.match(
        told, bar.get_by_role("status").inner_text()
    ).groups()
    assert 6 <= int(corners) < int(corners_before) / 5
    assert ann.ask(SHAPES) == before
    ann.keys("Escape")
    bar.wait_for(state="hidden")
    assert ann.ask("s.editor.selection.length") == 2
    assert [record["rle"] for record in blobs.of("first")] == rles

    ann.keys("Control+i")
    bar.wait_for()
    assert slider.input_value() == "6"
    ann.keys("Enter")
    bar.wait_for(state="hidden")
    ann.saved()
    now = [coco_to_rle(record["rle"]) for record in blobs.of("first")]
    masks = [(rle_to_mask(coco_to_rle(a)), rle_to_mask(b)) for a, b in zip(rles, now, strict=True)]
    changed = sum((a ^ b).sum() for a, b in masks) / sum(a.sum() for a, _ in masks)
    assert float(share) == pytest.approx(100 * changed, abs=0.5)
    assert changed > 0.01
    ann.keys("Control+z")
    ann.until(SHAPES, before)


def test_a_telephone_shows_the_mask_while_its_outline_is_simplified(
    sit_down: SitDown, blobs: Project
) -> None:
    ann = sit_down(blobs, size={"width": 390, "height": 844})
    ann.open()
    ann.until("s.editor?.state.masks.length", 2)
    ann.keys("o")
    pick(ann, (150, 150))
    ann.page.get_by_role("button", name="More about the object and the masks").click()
    ann.page.get_by_role("button", name="Simplify").click()
    bar = ann.page.get_by_role("group", name="Simplify outline")
    bar.wait_for()
    ann.until("document.querySelector('.side').dataset.open", "false")
    ann.drawn()
    assert ann.page.evaluate("document.documentElement.scrollWidth") == 390
    above = bar.bounding_box()
    for name in ("Apply", "Cancel"):
        place = bar.get_by_role("button", name=name).bounding_box()
        assert 0 <= place["x"] < place["x"] + place["width"] <= 390
        assert place["y"] + place["height"] <= above["y"] + above["height"]
    assert ann.at(150, 210)[1] < above["y"]  # the mask's lower end
    bar.get_by_role("button", name="Apply").click()
    ann.until("s.editor.work.undoable", "simplify")
