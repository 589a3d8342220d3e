"""Prompts on a map: each is segmented in a window around it, or in a larger one if the mask is cut.

Nearby prompts share a window, so that thousands of points require only one encoding per window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import shapely

from anymask.base import BoolArray, Floats, OnProgress, UintImage
from anymask.maps.layers import corners_of
from anymask.maps.scene import Scene
from anymask.maps.segment_map import model_about, pick_side
from anymask.maps.shapes import outline_of
from anymask.maps.tile_store import Fragment
from anymask.masks import Mask, Prompt, Tile, Window, cut_boxes, joining
from anymask.segment import EncodedImage, Model

_ROOM = 1.5  # minimum window size, relative to the box of a prompt
_TOGETHER = 8  # prompts of a step, after which the progress is reported
_MAX_WINDOW_TILES = 16  # maximum window size, in tiles per side


class PromptProcessor:
    """Segment prompts on a map. See `survey.WindowProcessor`.

    Args:
        prompts: Prompts in pixels of the scene.
        settings: Keyword arguments of `Model.segment`.
    """

    joins = nested = by_label = False
    tell: OnProgress | None = None

    def __init__(
        self,
        scene: Scene,
        model: Model,
        prompts: Sequence[Prompt],
        *,
        tile: Tile = "auto",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.scene, self.model, self.settings = scene, model, dict(settings or {})
        self.side = pick_side(tile, scene.image_hw)
        self.prompts = prompts
        self.by_window: dict[Window, list[Prompt]] = {}
        for prompt in prompts:
            self.by_window.setdefault(self._window(prompt, self.side), []).append(prompt)
        self.before = dict(  # prompts of earlier windows
            zip(
                self.by_window,
                accumulate(map(len, self.by_window.values()), initial=0),
                strict=False,
            )
        )
        self.about = {
            "model": model_about(model), "side": self.side, "settings": self.settings,
            "prompts": [prompt.to_json() for prompt in prompts],
        }  # fmt: skip

    def windows(self) -> list[Window]:
        return list(self.by_window)

    def _window(self, prompt: Prompt, side: int) -> Window:
        """Window of a prompt: one tile, or a larger window if the prompt does not fit."""
        corners = corners_of(prompt)
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        longest = float((box[2:] - box[:2]).max())
        while longest * _ROOM > side:
            side *= 2
        window = joining.window_with(box.tolist(), side, self.scene.image_hw)
        return (0, 0, *self.scene.image_hw[::-1]) if window is None else window

    def detect(self, window: Window) -> list[Fragment]:
        fragments, left, view, done = [], list(self.by_window[window]), window, self.before[window]
        while left:
            # At most two tiles per side
            size = np.array([view[2] - view[0], view[3] - view[1]])
            reduced = size / max(1.0, size.max() / (2 * self.side))
            width, height = np.maximum(1, reduced).round().astype(int)
            image, valid = self.scene.read_scaled(view, (int(height), int(width)))
            scale = size / (width, height)  # scene pixels per pixel
            grows = size.max() < min(_MAX_WINDOW_TILES * self.side, max(self.scene.image_hw))
            again: list[Prompt] = []
            for prompt, mask in zip(left, self._ask(image, left, view, scale), strict=True):
                answer = self._fragment(prompt, mask, valid, view, scale)
                if answer is not None and answer.cut and grows:
                    again.append(prompt)
                    continue
                if answer is not None:
                    fragments.append(replace(answer, window=window))
                done += 1
                if self.tell is not None:
                    self.tell(done, len(self.prompts))
            left, view = again, self._larger(view)
        return fragments

    def again(self, window: Window, pieces: Sequence[Fragment]) -> list[list[Fragment]]:
        """Return nothing, because prompted objects are not merged. See `WindowProcessor`."""
        return [[] for _ in pieces]

    def _larger(self, window: Window) -> Window:
        """Window of twice the size and the same center, inside the map."""
        low, high = np.array(window[:2]), np.array(window[2:])
        length = np.array(self.scene.image_hw[::-1])
        side = np.minimum(2 * (high - low), length)
        start = np.clip((low + high - side) // 2, 0, length - side)
        (x0, y0), (x1, y1) = start.tolist(), (start + side).tolist()
        return x0, y0, x1, y1

    def _ask(
        self, image: UintImage, prompts: Sequence[Prompt], window: Window, scale: Floats
    ) -> Iterator[Mask]:
        moved = []
        for prompt in prompts:
            clicks = None if prompt.points is None else (prompt.points - window[:2]) / scale
            box = None
            if prompt.box is not None:
                placed = (prompt.box - np.tile(window[:2], 2)) / np.tile(scale, 2)
                (box,) = cut_boxes(placed, (image.shape[0], image.shape[1]))
            moved.append(Prompt.of(clicks, prompt.labels, box))
        view: Any = EncodedImage(self.model.encode(image), image)
        for start in range(0, len(moved), _TOGETHER):
            answers = self.model.segment(
                view, prompts=moved[start : start + _TOGETHER], **self.settings
            )
            yield from (answer.best for answer in answers)

    def _fragment(
        self, prompt: Prompt, mask: Mask, valid: BoolArray, window: Window, scale: Floats
    ) -> Fragment | None:
        outline = outline_of(mask.rle, valid, (0, 0, 0, 0))
        if outline is None:
            return None
        placed = shapely.transform(outline, lambda xy: xy * scale + window[:2])
        x0, y0, x1, y1 = shapely.bounds(placed).tolist()
        cut = bool(joining.cut_bands((x0, y0, x1 - 1, y1 - 1), window, self.scene.image_hw))
        x, y = shapely.get_coordinates(shapely.point_on_surface(placed))[0].tolist()
        return Fragment(
            window, placed, cut, mask.score, mask.rank, prompt.label, str(prompt.source), (x, y)
        )
