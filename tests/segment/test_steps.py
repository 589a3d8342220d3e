"""Several clicks are decoded one after the other, in one call as in many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

import anymask
from anymask.base import PromptError
from anymask.masks import MAX_STEPS, EncoderOutput, ModelPrompts, Prompt, click_steps
from anymask.segment import Model, Prediction, SegmentSettings, count_steps
from anymask.segment.pipeline import decode_prompts
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import SPEC, ColorRuntime, NoiseRuntime, discs

IMAGE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 12)])
NANO = replace(SPEC, family="nano")
POINTS = [(35, 40), (60, 70), (45, 30), (20, 50), (110, 9)]
LABELS = [1, 0, 1, 0, 0]


class Recorder(NoiseRuntime):
    """Keeps what every decoding was asked, and what it answered."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(replace(NANO, **spec))
        self.asked: list[ModelPrompts] = []

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> tuple[Any, Any]:
        self.asked.append(prompts)
        return super().decode(features, prompts)

    @property
    def clicks(self) -> list[list[int]]:
        """The labels of each step of the first prompt."""
        return [one.labels[0][one.labels[0] >= 0].tolist() for one in self.asked]


def one_by_one(
    model: Model, points: list, labels: list, box: Any = None, mask: Any = None
) -> Prediction:
    """The sequence written out: each decoding alone, the logits of the last as its mask.

    The mask before a negative click outside it stays, unless the new one is similar.
    """
    features, settings = model.encode(IMAGE), SegmentSettings()
    for end in range(1, len(points) + 1):
        prompt = Prompt.of(points[:end], labels[:end], box, mask)
        (answer,) = decode_prompts(model.runtime, features, [prompt], settings)
        if end > 1 and labels[end - 1] == 0 and is_outside(mask, points[end - 1]):
            new, old = answer.logits[0] > 0, mask > 0
            if (new & old).sum() < 0.8 * (new | old).sum():
                answer = replace(answer, items=(answer.first.with_logits(mask),))
        mask = answer.logits[0]
    return answer


def is_outside(logits: Any, point: Any) -> bool:
    """Whether the pixel and its neighbours are outside, drawn by OpenCV instead of the package."""
    side = cv2.resize(logits, (SPEC.image_side,) * 2)
    height, width = (round(n * SPEC.image_side / max(IMAGE.shape)) for n in IMAGE.shape[:2])
    drawn = cv2.resize(side[:height, :width], IMAGE.shape[1::-1])
    x, y = point
    return not (drawn[y - 1 : y + 2, x - 1 : x + 2] > 0).any()


@pytest.mark.parametrize("box", [None, (10, 10, 70, 75)])
@pytest.mark.parametrize("seeded", [False, True])
def test_one_call_is_a_loop_of_single_decodings(box: Any, seeded: bool) -> None:
    runtime = Recorder()
    model, mask = Model(runtime), (np.eye(64, dtype=np.float32) - 0.5 if seeded else None)
    given = {"points": POINTS, "point_labels": LABELS, "box": box, "mask": mask}
    answer = model.segment(model.encode(IMAGE), **given)
    asked = runtime.asked.copy()
    expected = one_by_one(model, POINTS, LABELS, box, mask)
    np.testing.assert_array_equal(answer.logits, expected.logits)
    assert len(asked) == len(POINTS)
    assert [one.has_mask.tolist() for one in asked] == [[float(seeded)], *[[1.0]] * 4]
    for step, one in enumerate(asked, start=1):
        assert one.labels[0].tolist()[:step] == LABELS[:step]
        assert ((one.labels[0] >= 2).sum() == 2) == (box is not None)


def test_at_most_eight_steps_are_taken() -> None:
    runtime = Recorder()
    points = [(10 + 7 * n, 40) for n in range(12)]
    Model(runtime).segment(IMAGE, points=points, zoom=False, refine_edges=False)
    assert [len(step) for step in runtime.clicks] == [5, 6, 7, 8, 9, 10, 11, 12]
    assert len(runtime.clicks) == MAX_STEPS == count_steps(12)
    assert [count_steps(clicks) for clicks in (0, 1, 8)] == [1, 1, 8]


