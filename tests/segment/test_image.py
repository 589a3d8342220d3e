"""The surface that users hold: one photo or many, one prompt or many, from one thread or many."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.base import ImageError, InputError, PromptError
from anymask.masks import Prompt
from anymask.segment import Model, Prediction, pipeline
from tests.segment.fakes import ColorRuntime, NoiseRuntime, discs, iou

IMAGE, (LEFT, RIGHT) = discs((80, 120), [(35, 40, 25), (95, 40, 16)])
WIDE, _ = discs((30, 70), [(20, 15, 10)])
CLICK = Prompt.of(points=[(35, 40)])
BOX = Prompt.of(box=(75, 20, 115, 60))
PAIR = Prompt.of(points=[(95, 40), (3, 3)], labels=[1, 0])


def assert_same(first: Prediction, second: Prediction) -> None:
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert first.violated_points == second.violated_points
    assert first.geometry == second.geometry


# What comes back.


def test_a_click_gives_three_masks_best_first() -> None:
    answer = Model(ColorRuntime()).segment(IMAGE, points=[(35, 40)])
    assert answer.masks.shape == (3, 80, 120)
    assert answer.masks.dtype == np.bool_
    assert (np.diff(answer.scores) <= 0).all()
    assert answer.order.tolist() == [1, 2, 0]
    assert iou(answer.masks[0], LEFT) > 0.85
    assert answer.violated_points == ()


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_the_number_of_masks_may_be_chosen(multimask: bool, count: int) -> None:
    model = Model(ColorRuntime())
    for prompt in (CLICK, BOX, PAIR):
        assert len(model.segment(IMAGE, prompts=[prompt], multimask=multimask)[0]) == count


def test_a_photo_and_its_embedding_give_the_same_where_edges_are_left_alone() -> None:
    model = Model(NoiseRuntime())
    embedding = model.encode(IMAGE)
    assert embedding.image_hw == (80, 120)
    assert_same(
        model.segment(IMAGE, points=[(1, 2)], refine_edges=False),
        model.segment(embedding, points=[(1, 2)]),
    )


def test_the_image_hash_names_the_pixels_and_their_shape() -> None:
    model = Model(ColorRuntime())
    changed = IMAGE.copy()
    changed[0, 0, 0] ^= 1
    others = [changed, IMAGE.reshape(120, 80, 3)]
    hashes = {model.encode(image).image_hash for image in (IMAGE, *others)}
    assert len(hashes) == 3
    assert model.encode(IMAGE.copy()).image_hash in hashes


def test_logits_can_be_fed_back() -> None:
    model = Model(ColorRuntime())
    first = model.segment(IMAGE, points=[(35, 40)], refine_edges=False)
    again = model.segment(IMAGE, mask=first.logits[0], multimask=False)
    np.testing.assert_array_equal(first.masks[0], again.masks[0])


def test_one_pixel_is_segmented() -> None:
    answer = Model(ColorRuntime()).segment(np.zeros((1, 1), np.uint8), points=[(0, 0)])
    assert answer.masks.shape == (3, 1, 1)


# Many at once.

prompts = st.one_of(
    st.builds(
        lambda points, labels: Prompt.of(points=points, labels=[1, *labels][: len(points)]),
        st.lists(st.tuples(st.integers(0, 69), st.integers(0, 29)), min_size=1, max_size=4),
        st.lists(st.integers(0, 1), min_size=3, max_size=3),
    ),
    st.builds(
        lambda x, y, w, h: Prompt.of(box=(x, y, x + w, y + h)),
        *[st.integers(0, 60)] * 2, *[st.integers(1, 60)] * 2,
    ),
)  # fmt: skip
requests = st.lists(
    st.tuples(st.sampled_from(["picture", "wide"]), st.lists(prompts, max_size=5)), max_size=3
)


def segment_each(model: Model, asked: list, **settings: Any) -> list:
    """The answers to photos, each with its prompts."""
    prompts = [several for _, several in asked]
    return list(model.segment([image for image, _ in asked], prompts=prompts, **settings))


@settings(max_examples=30, deadline=None)
@given(requests)
def test_a_ragged_batch_equals_one_by_one(asked: list) -> None:
    images = {"picture": IMAGE, "wide": WIDE}
    model = Model(NoiseRuntime())
    asked = [
        (images[name], [p for p in several if p.box is None or p.box[1] < 30])
        for name, several in asked
    ]
    replies = segment_each(model, asked)
    assert [len(reply) for reply in replies] == [len(several) for _, several in asked]
    for reply, (image, several) in zip(replies, asked, strict=True):
        for answer, prompt in zip(reply, several, strict=True):
            alone = model.segment(
                image, points=prompt.points, point_labels=prompt.labels, box=prompt.box
            )
            assert_same(answer, alone)


def test_one_bad_photo_does_not_stop_the_others() -> None:
    off = Prompt.of(points=[(999, 1)])
    asked = [(IMAGE, CLICK), (b"no photo", CLICK), (IMAGE, off), (WIDE, [CLICK, BOX]), (WIDE, [])]
    model = Model(ColorRuntime())
    good, broken, outside, bad_box, nothing = segment_each(model, asked, on_error="return")
    assert_same(good, model.segment(IMAGE, points=[(35, 40)]))
    assert isinstance(broken, ImageError)
    assert isinstance(outside, PromptError)
    assert isinstance(bad_box, PromptError)
    assert nothing == []
    with pytest.raises(ImageError):
        segment_each(model, asked)


def test_equal_prompts_are_decoded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PROMPTS_PER_CALL", 4)
    runtime = ColorRuntime()
    Model(runtime).segment(IMAGE, prompts=[CLICK, BOX, CLICK, PAIR, CLICK, CLICK, CLICK, BOX])
    assert sorted(runtime.calls) == [(1, 3), (3, 2), (4, 2)]


# Cleaning.


# What is refused, before any work.


class Idle(ColorRuntime):
    """A runtime that must not be asked to decode."""

    def decode(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("decoded before everything was checked")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ({}, "prompt is empty"),
        ({"points": [(120, 5)]}, "outside the image"),
        ({"box": (200, 0, 300, 9)}, "outside the image"),
        (
            {"prompts": [CLICK], "box": (1, 1, 9, 9)},
            "Options points=, box=, mask= and text= describe one object",
        ),
        ({"prompts": [CLICK, (3, 4)]}, "Invalid prompt of type tuple"),
        ({"prompts": 7}, "Invalid prompt of type int"),
        ({"prompts": [CLICK, Prompt.of(points=[(0, 99)])]}, "outside the image"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_refused_before_any_work(prompt: dict, told: str) -> None:
    with pytest.raises(PromptError, match=told):
        Model(Idle()).segment(IMAGE, **prompt)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"multimask": "yes"}, "multimask must be True, False or \"auto\", got 'yes'"),
        ({"multimask": np.array([True, False])}, "multimask must be True"),
        ({"zoom": 3}, 'zoom must be True, False or "auto", got 3'),
        ({"max_hole_area": -1}, "Invalid max_hole_area -1"),
        ({"min_island_area": "9x"}, "Invalid min_island_area '9x'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Model(Idle()).segment(IMAGE, points=[(1, 1)], **settings)


def test_the_embedding_of_another_model_is_refused() -> None:
    embedding = Model(ColorRuntime()).encode(IMAGE)
    told = "this model is fake .weights other"
    with pytest.raises(InputError, match=told):
        Model(Idle(weights_hash="other")).segment(embedding, points=[(1, 1)])
    for use in (Model(Idle()).everything, lambda e: Model(Idle()).refine(e, LEFT)):
        with pytest.raises(InputError, match="The embedding was created by older"):
            use(replace(embedding, model="older"))


@pytest.mark.parametrize(
    ("call", "settings", "told"),
    [
        ("segment", {"points": [(1, 1)], "zoom": True}, "zoom= requires the image"),
        ("segment", {"points": [(1, 1)], "mirror": True}, "mirror= requires the image"),
        ("everything", {"crop_n_layers": 1}, "crop_n_layers=1 requires the image"),
        ("everything", {"dominant_kind": True}, "Pass the image"),
    ],
)
def test_settings_that_need_the_photo_are_refused_for_an_embedding(
    call: str, settings: dict, told: str
) -> None:
    model = Model(ColorRuntime())
    with pytest.raises(InputError, match=told):
        getattr(model, call)(model.encode(IMAGE), **settings)


def test_an_unknown_way_with_errors_is_refused() -> None:
    with pytest.raises(InputError, match="Invalid on_error"):
        segment_each(Model(Idle()), [], on_error="ignore")


def test_a_model_says_what_it_is_and_where_it_runs() -> None:
    runtime = ColorRuntime()
    runtime.device, runtime.precision = "cuda:1", "bf16"  # type: ignore[attr-defined]  # as of torch
    model = Model(runtime)
    assert (model.device, model.precision, model.runtime) == ("cuda:1", "bf16", runtime)
    assert repr(model) == "Model('fake', ColorRuntime on cuda:1, bf16, weights colour)"
