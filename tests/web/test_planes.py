"""Stacks in the page: pages and channels are switched, masks stay on the page they were made on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_local import colors
from tests.web.test_project import square

HW = (120, 160)


@pytest.fixture
def project() -> Project:
    """A stack whose plane z, c has the level 40 z + 100 c, and a plain photo of its size."""
    levels = 40 * np.arange(3)[:, None] + 100 * np.arange(2)
    stack = np.broadcast_to(levels[..., None, None], (3, 2, *HW)).astype(np.uint8)
    images = {"stack": np.repeat(stack[0, 0][..., None], 3, 2), "plain": np.zeros((*HW, 3), "u1")}
    project = Project(images, arm="control", stacks={"stack": stack})
    project.add("stack", square(10, 10, 20, HW, label="cup", page=0))
    project.add("stack", square(50, 50, 30, HW, label="cat", page=10))
    return project


def level(ann: Any) -> int:
    """Of the photo as it is drawn, beside the masks."""
    ((value, _, _),) = colors(ann, (100, 20))
    return value


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
