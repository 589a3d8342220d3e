"""Channels as red, green and blue, and the values of each that are drawn: shown, kept, and seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_local import colors

HW = (120, 160)
BAR = "Composite"


def stack_of(levels: np.ndarray, dtype: str) -> np.ndarray:  # (Z, C) -> (Z, C, H, W)
    """Planes of one level, but for a black and a white corner, which make it their own range."""
    stack = np.broadcast_to(levels[..., None, None], (*levels.shape, *HW)).astype(dtype)
    stack[..., :4, :4], stack[..., -4:, -4:] = 0, 1000 if dtype == "u2" else 255
    return stack


def project_of(stack: np.ndarray, arm: str = "control") -> Project:
    shown = np.zeros((*HW, 3), np.uint8)
    images = {"dyes": shown, "more": shown, "plain": shown}
    return Project(images, arm=arm, stacks={"dyes": stack, "more": stack[::-1]})


@pytest.fixture
def project() -> Project:
    """Two pages of two channels of 16 bits."""
    return project_of(stack_of(np.array([[200, 400], [600, 800]]), "u2"))


def drawn(ann: Any, expected: tuple[int, int, int]) -> None:
    """Wait until the photo has these colours, give or take what a browser rounds."""
    near = [0]

    def arrived() -> bool:
        near[:] = colors(ann, (80, 60))[0]
        return max(abs(a - b) for a, b in zip(near, expected, strict=True)) <= 1

    ann.until_so(arrived, f"the colours {expected}")


def composite(ann: Any) -> Any:
    """The fields, behind the channels."""
    bar = ann.page.get_by_role("group", name=BAR)
    ann.page.get_by_label("Channel", exact=True).select_option("Composite")
    ann.until_so(bar.is_visible, "the composite")
    return bar


def test_channels_are_picked_as_red_green_and_blue(sit_down: SitDown, project: Project) -> None:
    ann = sit_down(project).begin("s.editor !== null")
    assert not ann.page.get_by_role("group", name=BAR).is_visible()
    bar = composite(ann)
    drawn(ann, (51, 102, 0))  # each channel between its own values, the third one is not there
    bar.get_by_label("Red from").fill("100")
    bar.get_by_label("Red to").fill("300")
    bar.get_by_label("Red to").press("Enter")
    drawn(ann, (128, 102, 0))
    bar.get_by_label("Green white level").fill("500")  # from its own black
    drawn(ann, (128, 204, 0))
    bar.get_by_role("button", name="Auto").click()
    drawn(ann, (51, 102, 0))
    bar.get_by_label("Red channel").select_option("Dye 1")
    bar.get_by_label("Blue channel").select_option("Dye 0")
    drawn(ann, (102, 102, 51))
    bar.get_by_label("Green channel").select_option("none")
    drawn(ann, (102, 0, 51))
    ann.until_so(bar.get_by_label("Green from").is_disabled, "no values of no channel")
    for name in ("Red", "Blue"):
        bar.get_by_label(f"{name} channel").select_option("none")
    ann.message("Select a channel")
    ann.page.get_by_label("Channel", exact=True).select_option("Dye 1")
    drawn(ann, (102, 102, 102))
    ann.until_so(lambda: not bar.is_visible(), "the bar away")


def test_the_model_sees_what_is_shown(sit_down: SitDown) -> None:
    project = project_of(stack_of(np.array([[200, 400]]), "u2"), arm="model")
    ann = sit_down(project).begin("s.editor !== null")
    asked: list[str] = []
    ann.page.on("request", lambda request: asked.append(request.url.partition("/api/")[2]))
    ann.seen()
    bar = composite(ann)
    bar.get_by_label("Red channel").select_option("Dye 1")
    drawn(ann, (102, 102, 0))
    ann.seen()
    query = "page=0&bands=2,2,0&ranges=:,:,:"
    for kind in ("pixels", "embedding"):
        ann.until_so(lambda kind=kind: f"images/dyes/{kind}?{query}" in asked, kind)  # type: ignore[misc]
    assert ann.ask("s.editor.sight.key").endswith(f"#{query.removeprefix('page=0&')}")
