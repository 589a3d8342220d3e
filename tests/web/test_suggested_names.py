"""Names that the model suggests: once a mask is there, one press each; a guess is marked as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project

SHOWN = "s.naming.shown.map(one => one.label).join()"


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    return Project(images, labels=[])


def suggested(ann: Any) -> Any:
    return ann.page.get_by_role("group", name="Suggested classes").get_by_role("button")


def labels(ann: Any) -> list[str | None]:
    found: list[str | None] = ann.ask("s.editor.state.masks.map(m => m.label)")
    return found


def test_a_new_object_gets_names_and_one_press_names_it_alone(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.until(SHOWN, "cup")
    assert suggested(ann).all_inner_texts() == ["cup\n70%"]
    suggested(ann).first.click()
    ann.page.get_by_role("button", name="Keep as cup").wait_for()
    ann.keep()
    assert labels(ann) == ["cup"]
    assert ann.ask("s.editor.state.label") == ""  # the next object is asked about anew
    ann.click(100, 100)
    ann.until(SHOWN, "cup")  # of the project's names, of which there is one now
    ann.keys("Control+Enter")
    ann.until("s.editor.state.label", "cup")
    ann.keys("Control+z")
    ann.until("s.editor.state.label", "")
    ann.until(SHOWN, "cup")
    ann.keep()
    assert labels(ann) == ["cup", "cup"]  # a sure name of the project's is kept with the mask
    assert project.wishes[-1]["names"] == ["cup"]
