"""Photos that cannot be opened, and changing the way of working, in a real Chromium."""

from __future__ import annotations

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square


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


def test_the_way_of_working_is_changed_in_the_page(sit_down: SitDown, project: Project) -> None:
    project.arm = "control"
    project.add("coffee", square(100, 100, 50, (400, 600)))
    project.queue = ["r1"]
    ann = sit_down(project).begin("s.editor !== null")
    ways = ann.page.get_by_label("Mode")
    ways.select_option("assisted")  # the model comes only now
    ann.seen()
    ways.select_option("semi")  # a photo with masks gets no proposals by itself
    ann.message("already has annotations")
    ann.until("s.project.arm", "model")
    ways.select_option("review")
    ann.until("s.review?.item.record", "r1")
    assert project.stage == "review"
    ways.select_option("control")
    ann.until("s.project.arm", "control")
    ann.page.get_by_role("group", name="Review").wait_for(state="hidden")
