"""What the page's unit tests of a closer look compare with (see `write_fixtures`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from anymask.masks import ModelSpec, Prompt, geometry, mask_to_model, mask_to_rle, rle_to_coco
from anymask.models.rules import (
    crop_window,
    logits_around,
    mean_probability,
    object_box,
    open_family,
)
from anymask.segment.pipeline import prompt_in_window

NUMBERS = 3  # decimals
SPEC = ModelSpec(
    name="small", image_side=64, mask_side=16, mean=(127.5,) * 3, std=(127.5,) * 3,
    fit="longest_side", resample="area", family="nano", pad_point=False,
)  # fmt: skip
# A photo, what is asked of it, and the ellipse that answered: its middle and half its sides.
ASKED: list[tuple[tuple[int, int], dict[str, Any], tuple[float, float, float, float]]] = [
    ((300, 400), {"box": [150.3, 90.2, 213.9, 160.0]}, (180, 125, 30, 33)),
    ((900, 500), {"points": [[80.5, 720.2], [400, 30]], "labels": [1, 0]}, (90, 700, 60, 80)),
    ((640, 640), {"box": [-5, -9, 88, 60.5], "points": [[9, 9]], "labels": [1]}, (40, 24, 44, 20)),
    ((200, 1000), {"points": [[990, 100], [940, 40]], "labels": [1, 1]}, (960, 80, 50, 70)),
    ((500, 700), {"points": [[350, 250], [352, 251]], "labels": [1, 0]}, (351, 250, 6, 5)),
    ((400, 400), {"box": [20, 20, 380, 390]}, (200, 200, 170, 180)),
]  # fmt: skip


def closer_cases() -> list[dict[str, Any]]:
    """Windows around objects, what is asked in them, and the mean of two answers."""
    rng = np.random.default_rng(21)
    close = open_family(SPEC).crop_refinement
    assert close is not None
    cases = []
    for (height, width), asked, (cx, cy, rx, ry) in ASKED:
        y, x = np.ogrid[:height, :width]
        mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        prompt = on_image(asked, (height, width))
        box = object_box(prompt, mask)
        assert box is not None
        window = crop_window(box, mask.shape, close)
        case = {"size": [height, width], "asked": asked, "mask": rle_to_coco(mask_to_rle(mask)),
                "box": _rounded(box), "window": window}  # fmt: skip
        if window is not None:
            case |= _in_window(prompt, mask, window, rng)
        cases.append(case)
    return cases


def on_image(asked: dict[str, Any], hw: tuple[int, int]) -> Prompt:
    """A prompt as it is checked: its box is cut at the photo."""
    prompt = Prompt.of(**asked)
    if prompt.box is None:
        return prompt
    height, width = hw
    return Prompt.of(
        points=prompt.points,
        labels=prompt.labels,
        box=np.clip(prompt.box, 0, [width, height, width, height]),
    )


def _in_window(
    prompt: Prompt, mask: np.ndarray, window: tuple[int, int, int, int], rng: np.random.Generator
) -> dict[str, Any]:
    x0, y0, x1, y1 = window
    place, near = geometry(mask.shape, SPEC), geometry((y1 - y0, x1 - x0), SPEC)
    start = mask if prompt.points is not None else None
    moved = prompt_in_window(
        Prompt.of(points=prompt.points, labels=prompt.labels, box=prompt.box, mask=start), window
    )
    far, own = np.round(rng.normal(0, 4, (2, 16, 16)), NUMBERS).astype(np.float32)
    around = logits_around(far, place, window, near)
    return {
        "clicks": [] if moved.points is None else _rounded(moved.points),
        "near": None if moved.box is None else _rounded(moved.box),
        "start": None if moved.mask is None else _rounded(mask_to_model(moved.mask, near, 16)),
        "far": _rounded(far), "own": _rounded(own), "around": _rounded(around),
        "mean": _rounded(mean_probability(own, around, 0.6)),
    }  # fmt: skip


def _rounded(array: Any) -> list[float]:
    return np.round(np.asarray(array, np.float64).ravel(), NUMBERS).tolist()
