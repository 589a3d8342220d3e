"""Overlap, stability, small regions and suppression against slow truths and the reference."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from anymask.base import InputError
from anymask.masks import binary as M
from anymask.masks import mask_to_rle, rle_iou
from tests.masks.strategies import Pixels, mask_lists, masks, quickly, thoroughly

EIGHT = np.ones((3, 3), int)
small = arrays(np.bool_, (7, 5))


@quickly
@given(mask_lists())
def test_overlap_equals_counting(given_masks: list[Pixels]) -> None:
    iou = M.mask_iou(np.stack(given_masks), np.stack(given_masks[:2]))
    for i, a in enumerate(given_masks):
        for j, b in enumerate(given_masks[:2]):
            assert iou[i, j] == (a & b).sum() / max((a | b).sum(), 1)


def test_overlap_of_big_masks_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 40, 50)) < 0.5
    whole = M.mask_iou(a, b)
    monkeypatch.setattr(M, "_EXACT", 7)
    np.testing.assert_allclose(M.mask_iou(a, b), whole, rtol=0, atol=1e-15)


def test_masks_of_different_sizes_do_not_overlap() -> None:
    with pytest.raises(InputError, match="of the same size"):
        M.mask_iou(np.zeros((1, 2, 2), np.bool_), np.zeros((1, 2, 3), np.bool_))


def test_stability_counts_the_soft_border() -> None:
    logits = np.array([[[3.0, 0.5, -0.5, -3.0]], [[-9, -9, -9, -9]], [[9, 9, 9, 9]]])
    np.testing.assert_allclose(M.stability_score(logits), [1 / 3, 0, 1])
    np.testing.assert_allclose(M.stability_score(logits, threshold=-2), [1, 0, 1])
    assert M.stability_score(logits[0]) == pytest.approx(1 / 3)


def slow_small_regions(mask: Pixels, area: float, mode: str) -> Pixels:
    """scipy's labels, one region after the other."""
    holes = mode == "holes"
    labels, n = ndimage.label(~mask if holes else mask, structure=EIGHT)
    sizes = [int((labels == label).sum()) for label in range(1, n + 1)]
    out = mask.copy()
    for label, size in enumerate(sizes, start=1):
        keep = not holes and max(sizes) < area and label == 1 + int(np.argmax(sizes))
        if size < area and not keep:
            out[labels == label] = holes
    return out


@thoroughly
@given(masks(), st.integers(0, 40), st.sampled_from(["holes", "islands"]))
def test_small_regions_equal_the_slow_truth(mask: Pixels, area: int, mode: M.RegionMode) -> None:
    before = mask.copy()
    cleaned, changed = M.remove_small_regions(mask, area, mode)
    np.testing.assert_array_equal(mask, before)
    expected = slow_small_regions(mask, area, mode)
    np.testing.assert_array_equal(cleaned, expected)
    if not changed:
        np.testing.assert_array_equal(cleaned, mask)


def test_small_regions_equal_the_reference(shared: Path) -> None:
    with np.load(shared / "golden" / "regions.npz") as golden:
        names = [name for name in golden.files if not name.startswith("mask")]
        for name in names:
            mode, area, index = name.split("_")
            cleaned, _ = M.remove_small_regions(golden[f"mask_{index}"], int(area), mode)
            np.testing.assert_array_equal(cleaned, golden[name], err_msg=name)
    assert len(names) == 36


def test_cleaning_leaves_empty_masks_empty() -> None:
    tiny = np.zeros((3, 3), np.bool_)
    assert not M.clean_mask(tiny, max_hole_area=100, min_island_area=100).any()
    assert M.clean_mask(np.zeros((0, 4), np.bool_), 5, 5).shape == (0, 4)
    assert M.remove_small_regions(np.zeros((0, 4), np.bool_), 5, "holes")[1] is False


def slow_mask_nms(
    given_masks: list[Pixels], scores: NDArray[np.float64], limit: float, share_of: str
) -> list[int]:
    def whole(a: Pixels, b: Pixels) -> int:
        return int((a | b).sum() if share_of == "union" else min(a.sum(), b.sum()))

    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda at: (-scores[at], at)):
        a = given_masks[index]
        rivals = (given_masks[other] for other in kept)
        if all((a & b).sum() / max(whole(a, b), 1) <= limit for b in rivals):
            kept.append(index)
    return kept


@quickly
@given(
    mask_lists(most=8),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    st.integers(0, 999),
    st.sampled_from(["union", "smaller"]),
)
def test_suppression_equals_the_slow_truth(
    given_masks: list[Pixels], limit: float, seed: int, share_of: Literal["union", "smaller"]
) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, len(given_masks)) / 4  # with ties
    rles = [mask_to_rle(mask) for mask in given_masks]
    kept = M.mask_nms(rles, scores, limit, share_of).tolist()
    assert kept == slow_mask_nms(given_masks, scores, limit, share_of)


# The IoU of one pair.


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((2, 2), np.bool_)
    assert M.iou(empty, empty) == 1.0
    assert M.iou(~empty, ~empty, ~empty) == 1.0
    assert M.iou(empty, ~empty) == 0.0


@given(small, small, small)
def test_iou_with_ignored_pixels_is_iou_of_what_is_left(
    first: np.ndarray, second: np.ndarray, ignore: np.ndarray
) -> None:
    assert M.iou(first, second, ignore) == M.iou(first[~ignore], second[~ignore])


@given(small, small)
def test_iou_agrees_with_run_lengths(first: np.ndarray, second: np.ndarray) -> None:
    if first.any() or second.any():
        expected = rle_iou([mask_to_rle(first)], [mask_to_rle(second)])[0, 0]
        assert M.iou(first, second) == pytest.approx(expected)


@given(small, small)
def test_iou_leaves_its_arguments_alone(first: np.ndarray, second: np.ndarray) -> None:
    before = first.copy(), second.copy()
    M.iou(first, second, first)
    assert np.array_equal(first, before[0])
    assert np.array_equal(second, before[1])
