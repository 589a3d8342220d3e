"""Videos in the page: what cannot be opened, what is dropped, and every screen by axe-core."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anymask.studio.limits import Limits
from tests.track.clips import moving_discs, write_video
from tests.web.conftest import SIZE
from tests.web.test_accessibility import axe, check
from tests.web.viewers import FRAMES, NARROW, PICTURES, Viewer, served

__all__ = ["axe"]  # a fixture


def test_what_cannot_be_opened_is_told_once(
    sit: Callable[..., Viewer], clip: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_bytes(b"no video at all" * 50)
    one = write_video(tmp_path / "one.mkv", PICTURES[:1])
    limits = Limits(upload_bytes=40_000)
    with served(limits=limits) as address:
        viewer = sit(address)
        viewer.choose(bad)
        said = viewer.page.locator(".said")
        viewer.until_so(lambda: "notes.mp4 could not be opened" in said.inner_text())
        assert "is not a readable video" in said.inner_text()
        large = tmp_path / "large.mp4"
        large.write_bytes(bytes(50_000))
        viewer.page.set_input_files(".video-offers input[type=file]", str(large))
        viewer.until_so(lambda: "this server accepts at most 1" in said.inner_text())
        viewer.keys("Escape")
        viewer.watch(one)
        viewer.page.get_by_text("This video has only one frame").wait_for()
        viewer.say(30, 30)
        assert viewer.page.get_by_role("button", name="Tracking complete").is_disabled()


def test_a_truncated_video_is_followed_up_to_its_fault(viewer: Viewer, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", PICTURES * 3, g=1).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    viewer.watch(path)
    viewer.say(30, 30)
    viewer.follow()
    length = viewer.ask("f.length")
    assert 4 < length < 3 * FRAMES
    fault = viewer.ask("f.facts.fault")
    assert fault.endswith(f"{length} of about {3 * FRAMES} frames are readable")
    assert viewer.ask("f.messages.map(m => m.text)").count(f"{fault}.") == 1


def test_a_video_that_is_dropped_is_opened(viewer: Viewer, clip: Path) -> None:
    content = base64.b64encode(clip.read_bytes()).decode()
    viewer.page.evaluate(
        """([content, name]) => {
          const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name));
          const drop = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
          document.querySelector(".stage").dispatchEvent(drop);
        }""",
        [content, "dropped.mkv"],
    )
    viewer.on_screen(0)
    assert viewer.ask("f.title") == "dropped.mkv"
    assert viewer.ask("s.messages.length") == 0


def test_a_page_without_a_server_says_why_it_has_no_video(sit_down: Any) -> None:
    ann = sit_down(None)
    ann.open("?local=1")
    ann.page.get_by_role("button", name="Open a video or scan …").click()
    ann.page.get_by_role("dialog", name="Video or scan").wait_for()
    assert "server" in ann.page.get_by_role("dialog", name="Video or scan").inner_text()
    assert ann.page.get_by_role("button", name="Choose a video file").count() == 0


def test_a_finger_says_not_this_by_a_button_until_another_object_is_chosen(
    sit: Callable[..., Viewer], clip: Path
) -> None:
    with served() as address:
        viewer = sit(address, NARROW, has_touch=True)
        viewer.watch(clip)
        minus = viewer.page.get_by_role("button", name="Background clicks")
        assert minus.is_disabled()  # there is nothing yet to take away from
        viewer.page.touchscreen.tap(*viewer.at(30, 30))
        viewer.until("f.said.length === 1 && !f.asking")
        minus.tap()
        viewer.until_so(lambda: minus.get_attribute("aria-pressed") == "true", "it begins")
        viewer.page.touchscreen.tap(*viewer.at(100, 70))
        viewer.until("f.said.map(one => one.point[2]).join() === '1,0' && !f.asking")
        viewer.keys("n")
        viewer.until_so(lambda: minus.get_attribute("aria-pressed") == "false", "it ends")
        viewer.page.touchscreen.tap(*viewer.at(100, 70))
        viewer.until("f.said.map(one => one.point[2]).join() === '1,0,1' && !f.asking")
        viewer.keys("1")  # what was said of the other object is over
        viewer.until("f.chosen", 1)
        assert minus.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("size", [SIZE, NARROW], ids=["wide", "narrow"])
def test_every_screen_of_a_video_passes_axe_and_fits(
    sit: Callable[..., Viewer], tmp_path: Path, axe: str, size: dict[str, int]
) -> None:
    pictures, _ = moving_discs(FRAMES, hidden=[4, 5])
    path = write_video(tmp_path / "hidden.mkv", pictures)
    with served(clips={"hidden": path}) as address:
        viewer = sit(address, size)
        viewer.keys("Control+Shift+O")
        viewer.page.get_by_role("button", name="hidden", exact=True).wait_for()
        complaints = check(viewer, axe, "the choice of a video")
        viewer.page.get_by_role("button", name="hidden", exact=True).click()
        viewer.on_screen(0)
        complaints += check(viewer, axe, "a new video")
        viewer.say(30, 30)
        viewer.follow()
        viewer.keys("Control+z", "Control+z")
        viewer.page.get_by_text("There is no click to undo").wait_for()
        viewer.say(30, 30)
        viewer.follow()
        complaints += check(viewer, axe, "a followed video")
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        follow = viewer.page.get_by_role("button", name="Tracking complete")
        assert follow.bounding_box()["x"] + follow.bounding_box()["width"] <= size["width"]
        for key, name in (("?", "Help"), ("Control+s", "Export")):
            viewer.keys(key)
            viewer.page.get_by_role("dialog", name=name).wait_for()
            complaints += check(viewer, axe, name)
            viewer.keys("Escape")
        assert complaints == []
