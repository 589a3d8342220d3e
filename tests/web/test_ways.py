"""Photos that cannot be opened, and changing the way of working, in a real Chromium."""

from __future__ import annotations

from tests.web.conftest import SitDown
from tests.web.project_server import Project


def test_a_photo_that_cannot_be_opened_is_named_and_passed(
    sit_down: SitDown, project: Project
) -> None:
    project.arm = "control"
    project.broken = {"coffee"}
    ann = sit_down(project)
    ann.open()
    ann.page.get_by_role("heading", name="coffee.png could not be opened").wait_for()
    assert "corrupted" in ann.page.locator(".empty").inner_text()
    project.broken = set()
    ann.page.get_by_role("button", name="Try again").click()
    ann.until("s.editor?.entry.id", "coffee")
    ann.keys("PageDown")
    ann.until("s.editor?.entry.id", "cat")
    project.broken = {"coffee"}
    ann.keys("PageUp")
    ann.page.get_by_role("heading", name="coffee.png could not be opened").wait_for()
    ann.page.get_by_role("button", name="Next image").last.click()
    ann.until("s.editor?.entry.id", "cat")
