"""Bounds of stability hold for what is really drawn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anymask.masks import ModelSpec, geometry, logits_to_image, stability_score
from anymask.segment.everything.filter import stability_range

SPEC = ModelSpec(name="tiny", image_side=64)
SIDES = st.integers(1, 150)


@given(SIDES, SIDES, st.sampled_from([1, 3, 8, 16, 64]), st.integers(0, 2**31), st.booleans())
def test_the_stability_lies_between_its_bounds(
    height: int, width: int, side: int, seed: int, smooth: bool
) -> None:
    place = geometry((height, width), SPEC)
    logits = np.random.default_rng(seed).standard_normal((side, side)).astype(np.float32) * 4
    if smooth:
        logits = np.cumsum(np.cumsum(logits, 0), 1) / side
    truth = float(stability_score(logits_to_image(logits[None], place), 0.2, 1.0)[0])
    low, high = stability_range(logits, place, 0.2, 1.0)
    assert low <= truth <= high


def test_a_clear_mask_leaves_little_open_and_an_empty_one_nothing() -> None:
    place = geometry((600, 900), ModelSpec(name="large"))
    y, x = np.mgrid[:256, :256]
    disc = (60 - np.hypot(x - 100, y - 80)).astype(np.float32)
    low, high = stability_range(disc, place, 0.0, 1.0)
    assert 0.85 < low <= high <= 1
    assert stability_range(np.full((256, 256), -9, np.float32), place, 0.0, 1.0) == (0, 0)
    assert stability_range(np.full((256, 256), 9, np.float32), place, 0.0, 1.0) == (1, 1)
