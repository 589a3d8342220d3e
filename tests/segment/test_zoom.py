"""Objects on a closer look."""

from dataclasses import replace

import numpy as np
import pytest

from anymask.base import FloatArray
from anymask.masks import CropRefinement, EncoderOutput, ModelPrompts, Prompt
from anymask.models.rules import Family, SamFamily
from anymask.segment import (
    Model,
    Prediction,
    PromptContext,
    SegmentSettings,
    answer_prompts,
    pipeline,
)
from tests.segment.fakes import SPEC, ColorRuntime, PerverseRuntime, discs, iou

IMAGE, (SMALL, BIG) = discs((600, 900), [(100, 120, 25), (600, 300, 250)])


ABOUT_SMALL = {
    "click": Prompt.of(points=[(100, 120)]),
    "clicks": Prompt.of(points=[(100, 120), (500, 20)], labels=[1, 0]),
    "box": Prompt.of(box=(70, 90, 131, 151)),
    "click and mask": Prompt.of(points=[(100, 120)], mask=SMALL),
    "click and small mask": Prompt.of(points=[(100, 120)], mask=SMALL[::7, ::5]),
}


class Blunt(ColorRuntime):
    """A model that likes large objects less."""

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        logits, quality = super().decode(features, prompts)
        return logits, 1 - quality


class Gaining(Blunt):
    """A model of a family that gains by windows; its own quality says nothing of it."""

    @property
    def family(self) -> Family:
        family = super().family
        assert isinstance(family, SamFamily)
        close = CropRefinement(margin=1.0, gain=1.2, weight=0.6, min_side=96)
        return replace(family, crop_refinement=close)

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        self.started = bool(prompts.has_mask.any())
        return super().decode(features, prompts)


@pytest.mark.parametrize("prompt", ABOUT_SMALL.values(), ids=ABOUT_SMALL)
def test_a_small_object_is_drawn_more_finely(prompt: Prompt) -> None:
    model = Model(ColorRuntime())
    (plain,) = model.segment(IMAGE, prompts=[prompt])
    (zoomed,) = model.segment(IMAGE, prompts=[prompt], zoom=True)
    assert zoomed.scores[0] > plain.scores[0]
    assert iou(zoomed.masks[0], SMALL) > iou(plain.masks[0], SMALL)
    assert zoomed.masks.shape == (len(zoomed), 600, 900)
    assert zoomed.logits.shape == (len(zoomed), 64, 64)
    assert zoomed.geometry == plain.geometry
    assert zoomed.violated_points == ()


def test_the_logits_of_a_closer_look_speak_of_the_whole_photo() -> None:
    model = Model(ColorRuntime())
    zoomed = model.segment(IMAGE, points=[(100, 120)], zoom=True)
    again = model.segment(IMAGE, mask=zoomed.logits[0], multimask=False)
    assert iou(again.masks[0], SMALL) > 0.7


def test_a_closer_look_of_lower_quality_is_dropped() -> None:
    model = Model(Blunt())
    plain = model.segment(IMAGE, points=[(100, 120)])
    zoomed = model.segment(IMAGE, points=[(100, 120)], zoom=True)
    np.testing.assert_array_equal(plain.masks, zoomed.masks)


CLEAR = ["clicks", "box"]


@pytest.mark.parametrize("name", CLEAR)
def test_a_family_that_gains_by_it_looks_closer_by_itself(name: str) -> None:
    runtime = Gaining()
    (plain,) = Model(runtime).segment(IMAGE, prompts=[ABOUT_SMALL[name]], zoom=False)
    (zoomed,) = Model(runtime).segment(IMAGE, prompts=[ABOUT_SMALL[name]])
    assert iou(zoomed.masks[0], SMALL) > iou(plain.masks[0], SMALL)
    assert zoomed.geometry == plain.geometry
    np.testing.assert_array_equal(zoomed.logits, plain.logits)  # what is fed back
    assert len(runtime.calls) == 3
    # What has been corrected starts from the first mask, what was asked once does not.
    assert runtime.started == (name == "clicks")


@pytest.mark.parametrize(
    ("kind", "prompt", "settings"),
    [
        (ColorRuntime, Prompt.of(points=[(600, 300)]), {"zoom": True}),  # large
        (ColorRuntime, ABOUT_SMALL["box"], {}),  # a family that does not gain
        (Gaining, ABOUT_SMALL["click"], {}),
        (Gaining, ABOUT_SMALL["box"], {"multimask": True}),
        (Gaining, ABOUT_SMALL["box"], {"multimask": False}),
        (Gaining, Prompt.of(mask=SMALL), {}),
    ],
)
def test_no_crop_is_decoded(kind: type[ColorRuntime], prompt: Prompt, settings: dict) -> None:
    runtime = kind()
    Model(runtime).segment(IMAGE, prompts=[prompt], **settings)
    assert len(runtime.calls) == 1


@pytest.mark.parametrize("name", CLEAR)
def test_a_smaller_copy_of_the_photo_is_enough(name: str) -> None:
    runtime = Gaining(SPEC)
    features = Model(runtime).encode(IMAGE)
    half = np.ascontiguousarray(IMAGE[::2, ::2])
    (answer,) = answer_prompts(runtime, half, features, [ABOUT_SMALL[name]], SegmentSettings())
    (plain,) = answer_prompts(
        runtime, half, features, [ABOUT_SMALL[name]], SegmentSettings(zoom=False)
    )
    assert answer.masks.shape[1:] == IMAGE.shape[:2]
    assert iou(answer.masks[0], SMALL) > iou(plain.masks[0], SMALL)


def test_edges_are_refined_in_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def refined(answer: Prediction, question: PromptContext) -> Prediction:
        seen.append((question.image.shape[:2], question.features.geometry.image_hw))
        return answer

    monkeypatch.setattr(pipeline, "refine_edges", refined)
    Model(Gaining()).segment(IMAGE, prompts=[ABOUT_SMALL["box"]])
    (window, embedded), _ = seen  # then those of the photo
    assert window == embedded
    assert max(window) < 300


def test_negative_clicks_hold_on_a_closer_look() -> None:
    model = Model(PerverseRuntime())
    answer = model.segment(IMAGE, points=[(100, 120), (110, 125)], point_labels=[1, 0], zoom=True)
    assert not answer.masks[0][124:127, 109:112].any()


def test_nothing_to_look_at_is_no_reason_to_fail() -> None:
    answer = Model(ColorRuntime()).segment(IMAGE, mask=IMAGE[..., 0] < 0, zoom=True)
    assert not answer.masks.any()
