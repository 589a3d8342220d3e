"""An object's mask from frame to frame."""

import numpy as np
import pytest

from anymask.predictors.image import Model
from anymask.predictors.tracking import enlarge_box, track_mask
from tests.predictors.fakes import ColourRuntime, discs, iou

HW = (80, 120)
MODEL = Model(ColourRuntime())


def test_a_disc_that_moves_is_followed() -> None:
    frames = [discs(HW, [(35 + 4 * step, 40, 20)]) for step in range(5)]
    mask = frames[0][1][0]
    for image, (disc,) in frames[1:]:
        found = track_mask(MODEL, MODEL.embed(image), mask)
        assert found is not None
        assert iou(found, disc) > 0.75
        mask = found


def test_an_object_that_is_gone_is_not_made_up() -> None:
    _, (disc,) = discs(HW, [(35, 40, 20)])
    small, _ = discs(HW, [(35, 40, 6)])
    assert track_mask(MODEL, MODEL.embed(small), disc) is None


@pytest.mark.parametrize(
    ("box", "wanted"),
    [((20, 30, 39, 49), (17, 27, 43, 53)), ((0, 0, 119, 79), (0, 0, 120, 80))],
)
def test_the_box_gets_a_margin_inside_of_the_frame(
    box: tuple[int, int, int, int], wanted: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(enlarge_box(box, HW), wanted)
