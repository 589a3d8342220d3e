"""What a server tells the page: planes of stacks, proposals, a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from anymask.images import ImageView
from anymask.images.decoding import array_to_image, value_range
from anymask.jobs import parse_ranges

PAGES = 10  # from one place to the next: pages of a file are not counted one by one


def planes_of(stack: np.ndarray | None) -> dict[str, Any]:  # (Z, C, H, W)
    """What the server says of a stack, or of a plain photo."""
    pages, channels = (1, 0) if stack is None else stack.shape[:2]
    return {
        "first": 0,
        "pages": [{"page": PAGES * z, "name": f"Z {z}"} for z in range(pages)],
        "channels": [f"Dye {c}" for c in range(channels) if channels > 1],
        "colors": channels < 2,
        "pixel": None if stack is None else {"size": 0.5, "unit": "µm"},
        "deep": stack is not None and stack.dtype != np.uint8,
    }


def values_of(stack: np.ndarray | None, page: int) -> dict[str, Any]:
    """What the server says of the numbers of a page."""
    found = []
    for number, plane in enumerate([] if stack is None else stack[page // PAGES]):
        low, high = value_range(plane, "it")
        ends = {"least": float(plane.min()), "most": float(plane.max()), "low": low, "high": high}
        found.append({"name": f"Dye {number}", **ends})
    return {"channels": found}


def plane_of(stack: np.ndarray, query: dict[str, list[str]]) -> np.ndarray:  # -> (H, W, 3)
    page, channel = (int(query.get(name, ["0"])[0]) for name in ("page", "channel"))
    planes = stack[page // PAGES]
    if "bands" not in query:
        return array_to_image(planes[channel])
    bands = [int(band) for band in query["bands"][0].split(",")]
    view = ImageView.of(bands, ranges=parse_ranges(query.get("ranges", [":"])[0]))
    return array_to_image(planes.transpose(1, 2, 0), view=view)


def proposal(record: Any) -> dict[str, Any]:
    saved = record.to_sa1b()
    x0, y0, x1, y1 = record.box
    return {
        "rle": saved["segmentation"],
        "box": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": record.area,
        "score": record.score,
        "label": None,
        "state": "proposed",
        "provenance": {"by": "model"},
    }


REPORT = {
    "saving": None,
    "paces": [{"stage": "semi", "masks_an_hour": 240, "mean_iou": 0.9123}],
    "verdicts": {},
}


def unchanged(done: bool) -> dict[str, Any]:
    """What others have done with a photo: nothing."""
    return {"changes": 0, "status": "done" if done else "new", "versions": None, "file": None}
