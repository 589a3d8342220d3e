"""What a server tells the page: planes of stacks, proposals, a report."""

from __future__ import annotations

from typing import Any

import numpy as np

PAGES = 10  # from one place to the next: pages of a file are not counted one by one


def planes_of(stack: np.ndarray | None) -> dict[str, Any]:  # (Z, C, H, W)
    """What the server says of a stack, or of a plain photo."""
    pages, channels = (1, 0) if stack is None else stack.shape[:2]
    return {
        "first": 0,
        "pages": [{"page": PAGES * z, "name": f"Z {z}"} for z in range(pages)],
        "channels": [f"Dye {c}" for c in range(channels)],
        "colours": stack is None,
        "pixel": None if stack is None else {"size": 0.5, "unit": "µm"},
    }


def plane_of(stack: np.ndarray, query: dict[str, list[str]]) -> np.ndarray:  # -> (H, W, 3)
    page, channel = (int(query.get(name, ["0"])[0]) for name in ("page", "channel"))
    return np.repeat(stack[page // PAGES, channel][..., None], 3, axis=2)


def proposal(record: Any) -> dict[str, Any]:
    saved = record.to_sa1b()
    x0, y0, x1, y1 = record.box_xyxy
    return {
        "rle": saved["segmentation"],
        "box": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": record.area,
        "quality": record.quality,
        "label": None,
        "status": "proposal",
        "provenance": {"by": "model"},
    }


REPORT = {
    "saving": None,
    "paces": [{"stage": "semi", "masks_an_hour": 240, "mean_iou": 0.9123}],
    "verdicts": {},
}