@pytest.mark.parametrize(
    ("labels", "answered", "start", "steps"),
    [
        ([], 0, "click", [[]]),
        ([1], 0, "click", [[0]]),
        ([1, 0, 1], 0, "click", [[0], [0, 1], [0, 1, 2]]),
        ([0, 0, 1], 0, "click", [[2], [0, 2], [0, 1, 2]]),
        ([0, 0, 1], 0, "mask", [[0], [0, 1], [0, 1, 2]]),
        ([0, 1], 0, "box", [[], [0], [0, 1]]),
        ([1, 0], 0, "box", [[0], [0, 1]]),
        ([0, 0], 0, "click", [[0], [0, 1]]),
        ([1, 0, 1], 2, "click", [[0, 1, 2]]),
        ([1, 0, 1], 1, "box", [[0, 1], [0, 1, 2]]),
        ([1, 0, 1], 3, "click", [[0, 1, 2]]),
    ],
)
def test_steps(labels: list, answered: int, start: Any, steps: list) -> None:
    assert click_steps(labels, answered, start) == steps


def test_a_negative_click_in_a_box_leaves_the_object_of_the_box() -> None:
    """Decoded together, they invert the mask of some objects: `nano` took the background."""
    runtime, box = Recorder(), (10, 10, 60, 70)
    Model(runtime).segment(
        IMAGE, box=box, points=[(20, 50)], point_labels=[0], zoom=False, refine_edges=False
    )
    first, *_, last = (sorted(step) for step in runtime.clicks)
    assert (first, last) == ([2, 3], [0, 2, 3])  # 2, 3: the corners of the box


def test_who_asks_for_a_number_of_masks_gets_one_decoding() -> None:
    for multimask in (True, False):
        runtime = Recorder()
        Model(runtime).segment(IMAGE, points=POINTS, point_labels=LABELS, multimask=multimask)
        assert runtime.clicks == [LABELS]


def test_a_checkpoint_gets_one_decoding_and_takes_a_previous_prediction() -> None:
    runtime = Recorder(family="sam")
    model = Model(runtime)
    first = model.segment(IMAGE, points=POINTS[:3], point_labels=LABELS[:3])
    model.segment(IMAGE, points=POINTS, point_labels=LABELS, previous=first)
    assert runtime.clicks == [LABELS[:3], LABELS]
    np.testing.assert_array_equal(runtime.asked[1].masks[0, 0], first.logits[0])


def test_the_candidate_that_was_picked_is_corrected() -> None:
    runtime = Recorder()
    model = Model(runtime)
    first = model.segment(IMAGE, points=POINTS[:1])
    model.segment(IMAGE, points=POINTS[:2], point_labels=[1, 0], previous=first.picked([2]))
    np.testing.assert_array_equal(runtime.asked[1].masks[0, 0], first.logits[2])


def test_prompts_of_one_call_take_their_steps_together() -> None:
    runtime = Recorder()
    model = Model(runtime)
    features = model.encode(IMAGE)
    prompts = [
        Prompt.of(POINTS[:3], LABELS[:3]),
        Prompt.of(POINTS[2:3]),
        Prompt.of(POINTS[2:5], LABELS[2:5]),
        Prompt.of(box=(10, 10, 60, 60)),
    ]
    together = model.segment(features, prompts=prompts)
    counts = [one.labels.shape for one in runtime.asked]
    assert counts[0] == (4, 2)
    assert counts[-2:] == [(2, 3), (2, 4)]
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = model.segment(features, prompts=[prompt])
        np.testing.assert_array_equal(answer.logits, alone.logits)
        assert answer.prompt is prompt


def test_previous_predictions_go_with_their_prompts() -> None:
    model = Model(Recorder())
    features = model.encode(IMAGE)
    prompts = [Prompt.of(POINTS[:2], LABELS[:2]), Prompt.of(POINTS[2:4], LABELS[2:4])]
    first = model.segment(features, points=POINTS[2:3])
    found = model.segment(features, prompts=prompts, previous=[None, first])
    for prompt, answer in zip(prompts, found, strict=True):
        (whole,) = model.segment(features, prompts=[prompt])
        np.testing.assert_array_equal(answer.logits, whole.logits)


