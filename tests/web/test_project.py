"""What an annotator does in a server's project, in a real Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
    assert ann.ask("s.editor.looks.candidates.length") == 3
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
    inside = ann.ask("[s.editor.looks.patch.x, s.editor.looks.patch.y]")
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


def test_the_control_arm_draws_without_a_model(sit_down: SitDown, project: Project) -> None:
    project.arm = "control"
    ann = sit_down(project)
    asked: list[str] = []
    ann.page.on("request", lambda request: asked.append(request.url))
    ann.begin("s.editor !== null")
    assert ann.page.get_by_role("button", name="Click (V)").is_disabled()
    assert ann.ask("s.toolName") == "brush"
    ann.drag((100, 100), (200, 100))
    painted = ann.area()
    assert painted == pytest.approx(2 * 12 * 100 + np.pi * 12**2, rel=0.05)
    ann.keys("e")
    ann.drag((150, 60), (150, 140))
    assert ann.area() < painted
    ann.keep()
    ann.keys("g")
    for place in ((300, 100), (400, 100), (400, 200), (300, 200)):
        ann.page.mouse.click(*ann.at(*place))
    ann.keys("Enter")
    ann.looked()
    assert ann.area() == pytest.approx(100 * 100, rel=0.05)
    ann.drag((400, 100), (450, 100))
    assert ann.area() == pytest.approx(100 * 100 + 50 * 100 / 2, rel=0.05)
    ann.keep()
    ann.saved()
    assert [r["provenance"]["drawn"] for r in project.records.values()] == [True, True]
    assert not [url for url in asked if "onnx" in url or "embedding" in url]


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


def test_proposals_are_taken_back_after_a_reload_but_what_was_judged_stays(
    sit_down: SitDown, project: Project
) -> None:
    project.stage = "semi"
    ann = sit_down(project).begin("s.editor?.finding === null && s.editor.state.masks.length > 1")
    count = len(project.records)
    ann.keys("k", "Enter")
    ann.until("s.editor.state.masks.filter(m => m.state === 'accepted').length", 1)
    ann.saved()
    (kept,) = (r["id"] for r in project.records.values() if r["state"] == "accepted")
    undo = ann.page.get_by_role("button", name="Undo")

    def again() -> None:
        ann.page.reload()
        ann.page.wait_for_selector(".stage")
        ann.until("s.editor !== null")

    again()
    undo.click()
    ann.saved()
    assert set(project.records) == {kept}
    assert undo.is_disabled()
    ann.keys("Control+y")
    ann.saved()
    assert len(project.records) == count
    again()
    undo.click()
    ann.keys("k", "Delete")
    ann.saved()
    again()
    ann.seen()  # and it does not begin with proposals again
    assert ann.ask("[s.editor.finding, s.editor.state.masks.length]") == [None, 0]
    assert project.asked.count("POST /api/images/coffee/everything") == 1


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


def test_the_next_photo_is_prefetched_and_a_busy_server_is_waited_for(
    sit_down: SitDown, project: Project
) -> None:
    project.busy = 1
    ann = sit_down(project)
    ann.open()
    ann.until_so(lambda: "GET /api/images/cat/embedding" in project.asked, "the prefetch")
    ann.seen()
    before = project.asked.count("GET /api/images/cat/embedding")
    ann.keys("PageDown")
    ann.until("s.editor?.entry.id", "cat")
    ann.seen()
    assert project.asked.count("GET /api/images/cat/embedding") == before == 1
    ann.keys("PageDown")
    ann.message("This is the last image")


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


def test_a_gated_export_says_why_and_what_it_changed(
    sit_down: SitDown, project: Project, tmp_path: Path
) -> None:
    project.arm = "control"
    project.gated = True
    project.add("coffee", square(100, 100, 50, (400, 600)))
    ann = sit_down(project).begin("s.editor !== null")
    ann.keys("Control+s")
    images = ann.page.get_by_label("Include the images")
    assert images.is_checked()  # of YOLO, the first format
    ann.page.get_by_label("Format").select_option("COCO")
    assert not images.is_checked()
    ann.page.get_by_label("Include proposals that are not yet accepted").check()
    ann.page.get_by_role("button", name="Export", exact=True).last.click()
    ann.page.get_by_text("70 % good masks").wait_for()
    told = "9 masks\nNot kept: exact outlines (9 times)\nNot kept: separate parts (1 time)"
    ann.page.route(
        "**/api/export",
        lambda route: route.fulfill(body='{"records": []}', headers={"X-Summary": quote(told)}),
    )
    with ann.page.expect_download() as download:
        ann.page.get_by_role("button", name="Export anyway").click()
    download.value.save_as(tmp_path / "out")
    assert json.loads((tmp_path / "out").read_text("utf-8")) == {"records": []}
    ann.page.get_by_text(
        "9 masks. Outlines are within 0.5 pixels. 1 mask had several parts, which were joined"
    ).wait_for()


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


def test_the_page_fits_and_keeps_its_theme(sit_down: SitDown, project: Project) -> None:
    project.add("coffee", square(100, 100, 50, (400, 600)))
    ann = sit_down(project, color_scheme="dark").begin("s.editor?.state.masks.length", 1)
    size = ann.page.evaluate("[document.body.scrollWidth, document.body.scrollHeight]")
    assert size == [1280, 720]
    colour = "getComputedStyle(document.querySelector('.header')).backgroundColor"
    dark = ann.page.evaluate(colour)
    ann.keys("t")
    light = ann.page.evaluate(colour)
    assert dark != light
    ann.open()
    assert ann.page.evaluate(colour) == light
