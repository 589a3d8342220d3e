"""What the page's unit tests of names compare with (see `write_fixtures`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from anymask.masks import empty_rle, mask_to_rle, rle_to_coco
from anymask.models.rules import NameTable, close_up
from anymask.runtime import ASSETS
from anymask.runtime.onnx import read_table
from tests.web.edge_fixtures import striped

SIDE = 18  # of a close-up
# A photo's height and width, and an ellipse's middle and half its sides; None: no object at all.
SEEN: list[tuple[tuple[int, int], tuple[float, float, float, float] | None]] = [
    ((90, 120), (60, 44, 30, 21)),  # shrunk
    ((90, 120), (60, 44, 5, 3)),  # enlarged
    ((90, 120), (3, 86, 25, 14)),  # at the lower left corner
    ((90, 120), (118, 2, 4, 3)),  # enlarged at the upper right corner
    ((120, 150), (70, 60, 12.4, 9)),  # each pixel is four of the photo: OpenCV's own case
    ((40, 300), (150, 20, 140, 15)),  # wider than the photo is high
    ((7, 5), (2, 3, 1.2, 1.2)),  # larger than the photo
    ((30, 30), None),
]
SPELT = ["kat", "hoerse", "Tuck", " Traffic_Light ", "xyzzyx", "dinning tabel", "lam", "grey bear"]


def close_ups() -> list[dict[str, Any]]:
    """Masks of photos that both languages know, and what is seen around them."""
    cases = []
    for hw, ellipse in SEEN:
        y, x = np.ogrid[: hw[0], : hw[1]]
        rle = empty_rle(hw)
        if ellipse is not None:
            cx, cy, rx, ry = ellipse
            rle = mask_to_rle(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1)
        seen = close_up(striped(hw), rle, SIDE)
        cases.append({
            "mask": rle_to_coco(rle),
            "image": seen.image.transpose(2, 0, 1).ravel().tolist(),
            "covered": seen.mask.ravel().tolist(),
        })  # fmt: skip
    return cases


def known_names() -> dict[str, Any]:
    """What is said of `nano`'s own names: of a vector, and of words that may be slips."""
    table = read_table(ASSETS / "nano" / "names.npz")
    return {
        "near": {word: table.near(word) for word in SPELT},
        "suggested": [_suggested(table, names) for names in (None, ["cat", "Dog", "lamp"])],
    }


def _suggested(table: NameTable, names: list[str] | None) -> dict[str, list[Any]]:
    """Of the vector between a cat's and a dog's, nearer to the dog's."""
    cat, dog = (table.vectors[table.also[word]] for word in ("cat", "dog"))
    (told,) = table.chosen(names).suggest((0.4 * cat + 0.6 * dog)[None], 4)
    return {"labels": [one.label for one in told], "chances": [one.probability for one in told]}