def test_previous_predictions_that_do_not_fit_are_refused() -> None:
    model = Model(ColorRuntime(NANO))
    first = model.segment(IMAGE, points=POINTS[:2], point_labels=LABELS[:2])
    pair = {"points": POINTS[:2], "previous": first}
    for refusal, image, asked in (
        ("must come first in points", IMAGE, {"points": POINTS[:1], "previous": first}),
        ("Add a point on the object, a box", IMAGE, {"points": POINTS[:1], "point_labels": [0]}),
        ("must come first in points", IMAGE, {**pair, "point_labels": [1, 1]}),
        ("mask= and previous= cannot be", IMAGE, {**pair, "mask": IMAGE[..., 0] > 9}),
        ("another image", IMAGE[:50], {"points": POINTS[:1], "previous": first}),
        ("one image", IMAGE, {"boxes": [(0, 0, 9, 9)], "previous": first}),
        (
            "2 prompts were passed with 1 previous",
            IMAGE,
            {"prompts": [Prompt.of(POINTS[:1])] * 2, "previous": [first]},
        ),
    ):
        with pytest.raises(PromptError, match=refusal):
            model.segment(image, **asked)
    deaf = Model(ColorRuntime(replace(NANO, accepts=NANO.accepts - {"mask"})))
    with pytest.raises(PromptError, match="does not support previous"):
        deaf.segment(IMAGE, points=POINTS[:2], previous=first)


@pytest.mark.parametrize("name", ["nano", "small"])
def test_all_clicks_at_once_are_answered_as_one_after_the_other(name: str) -> None:
    """With the image at hand: crop and edges come after the last step, so they agree as well."""
    model = anymask.load(name)
    pixels = anymask.load_image(anymask.sample("coffee"))
    points, labels = [(290, 120), (60, 60), (330, 200), (420, 260)], [1, 0, 1, 0]
    for image in (model.encode(pixels), pixels):
        previous = None
        for end in range(1, len(points) + 1):
            given = {"points": points[:end], "point_labels": labels[:end]}
            previous = model.segment(image, **given, previous=previous)
        whole = model.segment(image, points=points, point_labels=labels)
        np.testing.assert_array_equal(whole.logits, previous.logits)
        np.testing.assert_array_equal(whole.masks, previous.masks)


LEFT, RIGHT = (slice(0, 24), slice(0, 64)), (slice(40, 64), slice(0, 64))  # of x, y in cells


class Switching(ColorRuntime):
    """Answers the first decoding with one rectangle, further ones with another."""

    def __init__(self, first: Any, then: Any) -> None:
        super().__init__(NANO)
        self.planes = [_rectangle(first), _rectangle(then)]

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> tuple[Any, Any]:
        logits, quality = super().decode(features, prompts)
        for row, has_mask in enumerate(prompts.has_mask):
            logits[row] = self.planes[int(has_mask)]
        return logits, quality


def _rectangle(place: Any) -> Any:
    plane = np.full((64, 64), -4, np.float32)
    plane[place[1], place[0]] = 4
    return plane


@pytest.mark.parametrize(
    ("point", "label", "then", "kept"),
    [
        ((100, 40), 0, RIGHT, True),  # off the object, and the mask would move
        ((100, 40), 1, RIGHT, False),  # a positive click may ask for another object
        ((20, 10), 0, RIGHT, False),  # the mask was wrong there
        ((100, 40), 0, (slice(0, 22), slice(0, 64)), False),  # a small change
    ],
)
def test_a_click_off_the_mask_does_not_move_it(
    point: Any, label: int, then: Any, kept: bool
) -> None:
    model = Model(Switching(LEFT, then))
    features = model.encode(IMAGE)
    given = {"points": [(20, 40), point], "point_labels": [1, label]}
    whole = model.segment(features, **given)
    first = model.segment(features, points=[(20, 40)])
    after = model.segment(features, **given, previous=first)
    for answer in (whole, after):
        assert np.array_equal(answer.logits[0], first.logits[0]) == kept
    assert len(whole) == 1


def test_a_click_off_a_mask_prompt_may_move_it() -> None:
    """A mask of the user may be rough, so that no click is taken as its confirmation."""
    model = Model(Switching(LEFT, RIGHT))
    features = model.encode(IMAGE)
    mask = rectangle(IMAGE.shape[:2], (0, 0, 40, IMAGE.shape[:2][0]))
    answer = model.segment(features, points=[(100, 40)], point_labels=[0], mask=mask)
    assert (answer.logits[0] > 0)[:48, 40:].mean() > 0.5
