"""Asking again: never a lower quality, never another object, never after the time is over."""

from dataclasses import replace

import numpy as np
import pytest

import anymask
from anymask import Retry
from anymask.base import InputError
from anymask.masks import Prompt
from anymask.segment import Model
from tests.segment.fakes import ColourRuntime, NoiseRuntime, discs, iou

PICTURE, (SMALL, BIG) = discs((600, 900), [(100, 120, 25), (600, 300, 250)])
CLICK = (100, 120)


class Clock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


class Moody(ColourRuntime):
    """Likes a click the better, the further right it is; the object is always the same."""

    def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
        logits, quality = super().decode(*asked)
        right = asked[1].coords[:, 0, :1] / 4
        return logits, np.broadcast_to(right, quality.shape).astype(np.float32)


def patient(**settings: object) -> Retry:
    """All the time in the world, and never content."""
    return Retry(**({"seconds": 1e9, "score": 9.0, "clock": Clock()} | settings))


def test_a_closer_look_replaces_a_bad_answer() -> None:
    model = Model(ColourRuntime())
    plain = model.segment(PICTURE, points=[CLICK])
    again = model.segment(PICTURE, points=[CLICK], retry=patient())
    assert again.scores[0] > plain.scores[0]
    assert iou(again.masks[0], SMALL) > iou(plain.masks[0], SMALL)
    assert again.geometry == plain.geometry
    assert again.logits.shape == plain.logits.shape


@pytest.mark.parametrize(
    ("step", "encodings"), [("shift", 1), ("zoom", 2), ("tile", 2), ("larger", 1)]
)
def test_each_step_costs_what_it_says(step: str, encodings: int) -> None:
    class Counting(ColourRuntime):
        seen = 0

        def see(self, images: np.ndarray) -> list:
            Counting.seen += len(images)
            return super().see(images)

    Model(Counting()).segment(PICTURE, points=[CLICK], retry=patient(steps=(step,)))
    assert Counting.seen == encodings


def test_a_good_answer_is_left_alone() -> None:
    clock, runtime = Clock(), ColourRuntime()
    Model(runtime).segment(PICTURE, points=[(600, 300)], retry=Retry(score=0.5, clock=clock))
    assert len(runtime.calls) == 1


def test_a_moved_click_may_be_liked_better_and_is_held_against_the_user_s_own() -> None:
    model = Model(Moody())
    plain = model.segment(PICTURE, points=[CLICK])
    again = model.segment(PICTURE, points=[CLICK], retry=patient(steps=("shift",)))
    assert again.scores[0] > plain.scores[0]
    np.testing.assert_array_equal(again.masks[0], plain.masks[0])
    assert again.violated_points == ()


def test_a_little_luck_of_a_moved_click_changes_nothing() -> None:
    class Slightly(Moody):
        def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
            logits, quality = super().decode(*asked)
            return logits, quality / 100

    model = Model(Slightly())
    plain = model.segment(PICTURE, points=[CLICK])
    again = model.segment(PICTURE, points=[CLICK], retry=patient(steps=("shift",)))
    assert again.scores[0] == plain.scores[0]


def test_boxes_are_moved_too() -> None:
    runtime = ColourRuntime()
    box = (70, 90, 131, 151)
    Model(runtime).segment(PICTURE, box=box, retry=patient(steps=("shift",)))
    assert [count for count, _ in runtime.calls] == [1, 3]


def test_another_object_is_no_better_answer() -> None:
    class Fickle(ColourRuntime):
        """On the second thought it means the other object, and is very sure."""

        def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
            logits, quality = super().decode(*asked)
            if len(self.calls) > 1:
                return np.full_like(logits, 5), quality + 1
            return logits, quality

    model = Model(Fickle())
    plain = model.segment(PICTURE, points=[CLICK])
    again = Model(Fickle()).segment(PICTURE, points=[CLICK], retry=patient())
    np.testing.assert_array_equal(again.masks, plain.masks)
    assert again.scores[0] == plain.scores[0]


@pytest.mark.parametrize("seed", range(6))
def test_the_quality_never_falls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (90, 130, 3), np.uint8)
    model = Model(NoiseRuntime())
    for prompt in (
        Prompt.of(points=[(60, 40)]),
        Prompt.of(points=[(20, 20), (60, 60)], labels=[1, 0]),
        Prompt.of(box=(5, 5, 60, 60)),
    ):
        (plain,) = model.segment(picture, prompts=[prompt])
        (again,) = model.segment(picture, prompts=[prompt], retry=patient())
        assert again.scores[0] >= plain.scores[0]
        assert len(again.violated_points) <= len(plain.violated_points)


def test_nothing_is_asked_when_the_time_is_over() -> None:
    runtime = ColourRuntime()
    Model(runtime).segment(PICTURE, points=[CLICK], retry=patient(seconds=0))
    assert len(runtime.calls) == 1


def test_the_time_is_one_for_all_prompts() -> None:
    clock, runtime = Clock(), ColourRuntime()
    prompts = [Prompt.of(points=[CLICK])] * 5
    retry = patient(seconds=3, clock=clock, steps=("zoom",))
    answers = Model(runtime).segment(PICTURE, prompts=prompts, retry=retry)
    looks_again = len(runtime.calls) - 1
    assert 1 <= looks_again < 5
    assert answers[0].scores[0] > answers[-1].scores[0]


