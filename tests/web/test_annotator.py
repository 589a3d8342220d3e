"""What an annotator does all day: pick many, accept many, correct in the box tool, find a key."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

HW = (400, 600)
PICKED = "s.editor.selection.length"


def add_squares(project: Project, count: int, **about: Any) -> None:
    for number in range(count):
        project.add("coffee", {**square(40 + 60 * number, 100, 50, HW), "label": None, **about})


def test_all_masks_or_a_range_are_picked_and_named_at_once(
    sit_down: SitDown, project: Project
) -> None:
    add_squares(project, 5)
    ann = sit_down(project).begin()
    ann.keys("Control+a")
    ann.until(PICKED, 5)
    lines = ann.page.get_by_role("listbox", name="Masks").get_by_role("option")
    lines.nth(1).click()
    ann.until(PICKED, 1)
    lines.nth(3).click(modifiers=["Shift"])
    ann.until(PICKED, 3)
    ann.keys("2")
    ann.saved()
    names = [record["label"] for record in project.of("coffee")]
    assert names == [None, "cup", "cup", "cup", None]
    lines.nth(1).click(modifiers=["Control"])  # out of the selection again
    ann.until(PICKED, 2)


def test_all_proposals_are_accepted_with_a_name(sit_down: SitDown, project: Project) -> None:
    add_squares(project, 3, state="proposed")
    ann = sit_down(project).begin()
    ann.keys("1")
    ann.page.get_by_role("button", name="Accept all as cat").click()
    ann.saved()
    kept = [(record["state"], record["label"]) for record in project.of("coffee")]
    assert kept == [("accepted", "cat")] * 3


def test_a_click_in_the_box_tool_corrects_the_mask_in_the_making(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin()
    ann.keys("b")
    ann.drag((220, 90), (390, 260))
    ann.click(300, 180)
    ann.until("s.editor.draft.clicks.map(c => c.label).join()", "1")
    ann.click(230, 100, negative=True)
    ann.until("s.editor.draft.clicks.map(c => c.label).join()", "1,0")
    assert ann.ask("s.editor.draft.box !== null")
    ann.drag((100, 90), (200, 200))
    ann.message("replaced the previous one")


def test_leaving_right_after_enter_loses_nothing(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.keys("1")
    ann.at_once("Enter", "d")
    ann.drawn()
    assert ann.page.locator(".saved").inner_text() != "All saved"
    ann.open()  # another page meanwhile
    ann.until_so(lambda: project.done == ["coffee"], "the photo, done")
    assert [record["label"] for record in project.of("coffee")] == ["cat"]


def test_a_mask_that_is_left_behind_is_told_of(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.keys("PageDown")
    ann.message("The mask on coffee.png is not finished")
    ann.page.get_by_role("button", name="Go back").click()
    ann.until("s.editor?.entry.id === 'coffee' && s.editor.draft.clicks.length", 1)


def test_semi_automatic_begins_on_the_open_photo(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.page.get_by_label("Mode").select_option("Semi-automatic")
    ann.until("s.editor.state.masks.some(m => m.state === 'proposed')")


def test_the_help_is_searched(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.keys("?")
    dialog = ann.page.get_by_role("dialog", name="Help")
    dialog.get_by_label("Search the help").fill("split parts")
    rows = dialog.locator(".help-row:visible")
    ann.until_so(lambda: rows.count() == 1, "the one row")
    assert "Ctrl + K" in rows.inner_text()
    dialog.get_by_label("Search the help").fill("no such thing")
    dialog.get_by_text("No results").wait_for()


def test_a_digit_keeps_where_that_is_wished(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.keys("1")
    assert ann.ask("s.editor.state.masks.length") == 0  # it names only
    ann.page.get_by_role("button", name="Edit classes …").click()
    ann.page.get_by_role("checkbox", name="Digit keys set the class and also keep the mask").check()
    ann.page.keyboard.press("Escape")
    ann.keys("2")
    ann.saved()
    assert [record["label"] for record in project.of("coffee")] == ["cup"]


def test_words_stand_beside_the_tools_and_are_folded_away(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin()
    ann.page.set_viewport_size({"width": 1280, "height": 800})
    lasso = ann.page.get_by_role("toolbar", name="Tools").get_by_text("Lasso", exact=True)
    assert lasso.is_visible()
    for shown in (False, True, False):
        ann.page.get_by_role("button", name="Show tool names").click()
        assert lasso.is_visible() is shown
    ann.open()  # as it was left
    assert not lasso.is_visible()
    ann.page.set_viewport_size({"width": 800, "height": 600})
    assert not ann.page.get_by_role("button", name="Show tool names").is_visible()
