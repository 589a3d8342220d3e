"""Clicks: what they are promised holds whatever the model does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.masks import OPENCV, ModelSpec, Prompt, apply_negative_points, geometry
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime, NoiseRuntime, PerverseRuntime, discs, with_spec

IMAGE, (LEFT, RIGHT) = discs((80, 120), [(35, 40, 25), (95, 40, 12)])
PLACE = geometry((60, 60), ModelSpec(name="x", image_side=60, mask_side=60))
clicks = st.tuples(st.integers(0, 119), st.integers(0, 79))


def around(x: int, y: int) -> tuple[slice, slice]:
    return slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)


@pytest.mark.parametrize("runtime", [ColorRuntime(), PerverseRuntime(), NoiseRuntime()])
@settings(max_examples=40, deadline=None)
@given(
    others=st.lists(st.tuples(clicks, st.integers(0, 1)), max_size=3),
    boxed=st.booleans(),
    negative=clicks,
)
def test_a_negative_click_never_makes_the_mask_larger_at_its_own_place(
    runtime: ColorRuntime, others: list, boxed: bool, negative: tuple[int, int]
) -> None:
    model = Model(runtime)
    points = [(40, 40)] + [point for point, _ in others]
    labels = [1] + [label for _, label in others]
    box = (5, 5, 110, 70) if boxed else None
    before = model.segment(IMAGE, points=points, point_labels=labels, box=box)
    after = model.segment(IMAGE, points=[*points, negative], point_labels=[*labels, 0], box=box)
    place = around(*negative)
    free = np.ones_like(LEFT)  # of positive clicks, which get their own pixel
    for (x, y), label in zip(points, labels, strict=True):
        free[y, x] = label == 0
    free[negative[1], negative[0]] = True
    assert not (after.masks[0] & ~before.masks[0] & free)[place].any()
    assert not (after.masks & free)[:, *place].any()
    assert len(points) not in after.violated_points


@pytest.mark.parametrize("runtime", [ColorRuntime(), PerverseRuntime(), NoiseRuntime()])
@pytest.mark.parametrize("family", ["sam", "nano"])
@settings(max_examples=25, deadline=None)
@given(others=st.lists(st.tuples(clicks, st.integers(0, 1)), max_size=9), positive=clicks)
def test_every_click_holds_for_its_own_pixel(
    runtime: ColorRuntime, family: str, others: list, positive: tuple[int, int]
) -> None:
    """Where two clicks on one pixel contradict each other, the negative one wins."""
    model, given_clicks = Model(with_spec(runtime, family=family)), [*others, (positive, 1)]
    points, labels = [list(column) for column in zip(*given_clicks, strict=True)]
    answer = model.segment(IMAGE, points=points, point_labels=labels)
    off = {point for point, label in given_clicks if not label}
    for x, y in points:
        assert (answer.masks[:, y, x] == ((x, y) not in off)).all()
    beaten = [n for n, (point, label) in enumerate(given_clicks) if label and point in off]
    assert answer.violated_points == tuple(beaten)


def test_a_negative_click_that_the_model_honours_changes_nothing() -> None:
    model = Model(ColorRuntime())
    one = model.segment(IMAGE, points=[(35, 40)], multimask=False)
    two = model.segment(IMAGE, points=[(35, 40), (5, 5)], point_labels=[1, 0])
    np.testing.assert_array_equal(one.logits, two.logits)


def test_the_model_itself_is_heard_when_multimask_is_given() -> None:
    model = Model(PerverseRuntime())
    for multimask in (True, False):
        answer = model.segment(
            IMAGE, points=[(35, 40), (110, 70)], point_labels=[1, 0], multimask=multimask
        )
        assert answer.masks[0][70, 110]
        assert answer.violated_points == (1,)


def cleared(mask: np.ndarray, *points: tuple[int, int], labels: list[int]) -> np.ndarray:
    logits = np.where(mask, 5, -5).astype(np.float32)[None]
    prompt = Prompt.of(points=points, labels=labels)
    return apply_negative_points(logits, (prompt.points, prompt.labels), PLACE, 0.0, OPENCV)[0] > 0


def test_a_part_without_a_positive_click_goes_as_a_whole() -> None:
    mask = rectangle((60, 60), (5, 5, 20, 20))
    mask[30:58, 30:58] = True
    kept = cleared(mask, (10, 10), (40, 40), labels=[1, 0])
    assert kept[5:20, 5:20].all()
    assert not kept[30:].any()


def test_the_smaller_part_goes_where_there_is_no_positive_click() -> None:
    mask = rectangle((60, 60), (5, 5, 20, 20))
    mask[30:58, 30:58] = True
    assert not cleared(mask, (10, 10), labels=[0])[:25].any()
    kept = cleared(mask, (40, 40), labels=[0])
    assert kept[5:20, 5:20].all()
    assert kept[30:58, 30:58].mean() > 0.9


def test_of_the_clicked_part_only_a_disc_goes() -> None:
    mask = rectangle((60, 60), (5, 5, 55, 55))
    kept = cleared(mask, (15, 15), (40, 40), labels=[1, 0])
    lost = mask & ~kept
    y, x = np.nonzero(lost)
    assert lost[40, 40]
    assert (np.hypot(x - 40, y - 40) <= 0.1 * 50 + 1).all()


def test_a_disc_ends_half_way_to_the_positive_click() -> None:
    mask = np.ones((60, 60), bool)
    kept = cleared(mask, (30, 30), (30, 36), labels=[1, 0])
    assert kept[:33].all()
    assert not kept[36, 30]


def test_what_is_fed_back_has_been_cleared_too() -> None:
    model = Model(ColorRuntime())
    answer = model.segment(IMAGE, points=[(35, 40), (50, 40)], point_labels=[1, 0])
    again = model.segment(IMAGE, mask=answer.logits[0], multimask=False)
    assert not again.masks[0][40, 50]


def test_clicks_outside_the_mask_are_named() -> None:
    answer = Model(ColorRuntime()).segment(IMAGE, points=[(35, 40), (60, 5)], multimask=False)
    inside = [answer.masks[0][y, x] for x, y in ((35, 40), (60, 5))]
    assert answer.violated_points == tuple(i for i, on in enumerate(inside) if not on)
    assert answer.violated_points
