"""Many run-lengths at once: as each by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.base import DataError
from anymask.masks import mask_to_rle, rle_area, rle_batches, rle_merge, rle_to_string, union_areas


@st.composite
def images(draw: st.DrawFn) -> list[list[np.ndarray]]:  # groups of masks of one picture
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = []
    for _ in range(draw(st.integers(0, 5))):
        hw = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        shares = draw(st.lists(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), max_size=4))
        groups.append([rng.random(hw) < share for share in shares])
    return groups


@settings(deadline=None)
@given(images(), st.sampled_from([1, 30, 10_000]))
def test_unions_are_those_of_each_group(groups: list[list[np.ndarray]], characters: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle_batches, "CHARACTERS", characters)
        texts = [rle_to_string(mask_to_rle(mask)) for masks in groups for mask in masks]
        pixels = np.array([mask.size for masks in groups for mask in masks], np.int64)
        pages = np.repeat(np.arange(len(groups)), [len(masks) for masks in groups])
        # Each picture as a group, and the masks with an even and an odd number apart.
        apart = 2 * pages + np.arange(len(texts)) % 2
        whole, halves = union_areas(texts, pixels, pages, pages, apart)
    flat = [mask for masks in groups for mask in masks]
    for numbers, found in ((pages, whole), (apart, halves)):
        for number, area in enumerate(found.tolist()):
            mine = [mask for mask, own in zip(flat, numbers, strict=True) if own == number]
            assert area == (np.logical_or.reduce(mine).sum() if mine else 0)
            assert not mine or area == rle_area(rle_merge([mask_to_rle(mask) for mask in mine]))


@pytest.mark.parametrize(
    "text", ["", "0", "P", "000P", "~", "é", "52203`0", "o" * 20 + "0", "nnnnnnnnnnn0", "`0"]
)
def test_damaged_run_lengths_are_refused(text: str) -> None:
    good = rle_to_string(mask_to_rle(np.eye(6, dtype=bool)))
    with pytest.raises(DataError, match="Invalid run lengths"):
        union_areas([good, text, good], np.array([36, 36, 36]), np.array([0, 0, 1]), np.arange(3))
