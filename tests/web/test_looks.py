"""What is drawn: enlargement, sliders, small pictures, and a screen of 390 pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    project = Project(images, arm="control")
    project.add("coffee", square(100, 100, 50, (400, 600), label="cat"))
    return project


def test_photos_are_found_by_their_state_and_counts_are_right(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    ann.keys("i")
    dialog = ann.page.get_by_role("dialog", name="Images")
    lines = dialog.locator(".image-line")
    images = "[...document.querySelectorAll('.thumb')].map(i => i.naturalWidth)"
    ann.until_so(lambda: ann.page.evaluate(images) == [75, 57], "the small pictures")
    which = dialog.get_by_label("Filter images")
    which.select_option("With masks, not done (1)")
    assert [line.split("\n")[0] for line in lines.all_inner_texts()] == ["coffee.png"]
    assert "1 mask" in lines.first.inner_text()
    which.select_option("Without masks (1)")
    assert [line.split("\n")[0] for line in lines.all_inner_texts()] == ["cat.png"]
    ann.keys("Escape", "k", "Delete")
    ann.until("s.images[0].records", 0)
    ann.keys("Control+z")
    ann.until("s.images[0].records", 1)
    ann.keys("Shift+PageDown")
    ann.until("s.editor?.entry.id", "cat")
    ann.keys("Shift+PageDown")
    ann.message("All other images have masks or are done")


def test_a_phone_shows_the_photo_and_everything_can_be_reached(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project, size=PHONE).begin("s.editor !== null")
    box = ann.page.locator(".stage").bounding_box()
    assert box["width"] == 390
    assert box["height"] >= 500
    assert ann.page.evaluate("document.documentElement.scrollWidth") == 390
    rail = ann.page.get_by_role("toolbar", name="Tools")
    assert rail.evaluate("rail => rail.scrollWidth - rail.clientWidth") == 0  # undo is seen
    ann.drag((100, 200), (300, 200))
    for name in ("Keep", "Discard", "Export", "Next image", "More", "Undo", "Segment everything"):
        button = ann.page.get_by_role("button", name=name).first
        button.scroll_into_view_if_needed()
        place = button.bounding_box()
        assert 0 <= place["x"] <= place["x"] + place["width"] <= 390, name
        assert place["y"] + place["height"] <= 844, name
    assert not ann.page.get_by_role("button", name="Help").is_visible()
    ann.page.get_by_role("button", name="More", exact=True).click()
    ann.page.get_by_role("button", name="Help").click()
    ann.page.get_by_role("dialog", name="Help").wait_for()
    ann.keys("Escape")
    ann.page.get_by_role("button", name="Show object and mask details").click()
    ann.page.get_by_role("listbox", name="Masks").wait_for()
