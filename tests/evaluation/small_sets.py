"""Tiny sets for tests: flat colours on black, so that the colour under a click is the object."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.evaluation import FromFunction
from anymask.masks import ALL_KINDS, Prompt, centre_click, mask_to_rle, rle_to_string

Box = tuple[int, int, int, int]


def rectangle(hw: tuple[int, int], box: Box) -> NDArray[np.bool_]:
    """A mask that is true inside x0, y0, x1, y1 (the last two not included)."""
    mask = np.zeros(hw, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def write_set(
    folder: Path, photos: Sequence[Sequence[Box]], hw: tuple[int, int] = (48, 64), **more: Any
) -> Path:
    """A set whose photo n has a rectangle of its own colour for each box; `more` goes to rows."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, boxes in enumerate(photos):
        image = np.zeros((*hw, 3), np.uint8)
        masks: list[dict[str, Any]] = []
        for place, box in enumerate(boxes):
            mask = rectangle(hw, box)
            image[mask] = (200 - 50 * place, 60 + 60 * place, 100)
            masks.append({"rle": rle_to_string(mask_to_rle(mask)), "area": int(mask.sum())})
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        rows.append({"image": f"images/{number}.png", "hw": list(hw), "masks": masks} | more)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "masks.jsonl").write_text(lines, encoding="utf-8")
    info = {"name": folder.name, "domain": "rectangles", "licence": "CC0", "ships": True}
    (folder / "set.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def same_colour(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    """Every pixel of the colour at the first click, or the middle of box or mask: always right."""
    if prompt.points is not None:
        x, y = prompt.points[0]
    elif prompt.mask is not None:
        x, y = centre_click(prompt.mask > 0)
    else:
        x, y = (prompt.box[:2] + prompt.box[2:]) / 2
    inside: NDArray[np.bool_] = (image == image[int(y), int(x)]).all(axis=-1)
    return inside


def filled_box(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    """Every pixel of the box."""
    x0, y0, x1, y1 = (max(0, round(float(side))) for side in prompt.box)
    return rectangle(image.shape[:2], (x0, y0, x1, y1))


def perfect(name: str = "perfect") -> FromFunction:
    """A segmenter that is right on every photo of `write_set`."""
    return FromFunction(name, ALL_KINDS, same_colour)
