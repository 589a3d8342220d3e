"""Videos in the page: what cannot be opened, what is dropped, and every screen by axe-core."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.track.clips import moving_discs, write_video
from tests.web.conftest import SIZE
from tests.web.test_accessibility import axe, check
from tests.web.viewers import FRAMES, NARROW, Viewer, served

__all__ = ["axe"]  # a fixture


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


@pytest.mark.parametrize("size", [SIZE, NARROW], ids=["wide", "narrow"])
def test_every_screen_of_a_video_passes_axe_and_fits(
    sit: Callable[..., Viewer], tmp_path: Path, axe: str, size: dict[str, int]
) -> None:
    images, _ = moving_discs(FRAMES, hidden=[4, 5])
    path = write_video(tmp_path / "hidden.mkv", images)
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
        if size == SIZE:  # the list is folded on a phone
            viewer.page.get_by_role("heading", name="Frames to review: 2").wait_for()
        viewer.keys("Home", "j")
        viewer.on_screen(4)
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        follow = viewer.page.get_by_role("button", name="Tracking complete")
        assert follow.bounding_box()["x"] + follow.bounding_box()["width"] <= size["width"]
        for key, name in (("?", "Help"), ("Control+s", "Export")):
            viewer.keys(key)
            viewer.page.get_by_role("dialog", name=name).wait_for()
            complaints += check(viewer, axe, name)
            viewer.keys("Escape")
        assert complaints == []
