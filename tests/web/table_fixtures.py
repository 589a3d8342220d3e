"""Masks and their rows in a table of measurements, for the page's unit tests."""

from typing import Any

import numpy as np

from anymask.masks import Mask, mask_to_rle, measure, rle_to_coco


def tables() -> list[dict[str, Any]]:
    """One photo's masks with the cells that the package writes of each."""
    y, x = np.mgrid[:90, :120]
    away = np.hypot(x - 50, y - 40)
    along, across = (x - 60) * 0.8 + (y - 45) * 0.6, (y - 45) * 0.8 - (x - 60) * 0.6
    pixel, touching = np.zeros((2, 90, 120), bool)
    pixel[7, 5] = True
    touching[10:20, 10:20] = touching[20:24, 20:31] = True  # at a corner only
    waves = np.sin(x / 5) + np.sin(y / 4) + np.sin((x + 2 * y) / 9)
    masks = [
        away < 30,
        (away < 30) & (away > 12),  # a hole
        (along / 38) ** 2 + (across / 9) ** 2 < 1,  # an ellipse that lies askew
        pixel,
        touching,
        (x < 40) & (y > 70) | (x > 100),  # two parts at the photo's border
        (waves > 0.4) | (waves < -1.6),  # many parts and holes
        np.ones((90, 120), bool),
    ]
    cases = []
    for number, mask in enumerate(masks, start=1):
        rle = mask_to_rle(mask)
        label = 'a "cell", round' if number == 1 else None
        named = Mask(rle, score=0.875 if number % 2 else 0.0, label=label)
        cells = measure.table_row("photo.png", number, rle, named)
        cases.append({
            "rle": rle_to_coco(rle), "label": label, "score": named.score,
            "header": list(measure.TABLE_HEADER),
            "row": cells[:3] + [float(cell) for cell in cells[3:]],
        })  # fmt: skip
    return cases
