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
    ann.until("s.project.arm", "model")
    ways.select_option("review")
    ann.until("s.review?.item.record", "r1")
    assert project.stage == "review"
    ways.select_option("control")
    ann.until("s.project.arm", "control")
    ann.page.get_by_role("group", name="Review").wait_for(state="hidden")


def test_a_report_is_read_as_tables(sit_down: SitDown, project: Project) -> None:
    project.arm = "control"
    ann = sit_down(project).begin("s.editor !== null")
    ann.page.get_by_role("button", name="Report").click()
    report = ann.page.get_by_role("dialog", name="Report")
    report.wait_for()
    assert report.get_by_role("heading").all_inner_texts() == ["Report", "TIME PER STAGE", "VERDICTS"]
    heads = report.get_by_role("columnheader").all_inner_texts()
    assert heads == ["Stage", "Masks an hour", "Mean IoU"]
    assert report.get_by_role("cell").all_inner_texts() == ["–", "semi", "240", "0.91"]
    report.get_by_role("button", name="Close").click()
    ann.keys("e")  # the keys are the photo's again
    ann.until("s.toolName", "eraser")
