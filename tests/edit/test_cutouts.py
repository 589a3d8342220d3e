"""Cut-outs: what stands where, by hand-computed cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.edit import CutoutSettings, cut_out
from anymask.edit.cutouts import box_slices, covering
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime, discs, iou

IMAGE = np.full((40, 60, 3), (200, 40, 40), np.uint8)
MASK = rectangle((40, 60), (20, 10, 45, 30))


def test_without_a_background_what_is_not_the_object_is_transparent() -> None:
    image = cut_out(IMAGE, MASK, soft=False)
    assert image.shape == (40, 60, 4)
    np.testing.assert_array_equal(image[..., 3], MASK * 255)
    np.testing.assert_array_equal(image[MASK][:, :3], IMAGE[MASK])
    assert not image[~MASK].any()


@pytest.mark.parametrize(
    ("margin", "hw"), [(0, (20, 25)), (5, (30, 35)), (100, (40, 60))], ids=["tight", "5", "all"]
)
def test_a_crop_is_the_object_s_box_with_its_margin(margin: int, hw: tuple[int, int]) -> None:
    assert cut_out(IMAGE, MASK, soft=False, crop=True, margin=margin).shape == (*hw, 4)
    rows, columns = box_slices(MASK, margin)
    assert (rows.start, columns.start) == (max(0, 10 - margin), max(0, 20 - margin))


def test_a_colour_stands_behind_the_object() -> None:
    image = cut_out(IMAGE, MASK, soft=False, background="#102030")
    assert image.shape == (40, 60, 3)
    assert (image[~MASK] == (16, 32, 48)).all()
    np.testing.assert_array_equal(image[MASK], IMAGE[MASK])


def test_a_picture_behind_is_scaled_to_cover_and_cut_at_its_middle() -> None:
    stripes = np.zeros((20, 90, 3), np.uint8)
    stripes[:, 30:60] = 255  # twice as large, the middle 60 of 180 columns are white
    np.testing.assert_array_equal(covering(stripes, (40, 60))[:, 2:-2], 255)
    image = cut_out(IMAGE, MASK, soft=False, background=stripes)
    assert (image[5, 5:-5] == 255).all()


def test_a_blurred_background_holds_nothing_of_the_object() -> None:
    pixels = IMAGE.copy()
    pixels[~MASK] = (0, 90, 0)
    source_image = cut_out(pixels, MASK, soft=False, background="blur")
    assert np.abs(source_image[~MASK].astype(int) - (0, 90, 0)).max() <= 1


def test_a_shadow_lies_below_the_object_only() -> None:
    image = cut_out(IMAGE, MASK, soft=False, shadow=True)
    below, above = image[30, 32, 3], image[9, 32, 3]
    assert 0 < below < 130
    assert below > above
    assert not image[30, 32, :3].any()
    white = cut_out(IMAGE, MASK, soft=False, shadow=True, background="white")
    assert white[30, 32].max() < 200
    assert (white[1, 1] > 250).all()


@pytest.mark.parametrize(
    ("mask", "background", "word"),
    [(MASK & False, None, "empty"), (MASK, "no-such-colour", "color")],
)
def test_what_cannot_be_cut_out_is_refused(
    mask: np.ndarray, background: str | None, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        cut_out(IMAGE, mask, background=background)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"margin": 5}, "crop"),
        ({"crop": True, "margin": -1}, "margin"),
        ({"background": Path("absent.png")}, "does not exist"),
        ({"background": np.zeros((4, 4), np.uint8)}, "array"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        CutoutSettings(**settings)


def test_a_model_cuts_out_what_is_clicked() -> None:
    pixels, (mask,) = discs((60, 90), [(30, 30, 20)])
    model = Model(ColorRuntime())  # finds what has the color of the click
    source_image = model.cutout(pixels, points=[(30, 30)], soft=False)
    assert source_image.mode == "RGBA"
    assert iou(np.asarray(source_image)[..., 3] > 0, mask) > 0.9
    boxed = model.cutout(pixels, points=[(30, 30)], soft=False, crop=True, background="white")
    assert boxed.mode == "RGB"
    assert max(boxed.size) < 45
