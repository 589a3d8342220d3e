"""Input for the property tests: masks of every awkward kind, and how many examples to try."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Pixels = NDArray[np.bool_]

# No deadline: a busy machine is not a failure.
quickly = settings(deadline=None, max_examples=40, derandomize=True)
thoroughly = settings(deadline=None, max_examples=120, derandomize=True)


def sizes(largest: int = 24) -> st.SearchStrategy[tuple[int, int]]:
    """(H, W), down to one pixel."""
    return st.tuples(st.integers(1, largest), st.integers(1, largest))


@st.composite
def masks(draw: Any, size: tuple[int, int] | None = None, largest: int = 24) -> Pixels:
    """Empty, full, one pixel, noise of any density, or overlapping rectangles."""
    height, width = draw(sizes(largest)) if size is None else size
    kind = draw(st.sampled_from(["empty", "full", "pixel", "noise", "rectangles"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = np.zeros((height, width), np.bool_)
    if kind == "full":
        mask[:] = True
    elif kind == "pixel":
        mask[rng.integers(height), rng.integers(width)] = True
    elif kind == "noise":
        mask = rng.random((height, width)) < rng.choice([0.1, 0.4, 0.6, 0.9])
    elif kind == "rectangles":
        for _ in range(rng.integers(1, 6)):
            y, x = rng.integers(height), rng.integers(width)
            h, w = rng.integers(1, 2 + height // 2), rng.integers(1, 2 + width // 2)
            mask[y : y + h, x : x + w] ^= True
    return mask


@st.composite
def mask_lists(draw: Any, least: int = 1, most: int = 5) -> list[Pixels]:
    """Several masks of one size."""
    size = draw(sizes())
    return [draw(masks(size)) for _ in range(draw(st.integers(least, most)))]


@st.composite
def boxes(draw: Any, most: int = 8) -> NDArray[np.float64]:
    """(N, 4) xyxy, some without area."""
    n = draw(st.integers(0, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corners = rng.integers(0, 20, (n, 2)) + rng.choice([0.0, 0.5])
    return np.concatenate([corners, corners + rng.integers(0, 12, (n, 2))], axis=1)
