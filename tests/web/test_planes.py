"""Stacks in the page: pages and channels are switched, masks stay on the page they were made on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_local import colours
from tests.web.test_project import square

HW = (120, 160)


@pytest.fixture
def project() -> Project:
    """A stack whose plane z, c has the level 40 z + 100 c, and a plain photo of its size."""
    levels = 40 * np.arange(3)[:, None] + 100 * np.arange(2)
    stack = np.broadcast_to(levels[..., None, None], (3, 2, *HW)).astype(np.uint8)
    photos = {"stack": np.repeat(stack[0, 0][..., None], 3, 2), "plain": np.zeros((*HW, 3), "u1")}
    project = Project(photos, arm="control", stacks={"stack": stack})
    project.add("stack", square(10, 10, 20, HW, label="cup", page=0))
    project.add("stack", square(50, 50, 30, HW, label="cat", page=10))
    return project


def level(ann: Any) -> int:
    """Of the photo as it is drawn, beside the masks."""
    ((value, _, _),) = colours(ann, (100, 20))
    return value


AREAS = "s.editor.state.masks.map(m => m.area).join()"


def test_pages_and_channels_are_switched_by_keys_and_in_the_page(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    bar = ann.page.get_by_role("group", name="Planes")
    ann.until(AREAS, "400")
    assert level(ann) == 0
    ann.keys("Shift+>")
    ann.until(f"s.editor?.sight.page === 10 && {AREAS}", "900")
    assert level(ann) == 40
    ann.until_so(lambda: "Z 2 of 3" in bar.inner_text(), "the page's name")
    assert ann.page.locator(".ruler").inner_text().endswith("µm")  # as the file says
    ann.keys(";")
    ann.until("s.editor?.sight.channel", 1)
    ann.until_so(lambda: level(ann) == 140, "the other channel")
    ann.until(AREAS, "900")
    bar.get_by_role("button", name="Next page").click()
    ann.until("s.editor?.sight.page", 20)
    ann.until_so(lambda: level(ann) == 180, "the channel stays")
    ann.keys(">")
    ann.message("This is the last page")
    bar.get_by_label("Channel", exact=True).select_option("Dye 0")
    ann.until_so(lambda: level(ann) == 80, "the first channel")
    bar.get_by_label("Page", exact=True).fill("0")
    ann.until(f"s.editor?.sight.page === 0 && {AREAS}", "400")
    ann.page.locator(".stage").focus()
    ann.page.mouse.move(*ann.at(80, 60))
    ann.page.keyboard.down("Alt")
    ann.page.mouse.wheel(0, 100)
    ann.page.keyboard.up("Alt")
    ann.until("s.editor?.sight.page", 10)
    ann.keys("PageDown")
    ann.until("s.editor?.entry.id", "plain")
    ann.until_so(lambda: not bar.is_visible(), "the bar away")
    ann.keys("PageUp")
    ann.until("s.editor?.entry.id === 'stack' && s.editor.sight.page", 10)


def test_masks_belong_to_the_page_they_were_made_on(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    ann.keys(">")
    ann.until("s.editor?.sight.page", 10)
    ann.keys("p")
    ann.drag((20, 100), (60, 100))
    ann.keys(">")  # a mask in the making waits on its page
    ann.until("s.editor?.sight.page === 20 && s.editor.draft.strokes.length === 0")
    ann.keys("<")
    ann.until("s.editor?.sight.page === 10 && s.editor.draft.strokes.length", 1)
    ann.keys(";")
    ann.until("s.editor?.sight.channel", 1)
    assert ann.area() > 0
    ann.keep()
    ann.saved()
    assert [record["page"] for record in project.of("stack")] == [0, 10, 10]
    assert ann.ask("s.images[0].records") == 3
    ann.keys("Control+z")
    ann.until_so(lambda: len(project.of("stack")) == 2, "the mask taken back across channels")
    ann.until("s.images[0].records", 2)
