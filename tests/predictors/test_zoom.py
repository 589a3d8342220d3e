"""Small objects on a closer look."""

import numpy as np
import pytest

from anymask.predictors.image import Model
from anymask.primitives.prompts import Prompt
from tests.predictors.fakes import ColourRuntime, PerverseRuntime, discs, iou

PICTURE, (SMALL, BIG) = discs((600, 900), [(100, 120, 25), (600, 300, 250)])


class Blunt(ColourRuntime):
    """A model that likes large objects less."""

    def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
        logits, quality = super().decode(*asked)
        return logits, 1 - quality


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt.of(points=[(100, 120)]),
        Prompt.of(points=[(100, 120), (500, 20)], labels=[1, 0]),
        Prompt.of(box=(70, 90, 131, 151)),
        Prompt.of(points=[(100, 120)], mask=SMALL),
        Prompt.of(points=[(100, 120)], mask=SMALL[::7, ::5]),
    ],
)
@pytest.mark.parametrize("zoom", [True, "auto"])
def test_a_small_object_is_drawn_more_finely(prompt: Prompt, zoom: bool | str) -> None:
    model = Model(ColourRuntime())
    (plain,) = model.segment(PICTURE, prompts=[prompt])
    (zoomed,) = model.segment(PICTURE, prompts=[prompt], zoom=zoom)
    assert zoomed.quality[0] > plain.quality[0]
    assert iou(zoomed.masks[0], SMALL) > iou(plain.masks[0], SMALL)
    assert zoomed.masks.shape == (len(zoomed), 600, 900)
    assert zoomed.logits.shape == (len(zoomed), 64, 64)
    assert zoomed.geometry == plain.geometry
    assert zoomed.violated_points == ()


def test_the_logits_of_a_closer_look_speak_of_the_whole_photo() -> None:
    model = Model(ColourRuntime())
    zoomed = model.segment(PICTURE, points=[(100, 120)], zoom=True)
    again = model.segment(PICTURE, mask=zoomed.logits[0], multimask=False)
    assert iou(again.masks[0], SMALL) > 0.7


def test_a_closer_look_of_lower_quality_is_dropped() -> None:
    model = Model(Blunt())
    plain = model.segment(PICTURE, points=[(100, 120)])
    zoomed = model.segment(PICTURE, points=[(100, 120)], zoom=True)
    np.testing.assert_array_equal(plain.masks, zoomed.masks)


def test_large_objects_are_not_looked_at_again() -> None:
    runtime = ColourRuntime()
    Model(runtime).segment(PICTURE, points=[(600, 300)], zoom=True)
    assert len(runtime.calls) == 1


def test_auto_looks_only_at_what_is_small() -> None:
    picture, _ = discs((600, 900), [(300, 300, 130)])
    for zoom, looks in ((True, 2), ("auto", 1)):
        runtime = ColourRuntime()
        Model(runtime).segment(picture, points=[(300, 300)], zoom=zoom)
        assert len(runtime.calls) == looks


def test_negative_clicks_hold_on_a_closer_look() -> None:
    model = Model(PerverseRuntime())
    answer = model.segment(PICTURE, points=[(100, 120), (110, 125)], labels=[1, 0], zoom=True)
    assert not answer.masks[0][124:127, 109:112].any()


def test_an_object_at_the_border_stays_there() -> None:
    picture, (corner,) = discs((600, 900), [(0, 599, 40)])
    answer = Model(ColourRuntime()).segment(picture, points=[(3, 590)], zoom=True)
    assert iou(answer.masks[0], corner) > 0.9


def test_nothing_to_look_at_is_no_reason_to_fail() -> None:
    answer = Model(ColourRuntime()).segment(PICTURE, points=[(5, 5)], labels=[0], zoom=True)
    assert not answer.masks.any()
