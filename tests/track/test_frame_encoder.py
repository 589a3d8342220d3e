"""A frame that fills a smaller part of the model's square means the same to its decoder."""

from __future__ import annotations

import numpy as np
import pytest

import anymask
from anymask.base import InputError
from anymask.segment import Model
from anymask.track import FrameEncoder, ImageTracker
from tests.segment.fakes import ColourRuntime, iou
from tests.track.clips import moving_discs

PICTURES, TRUTH = moving_discs(1)
PICTURE = PICTURES[0]


@pytest.fixture(scope="module")
def nano() -> Model:
    return anymask.load()


def test_at_the_models_own_side_a_frame_is_a_photo(nano: Model) -> None:
    own, frame = nano.encode(PICTURE), FrameEncoder(nano, nano.spec.image_side).see(PICTURE)
    assert frame.geometry == own.geometry
    assert frame.image_hash == own.image_hash
    for one, other in zip(frame.maps, own.maps, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_a_smaller_frame_fills_a_part_of_the_maps_and_nothing_the_rest(nano: Model) -> None:
    """128 x 96 at 256 pixels: 16 x 12 cells. In its own square the rest is the same."""
    whole = nano.spec.image_side
    frame = FrameEncoder(nano, 256).see(PICTURE)
    assert (frame.geometry.input_hw, frame.geometry.side) == ((192, 256), whole)
    assert [one.values.shape[1] for one in frame.maps] == [whole // 16, whole // 8, whole // 4]
    for one in frame.maps:
        filled = one.values.shape[1] * 256 // whole
        rest = one.values[:, filled:]
        np.testing.assert_allclose(rest, np.broadcast_to(rest[:, :1, :1], rest.shape), atol=1e-5)
        below = one.values[:, filled * 3 // 4 : filled, :filled]  # filled by the model itself
        np.testing.assert_allclose(below, np.broadcast_to(rest[:, :1, :1], below.shape), atol=1e-4)
        assert one.values[:, : filled * 3 // 4, :filled].std() > 0.01


@pytest.mark.parametrize("side", [256, 416])
def test_a_click_on_a_smaller_frame_finds_the_object(nano: Model, side: int) -> None:
    answer = nano.segment(FrameEncoder(nano, side).see(PICTURE), points=[(30, 30)])
    assert iou(answer.masks[0], TRUTH[0][0]) > 0.8


def test_a_model_of_squares_sees_the_whole_square() -> None:
    model = Model(ColourRuntime())
    encoder = FrameEncoder(model, 64)
    assert encoder.side == 128
    np.testing.assert_array_equal(encoder.see(PICTURE).features, model.encode(PICTURE).features)


@pytest.mark.parametrize(
    ("side", "remedy"), [(100, 96), (500, 512), (16, 32), (0, 32), (-64, 32), (511, 512)]
)
def test_a_side_that_no_map_fits_is_refused_with_the_nearest_one(
    nano: Model, side: int, remedy: int
) -> None:
    wanted = (
        rf"multiple of 32 from 32 to {nano.spec.image_side} for nano, got {side}; take {remedy}$"
    )
    with pytest.raises(InputError, match=wanted):
        ImageTracker(nano, side=side)
    assert ImageTracker(nano, side=remedy).see(PICTURE, PICTURE[..., 0]).keys.values.size


def test_a_side_beyond_the_models_own_is_the_models_own(nano: Model) -> None:
    assert FrameEncoder(nano, 1000).side == nano.spec.image_side
