"""Worse photos, clicks that are off, and what they cost."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from anymask.data.sets import load_set
from anymask.evaluation.adapters import FromFunction
from anymask.evaluation.protocols import BOX, CLICKS, TruthMask
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.evaluation.set_results import NotMeasured
from anymask.primitives.clicks import centre_click
from research.paper.baselines import filled_box
from research.paper.robustness import (
    CHANGES,
    SHOWN_CHANGES,
    PhotoChange,
    change_photo,
    describe_robustness,
    measure_robustness,
    shift_click,
)
from tests.evaluation.small_sets import perfect, rectangle, write_set

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)).filter(np.any)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 1024, 3)).astype(np.uint8)


@pytest.fixture
def boxes(tmp_path: Path) -> EvalSet:
    photos = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(1, 1, 30, 30)]]
    return EvalSet(SetPlan(name="boxes"), *load_set(write_set(tmp_path / "boxes", photos)))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_keeps_size_and_type_and_is_the_same_every_time(
    image: np.ndarray, change: PhotoChange
) -> None:
    before = image.copy()
    worse = change_photo(image, change)
    assert (worse.shape, worse.dtype) == (image.shape, image.dtype)
    assert np.array_equal(worse, change_photo(image, change))
    assert np.array_equal(image, before)
    assert np.array_equal(worse, image) == (change.kind == "shift")


def test_blur_is_scipys_and_scales_with_the_photo(image: np.ndarray) -> None:
    expected = ndimage.gaussian_filter(image.astype(float), (2, 2, 0), mode="mirror", truncate=3)
    off = np.abs(change_photo(image, PhotoChange("blur", 2)).astype(float) - expected)
    assert off.max() <= 2
    small = image[:, :512]
    assert np.array_equal(
        change_photo(small, PhotoChange("blur", 2)), cv2.GaussianBlur(small, (0, 0), 1)
    )


def test_noise_and_gamma_are_what_they_say() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = change_photo(grey, PhotoChange("noise", 25)).astype(float)
    assert noisy.std() == pytest.approx(25, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.5)
    assert (change_photo(grey, PhotoChange("gamma", 2)) == round(255 * (128 / 255) ** 2)).all()


def test_jpeg_is_what_pillow_reads_of_it(image: np.ndarray) -> None:
    smooth = cv2.GaussianBlur(image, (0, 0), 8)
    worse = change_photo(smooth, PhotoChange("jpeg", 50)).astype(float)
    assert 0 < np.abs(worse - smooth).mean() < 4
    assert np.abs(worse.mean((0, 1)) - smooth.mean((0, 1))).max() < 2  # channels in order


@given(MASKS, st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_a_moved_click_stays_on_the_object(mask: np.ndarray, share: float) -> None:
    x, y = shift_click(TruthMask(mask), share)
    assert mask[round(y), round(x)]  # a pixel's centre is its whole number
    if share == 0:
        assert (x, y) == centre_click(mask)


def test_a_moved_click_moves_by_its_share_of_the_depth() -> None:
    """In a square of 41 pixels the centre is 21 from the border: 20 may be moved, half is 10."""
    mask = rectangle((60, 60), (10, 10, 51, 51))
    x, y = shift_click(TruthMask(mask), 0.5)
    assert np.hypot(x - 30, y - 30) == pytest.approx(10)


def test_a_method_that_always_finds_the_object_loses_nothing_to_shifts(boxes: EvalSet) -> None:
    result = measure_robustness(perfect(), boxes, EvalSettings())
    (table,) = result.tables
    drops = {row[:2]: row[3] for row in table.rows}
    assert drops["click", "shift 0.75"] == 0
    assert drops["click", "noise 25"] > 0.5  # it wants the very same colour
    assert ("box", "shift 0.5") not in drops
    names = [figure.name for figure in result.figures]
    assert names[0] == "click"
    assert "box lost to jpeg 20" in names


def test_drops_are_differences_mask_by_mask() -> None:
    scores = np.zeros((3, 1, 1 + len(CHANGES)))
    scores[:, 0, 0] = (0.9, 0.6, 0.3)
    scores[:, 0, 2] = (0.8, 0.6, 0.4)  # blur 2
    result = describe_robustness(scores, np.array([0, 1, 2]), ["point"])
    clean, blur, *_ = result.figures
    assert (clean.name, clean.value) == ("click", pytest.approx(0.6))
    assert (blur.name, blur.value) == ("click lost to blur 2", pytest.approx(0))
    assert (blur.low, blur.high) == (pytest.approx(-0.1), pytest.approx(0.1))
    assert result.curves[0].y[1] == pytest.approx(0.6)
    assert len(result.figures) == 1 + len(SHOWN_CHANGES)


def test_a_method_of_boxes_is_measured_by_boxes_alone(boxes: EvalSet) -> None:
    result = measure_robustness(FromFunction("filled box", BOX, filled_box), boxes, EvalSettings())
    assert {row[0] for row in result.tables[0].rows} == {"box"}
    assert all(figure.value in (0, 1) for figure in result.figures)


def test_a_method_of_neither_is_not_measured(boxes: EvalSet) -> None:
    words = FromFunction("words", CLICKS - {"point"}, filled_box)
    with pytest.raises(NotMeasured, match="neither clicks nor boxes"):
        measure_robustness(words, boxes, EvalSettings())
