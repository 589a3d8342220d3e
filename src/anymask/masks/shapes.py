"""Connected parts and distance transform of a mask, using only NumPy.

`anymask export` copies this file next to the `example.py` of an exported model. The package uses
the faster functions of OpenCV (`masks.binary.OPENCV`); a test compares both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def connected_parts(
    mask: NDArray[np.bool_], connectivity: int
) -> NDArray[np.int64]:  # (h, w) -> (h, w)
    """Label connected parts from 1 in order of their first cells, 0 outside."""
    width = mask.shape[1] + 2  # keeps neighbours beyond a row's end in the same row
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)  # the runs of each row
    ends = np.nonzero(steps == -1)[1]
    reach, above = int(connectivity == 8), (rows - 1) * width
    low = np.searchsorted(rows * width + ends, above + starts - reach, side="right")
    high = np.searchsorted(rows * width + starts, above + ends + reach, side="left")
    root = list(range(len(rows)))

    def find(run: int) -> int:
        while root[run] != run:
            root[run] = root[root[run]]
            run = root[run]
        return run

    for run, touched in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        for other in range(*touched):
            first, second = sorted((find(run), find(other)))
            root[second] = first
    _, number = np.unique([find(run) for run in range(len(root))], return_inverse=True)
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(number.ravel() + 1, ends - starts)
    return labels


# Lengths of steps to a straight, a diagonal and a knight's-move neighbour, in 1 / 65536 of a cell
# (Borgefors 1986, "Distance transformations in digital images", the optimal 5 x 5 mask).
STRAIGHT, DIAGONAL, KNIGHT, UNIT = 65536, 91750, 143976, 65536


def chamfer_depths(mask: NDArray[np.bool_]) -> NDArray[np.float32]:  # (h, w) -> (h, w)
    """Distance of each cell to the background in cells; the grid border counts as background."""
    depth = np.pad(np.where(mask, np.int64(1) << 40, 0), 3)
    inside = np.pad(mask, 3)
    around = ((0, STRAIGHT), (-1, DIAGONAL), (1, DIAGONAL), (-2, KNIGHT), (2, KNIGHT))
    along = STRAIGHT * np.arange(depth.shape[1])
    for turned, cells in ((depth, inside), (depth[::-1, ::-1], inside[::-1, ::-1])):
        for row in range(3, len(turned) - 3):
            near, far, line = turned[row - 1], turned[row - 2], turned[row].copy()
            for step, length in around:
                line[3:-3] = np.minimum(line[3:-3], near[3 + step : len(near) - 3 + step] + length)
            for step in (-1, 1):
                line[3:-3] = np.minimum(line[3:-3], far[3 + step : len(far) - 3 + step] + KNIGHT)
            line[~cells[row]] = 0
            turned[row] = np.minimum.accumulate(line - along) + along  # propagates along the row
    return (depth[3:-3, 3:-3] / UNIT).astype(np.float32)
