"""Changes of a photo where masks are, by hand-computed cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import Mask, Masks, mask_to_rle
from anymask_inpaint import blur, collage, remove, replace

PLAIN = np.full((60, 80, 3), (40, 90, 160), np.uint8)
MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:60] = True
IMAGE = np.where(MASK[..., None], np.array([230, 30, 30], np.uint8), PLAIN)
NOISE = np.random.default_rng(3).integers(0, 255, (60, 80, 3)).astype(np.uint8)


def test_what_is_taken_out_of_a_plain_photo_leaves_it_plain() -> None:
    assert np.abs(remove(IMAGE, MASK).astype(int) - PLAIN).max() <= 3


def test_a_blur_stays_inside_the_object() -> None:
    blurred = blur(NOISE, MASK)
    assert blurred[24:36, 34:56].std() < 0.5 * NOISE[24:36, 34:56].std()
    np.testing.assert_array_equal(blurred[:5], NOISE[:5])


def test_a_picture_takes_the_object_s_place() -> None:
    green = np.full((7, 9, 3), (0, 200, 0), np.uint8)
    changed = replace(IMAGE, MASK, green)
    np.testing.assert_array_equal(changed[25:35, 35:55], np.broadcast_to((0, 200, 0), (10, 20, 3)))
    np.testing.assert_array_equal(changed[:5], IMAGE[:5])


def test_a_collage_holds_each_thing_once() -> None:
    small = np.zeros((60, 80), bool)
    small[2:8, 2:8] = True
    image = IMAGE.copy()
    image[small] = (0, 255, 0)  # so small that its rim is all of it
    sheet = collage(image, [small, MASK])
    assert (sheet == (230, 30, 30)).all(axis=2).sum() == pytest.approx(MASK.sum(), rel=0.15)
    assert (sheet == (0, 255, 0)).all(axis=2).any()
    assert (sheet[0] == 255).all()


@pytest.mark.parametrize(
    ("change", "rest"),
    [(remove, ()), (blur, ()), (replace, (PLAIN,))],
    ids=["remove", "blur", "replace"],
)
def test_a_mask_that_does_not_fit_is_refused(change: Callable[..., Any], rest: Any) -> None:
    with pytest.raises(InputError, match="same size"):
        change(IMAGE, MASK[1:], *rest)
    with pytest.raises(InputError, match="empty"):
        change(IMAGE, MASK & False, *rest)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: remove(IMAGE, MASK | True), "whole"),
        (lambda: blur(IMAGE, MASK, 0), "width"),
        (lambda: collage(IMAGE, []), "at least one mask"),
    ],
    ids=["whole", "width", "no masks"],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        call()


def test_what_a_model_answered_is_taken_as_it_is() -> None:
    one, other = MASK.copy(), MASK.copy()
    one[:, 45:] = other[:, :45] = False
    objects = [Mask(mask_to_rle(part)) for part in (one, other)]
    np.testing.assert_array_equal(blur(NOISE, Masks(objects)), blur(NOISE, MASK))
    np.testing.assert_array_equal(blur(NOISE, objects[0]), blur(NOISE, one))
    with pytest.raises(InputError, match="empty"):
        remove(NOISE, Masks([], image_hw=MASK.shape))
