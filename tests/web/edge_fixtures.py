"""What the page's unit tests of refined edges compare with (see `write_fixtures`).

The photo and what the network says are formulas that both languages know, so that no picture lies
in a fixture.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from anymask.masks import Geometry, ModelSpec, Prompt, geometry, mask_to_rle, reduced, rle_to_coco
from anymask.segment import Prediction, SegmentSettings
from anymask.segment.prediction import (
    image_for_edges,
    window_around,
    window_image,
    window_logits,
    window_prompt,
    with_fine_edges,
)

NUMBERS = 3  # decimals
STEP = 15  # of the pixels of a window, that are written down
SPEC = ModelSpec(
    name="small", image_side=64, mask_side=16, mean=(127.5,) * 3, std=(127.5,) * 3,
    fit="longest_side", resample="area", family="nano", pad_point=False,
)  # fmt: skip
IMAGES: list[tuple[tuple[int, int], dict[str, Any]]] = [
    ((90, 120), {"points": [[60.0, 44.0]], "labels": [1]}),
    ((400, 260), {"points": [[130.0, 210.0], [60.2, 300.7]], "labels": [1, 0]}),
    ((700, 900), {"box": [220.0, 160.0, 610.0, 520.0]}),
    ((640, 640), {"points": [[320.0, 330.0]], "labels": [1], "box": [150.0, 140.0, 480.0, 500.0]}),
    ((2300, 1800), {"points": [[900.0, 1100.0]], "labels": [1]}),
]


def striped(hw: tuple[int, int]) -> np.ndarray:
    """A photo of waves of straight lines: no wave is steeper than 8 levels a pixel."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    waves = [(3 + c) * x + (7 - 2 * c) * y for c in range(3)]
    return np.stack([np.abs(wave % 510 - 255) for wave in waves], -1).astype(np.uint8)


def lumps(seed: int) -> np.ndarray:
    """Logits with an object in the middle and something beside it."""
    y, x = np.mgrid[:16, :16]
    rng = np.random.default_rng(seed)
    (cx, cy), r = rng.uniform(6.5, 8.5, 2), rng.uniform(3.5, 4.5)
    plane = 2.2 * (r - np.hypot(x - cx, y - cy)) + rng.normal(0, 0.7, (16, 16))
    return np.round(plane, NUMBERS).astype(np.float32)


class Waves:
    """A network of edges that says the same of every window."""

    def __call__(self, *_: Any) -> np.ndarray:
        y, x = np.mgrid[:256, :256]
        return (5 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)


def _refined(plane: np.ndarray, place: Geometry, prompt: Prompt, image: np.ndarray) -> Any:
    answer = Prediction.of_logits(
        plane[None], np.array([0.5], np.float32), np.array([0]), place, 0.0
    )
    fine = with_fine_edges(answer, image, prompt, SegmentSettings().min_areas, Waves())
    return rle_to_coco(fine.first.rle())


def edge_cases() -> list[dict[str, Any]]:
    """Windows of photos, and masks with the edges that `Waves` gives them."""
    cases = []
    for seed, (hw, asked) in enumerate(IMAGES):
        place, plane, image = geometry(hw, SPEC), lumps(seed), striped(hw)
        prompt = Prompt.of(**asked)
        near = reduced(place, 2048)
        small = image_for_edges(image, place)
        window = window_around(plane, near)
        assert window is not None
        seen = window_image(small, window)
        told = window_prompt(_scaled(asked, near.image_hw[1] / hw[1]), window)
        cells = window_logits(plane, window)
        cases.append({
            "size": hw, "asked": asked, "logits": _rounded(plane),
            "window": [window.x, window.y, window.cells], "pixel": _rounded(window.pixel),
            "seen": seen[::STEP, ::STEP].transpose(2, 0, 1).ravel().tolist(),
            "told": _rounded(told[:, ::STEP, ::STEP]), "cells": _rounded(cells),
            "rle": _refined(plane, place, prompt, image),
            "own": rle_to_coco(mask_to_rle(_drawn(plane, place))),
        })  # fmt: skip
    return cases


def _scaled(asked: dict[str, Any], scale: float) -> Prompt:
    given = {
        name: value if name == "labels" else (np.array(value) * scale).tolist()
        for name, value in asked.items()
    }
    return Prompt.of(**given)


def _drawn(plane: np.ndarray, place: Geometry) -> np.ndarray:
    whole = cv2.resize(plane, (place.side, place.side))
    filled = whole[: place.input_hw[0], : place.input_hw[1]]
    return cv2.resize(filled, place.image_hw[::-1]) > 0


def _rounded(array: Any) -> list[float]:
    return np.round(np.asarray(array, np.float64).ravel(), NUMBERS).tolist()
