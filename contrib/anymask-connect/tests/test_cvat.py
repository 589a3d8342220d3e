"""CVAT's detection, interaction and tracking."""

from __future__ import annotations

import numpy as np
import pytest

from anymask.base import InputError
from anymask.formats import mask_to_cvat
from anymask.segment import Model
from anymask_connect import CvatModel, mask_to_shape, shape_to_mask
from tests.segment.fakes import ColorRuntime, discs, iou
from tests.studio.servers import IMAGE, LEFT, RIGHT

MODEL = CvatModel(Model(ColorRuntime()))
HW = (80, 120)


def test_detection_finds_what_everything_finds() -> None:
    expected = [mask_to_cvat(record.rle) for record in MODEL.model.everything(IMAGE)]
    found = MODEL.detect(IMAGE)
    assert found
    assert [one.mask for one in found] == expected
    assert all(0 <= one.score <= 1 for one in found)
    least = sorted(one.score for one in found)[-1]
    assert all(one.score >= least for one in MODEL.detect(IMAGE, least))


@pytest.mark.parametrize(
    ("positive", "negative", "box", "disc"),
    [
        ([(35, 40)], [], None, LEFT),
        ([(95, 40)], [(3, 3)], None, RIGHT),
        ([], [], [75, 20, 115, 60], RIGHT),
    ],
)
def test_interaction_answers_clicks_and_boxes(positive, negative, box, disc) -> None:
    features = MODEL.preprocess(IMAGE)
    found = MODEL.interact(features, positive, negative, box)
    assert found is not None
    assert iou(shape_to_mask("mask", found.mask, HW), disc) > 0.8


@pytest.mark.parametrize("kind", ["mask", "polygon", "rectangle"])
def test_tracking_follows_a_disc_that_moves(kind: str) -> None:
    frames = [discs(HW, [(35 + 4 * step, 40, 20)]) for step in range(5)]
    first, (start,) = frames[0]
    state = MODEL.begin(MODEL.preprocess_frame(first), kind, mask_to_shape(kind, start))
    for image, (disc,) in frames[1:]:
        points = MODEL.follow(MODEL.preprocess_frame(image), state)
        assert points is not None
        expected = shape_to_mask(kind, mask_to_shape(kind, disc), HW)
        assert iou(shape_to_mask(kind, points, HW), expected) > 0.75


def test_an_object_that_is_gone_is_not_made_up() -> None:
    first, (start,) = discs(HW, [(35, 40, 20)])
    state = MODEL.begin(MODEL.preprocess_frame(first), "mask", mask_to_shape("mask", start))
    elsewhere, _ = discs(HW, [(35, 40, 6)])
    assert MODEL.follow(MODEL.preprocess_frame(elsewhere), state) is None


def test_a_mask_there_and_back_is_the_same_and_a_polygon_follows_the_edge() -> None:
    same, smooth = (
        shape_to_mask(kind, mask_to_shape(kind, LEFT), HW) for kind in ("mask", "polygon")
    )
    np.testing.assert_array_equal(same, LEFT)
    assert 0.97 < iou(smooth, LEFT) < 1


def test_a_shape_without_an_area_is_refused() -> None:
    with pytest.raises(
        InputError, match="Unknown shape 'points'. Use one of mask, polygon, rectangle"
    ):
        shape_to_mask("points", [1, 2], HW)
