"""What an annotator does in a server's project, in a real Chromium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle, mask_to_rle, rle_area, rle_to_coco
from tests.web.conftest import SitDown
from tests.web.project_server import Project


def square(x: int, y: int, side: int, hw: tuple[int, int], **about: Any) -> dict[str, Any]:
    """A record of a square."""
    mask = np.zeros(hw, bool)
    mask[y : y + side, x : x + side] = True
    return {
        "rle": rle_to_coco(mask_to_rle(mask)),
        "box": [x, y, side, side],
        "area": side * side,
        "score": 0.41,
        "label": None,
        "state": "accepted",
        "provenance": {},
        **about,
    }


def test_hover_click_correct_label_undo_and_reload(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.page.mouse.move(*ann.at(300, 180))
    ann.until("s.editor.preview !== null")
    assert ann.ask("s.editor.preview.candidates.length") == 1

    ann.click(300, 180)
    assert ann.ask("s.editor.result.candidates.length") == 3
    first = ann.area()
    ann.keys("c")
    ann.looked()
    assert ann.ask("s.editor.draft.candidate") == 1
    ann.keys("Shift+1")
    ann.looked()
    assert ann.area() == first > 0

    ann.click(60, 60, negative=True)
    assert ann.ask("s.editor.draft.clicks.map(c => c.label)") == [1, 0]
    ann.keep()
    ann.saved()
    (record,) = project.records.values()
    assert rle_area(coco_to_rle(record["rle"])) == record["area"] > 0
    assert record["provenance"]["model"] == "nano"
    assert record["provenance"]["labels"] == [1, 0]
    accepted = [event for event in project.events if event["kind"] == "accept"]
    assert [event["record"] for event in accepted] == [record["client_id"]]
    assert accepted[0]["seconds"] > 0
    assert {"click", "candidate", "negative click"} <= {e["kind"] for e in project.events}

    label_undo_redo(ann, project)
    ann.begin("s.editor?.state.masks.length", 1)
    assert ann.ask("s.editor.state.masks[0].label") == "jug"


def label_undo_redo(ann: Any, project: Project) -> None:
    """Label the kept mask, take label and mask back, and do both again."""
    ann.keys("k", "l")
    ann.page.get_by_label("Class", exact=True).fill("jug")
    ann.keys("Enter")
    ann.until_so(lambda: [r["label"] for r in project.records.values()] == ["jug"], "the label")
    ann.keys("Control+z", "Control+z")
    ann.until_so(lambda: not project.records, "the undone mask")
    assert ann.ask("s.editor.draft.clicks.length") == 2
    ann.keys("Control+Shift+Z", "Control+y")
    ann.until_so(lambda: [r["label"] for r in project.records.values()] == ["jug"], "redo")
    ann.saved()


def test_boxes_lassos_and_scribbles_ask_the_model(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.keys("b")
    ann.drag((180, 60), (420, 330))
    box = ann.ask("s.editor.draft.box")
    assert np.allclose(box, [180, 60, 420, 330], atol=2)
    inside = ann.ask("[s.editor.result.patch.x, s.editor.result.patch.y]")
    assert inside[0] >= 170
    assert inside[1] >= 50
    ann.keys("Escape", "s")
    ring = [(200, 80), (400, 80), (400, 300), (200, 300), (200, 90)]
    ann.drag(*ring)
    assert ann.ask("s.editor.draft.lasso !== null && s.editor.draft.box !== null") is True
    assert ann.area() > 0
    ann.keys("Escape")
    ann.drag((220, 180), (380, 180))
    labels = ann.ask("s.editor.draft.clicks.map(c => c.label)")
    assert len(labels) >= 4
    assert set(labels) == {1}
    assert ann.ask("s.editor.draft.lasso") is None


def test_an_outline_is_edited_and_an_empty_mask_is_refused(
    sit_down: SitDown, project: Project
) -> None:
    project.arm = "control"
    project.add("coffee", square(100, 100, 50, (400, 600)))
    ann = sit_down(project).begin("s.editor?.state.masks.length", 1)
    ann.keys("o")
    ann.page.mouse.click(*ann.at(120, 120))
    ann.keys("g")
    ann.until("s.editor.draft.rings?.[0].length", 4)
    ann.drag((150, 150), (200, 200))
    ann.keys("Enter")
    ann.until_so(lambda: project.records["r1"]["version"] == 2, "the edited mask")
    assert project.records["r1"]["area"] == pytest.approx(50 * 50 + 50 * 50, rel=0.1)

    ann.keys("k", "e")
    ann.ask("s.brush = 300")
    ann.drag((140, 140), (160, 160))
    ann.keys("Enter")
    ann.message("The mask is empty")
    assert project.records["r1"]["area"] > 0


# One transaction that ends with the page: whatever the page writes meanwhile waits behind it.
BUSY_DISK = """async () => {
    const [{ name }] = await indexedDB.databases();
    const asked = indexedDB.open(name);
    await new Promise((resolve) => { asked.onsuccess = resolve; });
    const tables = ["settings", "outbox"];
    const table = asked.result.transaction(tables, "readwrite").objectStore("settings");
    const goOn = () => { table.get("").onsuccess = goOn; };
    goOn();
}"""


def test_a_lost_server_loses_nothing(sit_down: SitDown, project: Project) -> None:
    project.arm = "control"
    ann = sit_down(project).begin("s.editor !== null")
    project.lost = True
    ann.drag((100, 100), (200, 100))
    ann.keep()
    ann.until_so(lambda: "Not connected" in ann.page.locator(".saved").inner_text(), "the notice")
    ann.page.evaluate(BUSY_DISK)
    ann.drag((100, 200), (200, 200))
    ann.keep()
    ann.drag((300, 100), (400, 100))  # a mask in the making
    assert project.records == {}
    project.lost = False
    ann.open()  # right behind the stroke: what waited is sent, what was being made is there
    ann.until_so(lambda: len(project.records) == 2, "the kept masks")
    ann.until("s.editor?.draft.strokes.length", 1)
    ann.until("s.editor.state.masks.length", 2)
    ann.saved()
    assert ann.area() > 0
    ann.keys("Escape")
    ann.open()  # what was dropped stays dropped
    ann.until("s.editor?.state.masks.length", 2)
    assert ann.ask("s.editor.draft.strokes.length") == 0


def test_somebody_elses_change_is_never_overwritten_unasked(
    sit_down: SitDown, project: Project
) -> None:
    project.arm = "control"
    record = project.add("coffee", square(100, 100, 50, (400, 600), label="cat"))
    ann = sit_down(project).begin("s.editor?.state.masks.length", 1)
    record |= {"label": "lion", "version": 5}
    ann.keys("k", "l")
    ann.page.get_by_label("Class", exact=True).fill("dog")
    ann.keys("Enter")
    ann.message("Another user changed this mask")
    assert record["label"] == "lion"
    ann.page.get_by_role("button", name="Keep mine").click()
    ann.until_so(lambda: record["label"] == "dog", "my label")
    assert record["version"] == 6


def test_a_token_is_sent_and_leaves_the_address(sit_down: SitDown, project: Project) -> None:
    project.token = "secret"
    ann = sit_down(project)
    ann.open("?token=secret")
    ann.until("s.editor !== null")
    assert "secret" not in ann.page.url
    stranger = sit_down(project)
    stranger.page.goto(stranger.url)
    field = stranger.page.get_by_label("Access token")
    field.wait_for()
    assert field.evaluate("field => field === document.activeElement")
    field.fill("another one")
    stranger.page.keyboard.press("Enter")
    stranger.page.get_by_role("alert").filter(has_text="not valid").wait_for()
    field.fill("secret")
    with stranger.page.expect_navigation():  # the page loads again, with the token
        stranger.page.keyboard.press("Enter")
    stranger.page.wait_for_selector(".stage")
    stranger.until("s.editor !== null")


def test_the_keyboard_alone_is_enough(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin()
    ann.keys("v", *["Shift+ArrowLeft"] * 2, "ArrowUp", " ")
    ann.until("s.editor.draft.clicks.length", 1)
    ann.looked()
    ann.keys(*["Shift+ArrowLeft"] * 6, "x")
    ann.until("s.editor.draft.clicks.map(c => c.label).join()", "1,0")
    ann.looked()
    ann.keep()
    ann.keys("b", " ", *["Shift+ArrowRight"] * 4, *["Shift+ArrowDown"] * 4, " ")
    ann.until("s.editor.draft.box !== null")
    ann.keys("Escape", "PageDown")
    ann.until("s.editor?.entry.id", "cat")
    ann.saved()
    assert len(project.records) == 1
    ann.keys("?")
    dialog = ann.page.get_by_role("dialog", name="Help")
    dialog.get_by_label("Search the help").fill("split parts")
    rows = dialog.locator(".help-row:visible")
    ann.until_so(lambda: rows.count() == 1 and "Ctrl + K" in rows.inner_text(), "the one row")
