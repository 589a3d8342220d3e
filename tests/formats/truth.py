"""The masks of tiny data sets, and how they are written without our own code."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
HW = (20, 30)


@dataclass
class Truth:
    """What must be read for one photo."""

    image: str
    masks: list[tuple[Mask, str | None]] = field(default_factory=list)
    ignore: Mask | None = None


def box(x0: int, y0: int, x1: int, y1: int, hw: tuple[int, int] = HW) -> Mask:
    mask = np.zeros(hw, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


RING = box(2, 2, 14, 12) & ~box(5, 5, 9, 8)
DOT = box(29, 19, 30, 20)
TWO_PARTS = box(16, 1, 20, 4) | box(24, 10, 28, 18)


def photo(path: Path, hw: tuple[int, int] = HW) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (hw[1], hw[0]), (90, 120, 60)).save(path)


def png(path: Path, values: NDArray[Any], palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(bytes(np.random.default_rng(0).integers(0, 256, 768, np.uint8)))
    image.save(path)


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def coco_rle(mask: Mask) -> dict[str, Any]:
    from pycocotools import mask as peer

    rle = peer.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def plain_counts(mask: Mask) -> dict[str, Any]:
    """COCO's list of runs, counted one pixel after the other."""
    counts, last = [0], False
    for value in mask.T.reshape(-1).tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


TRIANGLE = [3.3, 2.6, 21.7, 4.1, 11.2, 17.9]


def filled(rings: list[list[float]]) -> Mask:
    """What pycocotools makes of polygons."""
    from pycocotools import mask as peer

    text = peer.merge(peer.frPyObjects(rings, *HW))["counts"].decode()
    mask = np.zeros(HW[0] * HW[1], np.bool_)
    place, value = 0, False
    for run in _runs(text):  # its own decode warns under numpy 2
        mask[place : place + run] = value
        place, value = place + run, not value
    return mask.reshape(HW[1], HW[0]).T


def _runs(text: str) -> list[int]:
    """COCO's compressed string, digit by digit (maskApi.c, rleFrString)."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            digit = ord(text[place]) - 48
            value |= (digit & 0x1F) << shift
            more, place, shift = bool(digit & 0x20), place + 1, shift + 5
            if not more and digit & 0x10:
                value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> Any:
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": segmentation,
        "iscrowd": 0, "bbox": [1, 2, 3, 4], "area": 1,
    } | more  # fmt: skip
