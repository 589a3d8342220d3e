"""Somebody in front of a video in the page, and the servers behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from anymask.masks import coco_to_rle, mask_to_rle, rle_iou
from anymask.runtime import ASSETS
from anymask.studio import Inference, ServerParts
from tests.studio.servers import inference, listening
from tests.track.clips import moving_discs
from tests.web.conftest import Annotator

FRAMES = 8
IMAGES, TRUTH = moving_discs(FRAMES)
NARROW = {"width": 390, "height": 780}


class Viewer(Annotator):
    """Somebody in front of a video; `f` is the open video."""

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(
            "(() => { const s = window.anymask?.session, f = window.anymask?.videoWork;"
            f" return {expression} }})()"
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(".stage").bounding_box()
        left, top = self.ask(f"f.view.toScreen([{x}, {y}])")
        return box["x"] + left, box["y"] + top

    def choose(self, path: Path) -> None:
        """Open the dialog, and choose a video file in it."""
        self.keys("Control+Shift+O")
        self.page.get_by_role("button", name="Choose a video file").wait_for()
        self.page.set_input_files(".video-offers input[type=file]", str(path))

    def watch(self, path: Path) -> None:
        """Open a video."""
        self.choose(path)
        self.on_screen(0)

    def on_screen(self, frame: int) -> None:
        """A frame's picture is there."""
        self.until("f?.shown?.frame", frame)

    def say(self, x: float, y: float, *, negative: bool = False) -> None:
        """Click on the frame, and see the answer."""
        said = self.ask("f.said.length")
        if negative:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*self.at(x, y))
        if negative:
            self.page.keyboard.up("Shift")
        self.until(f"f.said.length > {said} && !f.asking")

    def follow(self) -> None:
        """Follow to the end."""
        self.keys("f")
        self.until("f.left === 0 && !f.following")

    def ious(self, number: int, truth: list[np.ndarray]) -> list[float]:
        """Of an object's masks with the true ones, frame by frame."""
        rles = self.ask(
            f"[...Array(f.length).keys()].map(i => f.tracks.of({number}, i)?.segmentation ?? null)"
        )
        return [
            0.0 if rle is None else float(rle_iou([coco_to_rle(rle)], [mask_to_rle(mask)])[0, 0])
            for rle, mask in zip(rles, truth, strict=True)
        ]

    def export(self, name: str, folder: Path, look: str | None = None) -> Path:
        self.keys("Control+s")
        with self.page.expect_download() as download:
            self.page.get_by_label("Format").select_option(name)
            if look is not None:
                self.page.get_by_role("combobox", name="Style").select_option(look)
            self.page.get_by_role("button", name="Export", exact=True).last.click()
        target = folder / download.value.suggested_filename
        download.value.save_as(target)
        self.keys("Escape")
        return target


@contextmanager
def served(behind: Inference | None = None, **more: Any) -> Iterator[str]:
    """Where a server with the page listens; its end is that of `behind`, too."""
    parts = ServerParts(behind or inference(), bundle=ASSETS / "nano", **more)
    with listening(parts) as address:
        yield address
