"""A mask is its logits, or the pixels that a later step decided on; every reader sees the same."""

from dataclasses import replace

import numpy as np
import pytest

from anymask.primitives.candidates import Candidates, Mask
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import records_from_candidates
from anymask.primitives.resize import geometry
from anymask.primitives.rle import mask_to_rle, rle_to_mask
from anymask.primitives.spec import ModelSpec

PLACE = geometry((30, 40), ModelSpec(name="tiny", image_side=64))


def answer() -> Candidates:
    """A full mask and an empty one."""
    logits = np.full((2, 16, 16), -1, np.float32)
    logits[0] = 1
    return Candidates.of_logits(logits, np.array([0.5, 0.9], np.float32), np.array([1, 0]), PLACE)


def decided(one: Mask) -> tuple[Mask, np.ndarray]:
    """The mask with pixels that no logits would draw."""
    pixels = np.zeros((30, 40), np.bool_)
    pixels[3:5, 7:11] = pixels[20, 39] = True
    return one.with_pixels(pixels), pixels


def test_masks_are_made_once_and_only_when_looked_at() -> None:
    given = answer()
    assert len(given) == 2
    assert "masks" not in vars(given)
    assert given.masks.shape == (2, 30, 40)
    assert given.masks.dtype == np.bool_
    assert given.masks[0].all()
    assert not given.masks[1].any()
    assert given.masks is given.masks


def test_each_mask_has_its_own_number_and_its_place() -> None:
    given = answer()
    assert [one.quality for one in given.items] == [0.5, pytest.approx(0.9)]
    assert given.quality.dtype == np.float32
    assert given.order.tolist() == [one.order for one in given.items] == [1, 0]
    assert given.first is given.items[0]
    turned = given.picked([1, 0])
    assert turned.quality.tolist() == given.quality[::-1].tolist()
    assert turned.first is given.items[1]


def test_run_lengths_and_pixels_are_the_same_mask() -> None:
    given = answer()
    for one, rle, mask in zip(given.items, given.rles(), given.masks, strict=True):
        np.testing.assert_array_equal(one.pixels(), mask)
        np.testing.assert_array_equal(rle_to_mask(rle), mask)
        assert one.rle() == rle == mask_to_rle(mask)


def test_decided_pixels_win_wherever_a_mask_is_read() -> None:
    given = answer()
    one, pixels = decided(given.first)
    finished = replace(given, items=(one, given.items[1]))
    wanted = mask_to_rle(pixels)
    np.testing.assert_array_equal(finished.masks, [pixels, np.zeros_like(pixels)])
    np.testing.assert_array_equal(finished.first.pixels(), pixels)
    assert finished.rles()[0] == finished.first.rle() == wanted
    record = records_from_candidates(finished, Prompt.of(points=[(8, 4)]))[0]
    assert record.rle == wanted
    assert record.area == pixels.sum() == 9
    assert record.box_xyxy == (7, 3, 39, 20)


def test_decided_pixels_leave_what_is_fed_back() -> None:
    one, _ = decided(answer().first)
    np.testing.assert_array_equal(one.logits, answer().first.logits)


def test_replacing_anything_else_keeps_the_decided_pixels() -> None:
    given = answer()
    one, pixels = decided(given.first)
    finished = replace(given, items=(one, given.items[1]))
    _ = finished.masks  # what was looked at before is no reason to forget
    for changed in (
        replace(finished, violated_points=(0,)),
        finished.picked([0]),
        finished.picked([1, 0]).picked([1]),
        Candidates((replace(one, quality=0.1, order=5),)),
    ):
        np.testing.assert_array_equal(changed.masks[0], pixels)


def test_other_logits_are_another_mask() -> None:
    one, _ = decided(answer().first)
    assert not one.with_logits(np.full((16, 16), -2, np.float32)).pixels().any()


def test_the_cells_of_a_mask_are_those_of_the_photo() -> None:
    """30 x 40 fills 48 of 64 rows, that is 12 of 16."""
    assert answer().cells().tolist() == [12 * 16, 0]
