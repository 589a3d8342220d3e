"""Run lengths are pycocotools' to the byte."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from anymask.base import DataError, InputError
from anymask.masks import Mask, Masks
from anymask.masks import rle as R
from tests.masks.strategies import Pixels, mask_lists, masks, quickly, thoroughly


def coco_encode(mask: Pixels) -> dict:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


@thoroughly
@given(masks())
def test_strings_and_boxes_equal_pycocotools(mask: Pixels) -> None:
    ours, theirs = R.mask_to_rle(mask), coco_encode(mask)
    assert R.rle_to_string(ours) == theirs["counts"].decode()
    assert R.string_to_rle(theirs["counts"], mask.shape) == ours
    x, y, width, height = coco.toBbox(theirs).tolist()
    assert R.rle_box_xywh(ours) == (x, y, width, height)
    assert Mask(ours).xyxy == (x, y, x + width, y + height)
    assert Masks([Mask(ours)]).xyxy.tolist() == [[x, y, x + width, y + height]]
    assert R.rle_area(ours) == coco.area(theirs) == mask.sum()


@thoroughly
@given(masks())
def test_a_mask_survives_every_form(mask: Pixels) -> None:
    rle = R.mask_to_rle(mask)
    decoded = R.rle_to_mask(rle)
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)
    assert R.coco_to_rle(json.loads(json.dumps(R.rle_to_coco(rle)))) == rle
    assert R.coco_to_rle({"size": mask.shape, "counts": rle.counts.tolist()}) == rle
    assert hash(R.mask_to_rle(mask.astype(np.uint8) * 255)) == hash(rle)


@quickly
@given(mask_lists(), st.booleans())
def test_merging_and_overlap_equal_pycocotools(given_masks: list[Pixels], intersect: bool) -> None:
    ours = [R.mask_to_rle(mask) for mask in given_masks]
    theirs = [coco_encode(mask) for mask in given_masks]
    merged = coco.merge(theirs, intersect=intersect)
    assert R.rle_to_string(R.rle_merge(ours, intersect=intersect)) == merged["counts"].decode()
    stack = np.stack(given_masks).reshape(len(given_masks), -1).astype(np.int64)
    np.testing.assert_array_equal(R.rle_intersection(ours, ours), stack @ stack.T)
    filled = [index for index, mask in enumerate(given_masks) if mask.any()]
    if filled:
        a = [theirs[index] for index in filled]
        expected = coco.iou(a, a, [0] * len(a))
        np.testing.assert_array_equal(R.rle_iou(ours, ours)[np.ix_(filled, filled)], expected)


@thoroughly
@given(masks(largest=9), st.tuples(*[st.integers(0, 3)] * 4))
def test_a_crop_encodes_like_the_whole_photo(mask: Pixels, margins: tuple[int, ...]) -> None:
    top, bottom, left, right = margins
    whole = np.pad(mask, ((top, bottom), (left, right)))
    assert R.crop_to_rle(mask, (left, top), whole.shape) == R.mask_to_rle(whole)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_masks_without_pixels_are_no_accident(shape: tuple[int, int]) -> None:
    rle = R.mask_to_rle(np.zeros(shape, np.bool_))
    assert rle.counts.tolist() == [0]
    assert R.rle_to_mask(rle).shape == shape
    assert R.rle_box_xyxy(rle) == R.rle_box_xywh(rle) == (0, 0, 0, 0)
    assert R.string_to_rle(R.rle_to_string(rle), shape) == rle
    assert R.crop_to_rle(np.zeros(shape, np.bool_), (1, 1), (9, 9)) == R.empty_rle((9, 9))


def test_no_masks_have_no_overlaps() -> None:
    one = R.mask_to_rle(np.ones((2, 2), np.bool_))
    assert R.rle_iou([], [one]).shape == (0, 1)
    assert R.rle_iou([one], []).shape == (1, 0)


def test_two_empty_masks_overlap_by_nothing() -> None:
    empty = R.empty_rle((3, 4))
    assert R.rle_iou([empty], [empty])[0, 0] == 0


def test_long_runs_keep_their_bytes() -> None:
    counts = np.array([5, 2**28, 1, 7, 2**29, 3], np.int64)
    rle = R.Rle(counts, (int(counts.sum()), 1))
    assert R.string_to_rle(R.rle_to_string(rle), rle.size) == rle


def test_equality_needs_the_size_too() -> None:
    assert R.empty_rle((2, 3)) != R.empty_rle((3, 2))
    assert R.empty_rle((2, 3)) != "RLE"


@quickly
@given(st.binary(max_size=30))
def test_foreign_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        rle = R.string_to_rle(text, (6, 7))
    except DataError:
        return
    assert R.rle_to_mask(rle).shape == (6, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("é1", "characters '0' to 'o'"),
        ("o", "a complete number"),
        ("o" * 30 + "0", "at most 12 are supported"),
        ("O", "must not be negative, but -1"),
        ("7", r"A run of 7 pixels is longer than the whole image \(H \* W = 6\)"),
        ("5", r"sum to H \* W = 2 \* 3 = 6, but their sum is 5"),
        ("", r"sum to H \* W = 2 \* 3 = 6, but their sum is 0"),
    ],
)
def test_a_bad_string_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        R.string_to_rle(text, (2, 3))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "Invalid COCO run-length record"),
        ({"size": [2], "counts": "6"}, "Invalid COCO run-length record"),
        ({"size": [2, 3], "counts": [[1.5], "x"]}, "Invalid COCO run-length record"),
        ({"size": [2, 3], "counts": [7, -1]}, "must not be negative"),
        ({"size": [-2, -3], "counts": [6]}, "size must not be negative, but H=-2, W=-3"),
        ({"size": [2, 3], "counts": [5]}, r"sum to H \* W"),
        ({"size": [100000, 60000], "counts": "0"}, "too large. At most 2147483648 pixels"),
        ({"size": [100000, 60000], "counts": [6]}, "H=100000, W=60000 is too large"),
    ],
)
def test_a_bad_record_says_what_is_wrong(record: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        R.coco_to_rle(record)


def wrapped_runs(pixels: int) -> np.ndarray:
    """Four runs whose sum is 2^64 more than the pixels: in 64 bits it looks right."""
    return np.array([2**62, 2**62, 2**62, 2**62 + pixels], np.int64)


def test_runs_whose_sum_leaves_64_bits_are_refused() -> None:
    pixels = 64 * 64
    assert wrapped_runs(pixels).sum() == pixels
    record = {"size": [64, 64], "counts": wrapped_runs(pixels).tolist()}
    with pytest.raises(
        DataError,
        match=r"A run of 46116860\d+ pixels is longer than the whole image \(H \* W = 4096\)",
    ):
        R.coco_to_rle(record)
    many = np.full(64, 2**58, np.int64)
    many[-1] += pixels
    assert many.sum() == pixels
    text = R.rle_to_string(R.Rle(many, (64, 64)))
    with pytest.raises(DataError, match="longer than the whole image"):
        R.string_to_rle(text, (64, 64))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: R.mask_to_rle(np.ones((1, 2, 2), np.bool_)), r"shape \(1, 2, 2\)"),
        (lambda: R.crop_to_rle(np.ones((2, 2)), (3, 0), (4, 4)), "is outside the image"),
        (lambda: R.rle_merge([]), "Pass at least one mask"),
        (lambda: R.rle_iou([R.empty_rle((2, 2))], [R.empty_rle((3, 3))]), "different sizes"),
    ],
)
def test_wrong_input_is_named(call: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        call()