def test_a_larger_model_answers_in_the_terms_of_the_smaller() -> None:
    class Sure(ColourRuntime):
        def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
            logits, quality = super().decode(*asked)
            return logits, quality + 1

    spec = replace(ColourRuntime().spec, name="sure", image_side=512, mask_side=256)
    retry = patient(steps=("larger",), larger=Model(Sure(spec)))
    model = Model(ColourRuntime())
    plain = model.segment(PICTURE, points=[CLICK])
    again = model.segment(PICTURE, points=[CLICK], retry=retry)
    assert iou(again.masks[0], SMALL) > iou(plain.masks[0], SMALL)
    assert again.logits.shape[1:] == plain.logits.shape[1:]
    fed_back = model.segment(PICTURE, mask=again.logits[0], retry=retry, multimask=False)
    assert fed_back.masks.shape == (1, 600, 900)


def test_a_larger_model_sees_a_photo_once() -> None:
    class Counting(ColourRuntime):
        seen = 0

        def see(self, images: np.ndarray) -> list:
            Counting.seen += len(images)
            return super().see(images)

    prompts = [Prompt.of(points=[click]) for click in (CLICK, (600, 300), (5, 5))]
    model, retry = Model(ColourRuntime()), patient(steps=("larger",), larger=Model(Counting()))
    together = model.segment(PICTURE, prompts=prompts, retry=retry)
    assert Counting.seen == 1
    alone = [model.segment(PICTURE, prompts=[prompt], retry=retry)[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)


def test_a_larger_model_is_not_asked_what_it_cannot_answer() -> None:
    spec = replace(ColourRuntime().spec, accepts=frozenset({"box"}))
    larger = ColourRuntime(spec)
    retry = patient(larger=Model(larger))
    Model(ColourRuntime()).segment(PICTURE, points=[CLICK], retry=retry)
    assert larger.calls == []


def test_without_the_photo_only_the_prompt_is_moved() -> None:
    runtime = Moody()
    model = Model(runtime)
    embedding = model.encode(PICTURE)
    plain = model.segment(embedding, points=[CLICK])
    again = model.segment(embedding, points=[CLICK], retry=patient())
    assert again.scores[0] > plain.scores[0]
    assert [count for count, _ in runtime.calls] == [1, 1, 4]


def test_nothing_to_hold_on_to_is_no_reason_to_fail() -> None:
    model = Model(ColourRuntime())
    answer = model.segment(PICTURE, points=[(5, 5)], point_labels=[0], retry=patient())
    assert not answer.masks.any()


def test_nano_on_a_photo_never_gets_worse_in_its_own_eyes() -> None:
    photo = pytest.importorskip("skimage.data").astronaut()
    model = anymask.load()
    prompts = [Prompt.of(points=[click]) for click in ((220, 120), (100, 300), (420, 420))]
    prompts += [Prompt.of(box=box) for box in ((170, 60, 280, 180), (400, 380, 470, 500))]
    plain = model.segment(photo, prompts=prompts)
    again = model.segment(photo, prompts=prompts, retry=patient())
    gains = [b.scores[0] - a.scores[0] for a, b in zip(plain, again, strict=True)]
    assert min(gains) >= 0
    assert max(gains) > 0


# Everything.

EASY = {
    "mode": "exact",  # one click of the grid lies on the small disc
    "score": 0.3,
    "stability": 0.3,
    "grid": 6,
}


def test_everything_s_poor_masks_are_drawn_better() -> None:
    picture, truths = discs((600, 900), [(100, 120, 50), (600, 300, 250)])
    model = Model(ColourRuntime())
    plain = model.everything(picture, **EASY)
    again = model.everything(picture, **EASY, retry=patient())
    assert len(again) == len(plain)
    best = [max(plain, key=lambda r: iou(r.mask, truths[0])) for records in (plain, again)]
    better = [max(records, key=lambda r: iou(r.mask, truths[0])) for records in (plain, again)]
    assert better[1].score > better[0].score
    assert iou(better[1].mask, truths[0]) > iou(best[0].mask, truths[0])
    assert better[1].area == better[1].mask.sum()
    qualities = [record.score for record in again]
    assert qualities == sorted(qualities, reverse=True)


def test_everything_keeps_to_the_time() -> None:
    model = Model(ColourRuntime())
    plain = [r.to_sa1b() for r in model.everything(PICTURE, **EASY)]
    for retry in (patient(seconds=0), Retry(score=0)):
        found = model.everything(PICTURE, **EASY, retry=retry)
        assert [r.to_sa1b() for r in found] == plain


def test_tiles_share_one_time_limit() -> None:
    picture, _ = discs((200, 320), [(60, 80, 12), (220, 110, 50)])
    few, many = (
        Model(ColourRuntime()).everything(picture, **EASY, tile=160, retry=patient(seconds=seconds))
        for seconds in (0, 1e9)
    )
    assert sum(r.score for r in many) > sum(r.score for r in few)


def test_an_embedding_of_everything_cannot_be_looked_at_again() -> None:
    model = Model(ColourRuntime())
    with pytest.raises(InputError, match="tiles and retries look at the photo again"):
        model.everything(model.encode(PICTURE), retry=patient())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seconds": -1}, "seconds must be a number, 0 or more, got -1"),
        ({"score": "high"}, "score must be a number, 0 or more, got 'high'"),
        ({"steps": ("zoom", "pray")}, "steps are zoom, tile, larger, shift; got 'pray'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Retry(**settings)


def test_what_is_no_retry_is_refused() -> None:
    with pytest.raises(InputError, match=r"retry must be anymask.Retry\(...\) or None, got 2"):
        Model(ColourRuntime()).segment(PICTURE, points=[CLICK], retry=2)
