"""Find similar, and by word: in the open photo, and in all photos behind the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

HW = (400, 600)


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    """A cup on the first photo."""
    made = Project(images)
    made.records["7"] = {
        **square(300, 80, 80, HW), "label": "cup", "id": "7", "version": 1, "image": "coffee",
    }  # fmt: skip
    return made


def opened(sit_down: SitDown, project: Project | None) -> Any:
    ann = sit_down(project)
    ann.open()
    if project is not None:
        ann.seen()
    return ann


def states(project: Project) -> list[tuple[str, str]]:
    return [(one["label"], one["state"]) for one in project.of("coffee")]


def test_all_like_a_mask_are_found_and_accepted_or_rejected_at_once(
    sit_down: SitDown, project: Project
) -> None:
    ann = opened(sit_down, project)
    ann.page.get_by_role("listbox", name="Masks").get_by_role("option").first.click()  # the cup
    ann.page.get_by_role("button", name="Find similar").click()
    ann.message(
        "New objects found and selected: 2. Enter accepts them, Delete rejects them. "
        "1 more already has a mask"
    )
    assert project.finds == [{"like": [{"record": 7}]}]
    assert states(project) == [("cup", "accepted"), *[("cup", "proposed")] * 2]
    lines = ann.page.get_by_role("listbox", name="Masks").get_by_role("option")
    assert [one.get_attribute("aria-selected") for one in lines.all()] == ["false", "true", "true"]
    ann.page.get_by_role("button", name="Reject 2").click()
    ann.saved()
    assert states(project)[1:] == [("cup", "rejected")] * 2
    ann.keys("Control+z")
    ann.until("s.editor.state.masks.filter(m => m.state === 'proposed').length", 2)
    ann.keys("Control+a", "Enter")  # the cup itself is no proposal and stays
    ann.saved()
    assert states(project) == [("cup", "accepted")] * 3


def test_a_word_is_found_and_an_unknown_one_is_told_where_it_stands(
    sit_down: SitDown, project: Project
) -> None:
    ann = opened(sit_down, project)
    ann.keys("Control+Shift+F")
    dialog = ann.page.get_by_role("dialog", name="Find by text")
    dialog.get_by_text("2 known words").wait_for()
    field = dialog.get_by_role("combobox", name="Text prompt")
    dialog.get_by_role("button", name="In this image").click()
    dialog.get_by_text("Select a mask first").wait_for()
    field.fill("cupp")
    field.press("Enter")
    dialog.get_by_text("names are: cup").wait_for()
    field.fill("cat")
    field.press("Enter")
    ann.message("New objects found and selected: 2.")
    assert dialog.count() == 0
    assert project.finds[-1] == {"words": "cat"}
    assert states(project)[1:] == [("cat", "proposed")] * 2
