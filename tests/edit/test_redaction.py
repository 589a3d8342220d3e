"""Redaction of a photo where masks are, by hand-computed cases."""

import numpy as np

from anymask.edit import redact
from anymask.masks import Mask, Masks, mask_to_rle
from tests.evaluation.small_sets import rectangle

MASK = rectangle((60, 80), (30, 20, 60, 40))
NOISE = np.random.default_rng(3).integers(0, 255, (60, 80, 3)).astype(np.uint8)


def test_solid_leaves_nothing_of_the_thing() -> None:
    hidden = redact(NOISE, MASK)
    assert not hidden[MASK].any()
    assert not hidden[19:41, 29:61].any()  # a margin, too
    np.testing.assert_array_equal(hidden[:15], NOISE[:15])
    assert (redact(NOISE, MASK, color="white")[MASK] == 255).all()


def test_large_pixels_leave_few_colours() -> None:
    hidden = redact(NOISE, MASK, "pixels")
    assert len(np.unique(hidden[MASK], axis=0)) <= 16
    np.testing.assert_array_equal(hidden[:15], NOISE[:15])


def test_what_a_model_answered_is_taken_as_it_is() -> None:
    one, other = MASK.copy(), MASK.copy()
    one[:, 45:] = other[:, :45] = False
    objects = [Mask(mask_to_rle(part)) for part in (one, other)]
    np.testing.assert_array_equal(redact(NOISE, Masks(objects)), redact(NOISE, MASK))
    np.testing.assert_array_equal(redact(NOISE, objects[0]), redact(NOISE, one))
    nothing = Masks([], image_hw=MASK.shape)
    np.testing.assert_array_equal(redact(NOISE, nothing), NOISE)
