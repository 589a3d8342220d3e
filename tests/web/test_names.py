"""Names in the page: one key selects the old one, digits name, and all photos know them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    project = Project(images, arm="control")
    for i, label in enumerate(("cat", "cat", "cup")):
        project.add("coffee", square(40 + 60 * i, 100, 50, (400, 600), label=label))
    return project


def labels(ann: Any) -> list[str]:
    found: list[str] = ann.ask("s.editor.state.masks.map(m => m.label)")
    return found


def test_names_are_renamed_merged_moved_coloured_and_deleted(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    ann.drag((100, 250), (200, 250))  # a step to go back to
    ann.keys("1")
    ann.keep()
    ann.saved()
    ann.keys("Control+l")
    dialog = ann.page.get_by_role("dialog", name="Classes")
    rows = dialog.get_by_role("listitem")
    first = dialog.get_by_label("Class 1")
    first.fill("kitten")
    first.press("Enter")
    ann.until_so(lambda: labels(ann) == ["kitten", "kitten", "cup", "kitten"], "the new name")
    dialog.get_by_label("Color of kitten").fill("#00ff00")
    ann.until("s.labels.all[0].color", "#00ff00")
    dialog.get_by_role("button", name="Move cup up").click()
    ann.until("s.labels.all.map(l => l.name).join()", "cup,kitten")
    second = dialog.get_by_label("Class 2")
    second.fill("cup")
    second.press("Enter")
    dialog.get_by_role("button", name="Merge").click()
    ann.until_so(lambda: labels(ann) == ["cup"] * 4, "the merged names")
    assert rows.first.inner_text().split() == ["1", "4", "masks"]
    dialog.get_by_role("button", name="Delete cup").click()
    dialog.get_by_role("button", name="Remove the class from the masks").click()
    ann.until_so(lambda: labels(ann) == [None] * 4, "masks without a name")
    ann.keys("Control+l", "Escape")  # though the button that had the keys is gone
    dialog.wait_for(state="detached")
    ann.keys("Control+z")  # the mask of before is a draft again, its old name is gone
    assert ann.ask("s.editor.state.label") == ""
    ann.saved()
    assert {record["label"] for record in project.records.values()} == {None}


def test_names_that_come_late_leave_what_is_being_typed(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    held: list[Any] = []
    ann.page.route(
        "**/api/labels",
        lambda route: route.continue_() if "plate" in project.labels else held.append(route),
    )
    ann.keys("Control+l")
    dialog = ann.page.get_by_role("dialog", name="Classes")
    field = dialog.get_by_label("Class 1")
    field.press("End")
    ann.page.keyboard.type("fish")
    ann.until_so(lambda: bool(held), "the question for the names")
    project.labels.append("plate")  # by somebody else
    for route in held:
        route.continue_()
    ann.until("s.labels.all.map(l => l.name).join()", "cat,cup,plate")
    assert field.input_value() == "catfish"
    ann.keys("Enter")
    ann.until_so(lambda: labels(ann) == ["catfish", "catfish", "cup"], "the new name")
    dialog.get_by_label("Class 3").wait_for()


def test_an_answer_older_than_a_new_name_is_dropped(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    held, before = list[Any](), ann.ask("s.labels.all")
    ann.page.route(
        "**/api/labels",
        lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
    )
    ann.keys("Control+l")
    ann.until_so(lambda: bool(held), "the question for the names")
    first = ann.page.get_by_role("dialog", name="Classes").get_by_label("Class 1")
    first.fill("kitten")
    first.press("Enter")
    ann.until("s.labels.all[0].name", "kitten")
    with ann.page.expect_response("**/api/labels"):
        held[0].fulfill(json={"labels": before})
    ann.page.get_by_label("Color of kitten").wait_for()
    assert ann.ask("s.labels.all[0].name") == "kitten"
