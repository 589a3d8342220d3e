"""What an annotator does all day: pick many, accept many, correct in the box tool, find a key."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

HW = (400, 600)


def add_squares(project: Project, count: int, **about: Any) -> None:
    for number in range(count):
        project.add("coffee", {**square(40 + 60 * number, 100, 50, HW), "label": None, **about})


def test_all_proposals_are_accepted_with_a_name(sit_down: SitDown, project: Project) -> None:
    add_squares(project, 3, state="proposed")
    ann = sit_down(project).begin()
    ann.keys("1")
    ann.page.get_by_role("button", name="Accept all as cat").click()
    ann.saved()
    kept = [(record["state"], record["label"]) for record in project.of("coffee")]
    assert kept == [("accepted", "cat")] * 3


def test_proposals_that_nobody_accepted_are_told_of(sit_down: SitDown, project: Project) -> None:
    add_squares(project, 3, state="proposed")
    ann = sit_down(project).begin("s.editor?.state.masks.length", 3)
    ann.keys("Enter")
    ann.message("Press Ctrl+A, then Enter, to accept the proposals (3)")
    ann.keys("d")
    ann.message("coffee.png: proposals not accepted, not exported: 3")


def test_a_mask_that_is_left_behind_is_told_of(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.name("vehicle that runs on rails")
    ann.page.get_by_title("Keep as vehicle that runs on rails").wait_for(timeout=15000)
    buttons = "[...document.querySelectorAll('.actions .button')]"
    shown = ann.page.evaluate(f"{buttons}.map(e => [e.title, e.scrollWidth > e.clientWidth])")
    assert shown == [["Keep as vehicle that runs on rails", False], ["Discard", False]]
    ann.keys("PageDown")
    ann.message("The mask on coffee.png is not finished")
    assert ann.page.locator(".side .toast").is_visible()  # beside the image, not over it
    ann.page.get_by_role("button", name="Go back").click()
    ann.until("s.editor?.entry.id === 'coffee' && s.editor.draft.clicks.length", 1)
