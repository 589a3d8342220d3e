"""Tiny sets for tests: flat colours on black, so that the colour under a click is the object."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from anymask.evaluation import FromFunction
from anymask.masks import (
    ALL_KINDS,
    Prompt,
    Rle,
    center_click,
    mask_to_rle,
    rle_area,
    rle_to_coco,
    rle_to_string,
)

Box = tuple[int, int, int, int]


def rectangle(hw: tuple[int, int], box: Box) -> NDArray[np.bool_]:
    """A mask that is true inside x0, y0, x1, y1 (the last two not included)."""
    mask = np.zeros(hw, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def write_set(
    folder: Path, images: Sequence[Sequence[Box]], hw: tuple[int, int] = (48, 64), **more: Any
) -> Path:
    """A set whose photo n has a rectangle of its own colour for each box; `more` goes to rows."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, boxes in enumerate(images):
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


def coco_evaluation(
    hw: tuple[int, int],
    images: int,
    names: Sequence[str],
    truths: Sequence[tuple[int, int, Rle, int]],
    found: Sequence[tuple[int, int, Rle, float]],
) -> Any:
    """pycocotools' evaluation of masks: rows are image, class, mask, and crowd or score."""
    coco, peer = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))

    def rows(several: Sequence[tuple[int, int, Rle, float]], last: str) -> list[dict[str, Any]]:
        return [
            {"id": n, "image_id": image, "category_id": kind, "segmentation": rle_to_coco(rle),
             "area": rle_area(rle), "bbox": [0, 0, 1, 1], last: value}
            for n, (image, kind, rle, value) in enumerate(several, start=1)
        ]  # fmt: skip

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "info": {}, "annotations": rows(truths, "iscrowd"),
            "images": [{"id": n + 1, "height": hw[0], "width": hw[1]} for n in range(images)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        }  # fmt: skip
        truth.createIndex()
        kept = ("image_id", "category_id", "segmentation", "score")  # a box would be evaluated
        results = [{name: row[name] for name in kept} for row in rows(found, "score")]
        return peer.COCOeval(truth, truth.loadRes(results), "segm")


def same_color(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    """Every pixel of the colour at the first click, or the middle of box or mask: always right."""
    if prompt.points is not None:
        x, y = prompt.points[0]
    elif prompt.mask is not None:
        x, y = center_click(prompt.mask > 0)
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
    return FromFunction(name, ALL_KINDS, same_color)
