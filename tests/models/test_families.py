"""Each family's rules against cases made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import FloatArray, ModelError
from anymask.masks import OPENCV, Geometry, ModelPrompts, ModelSpec
from anymask.masks.answer import by_quality, is_multimask, is_single_click, without_parts
from anymask.models.rules import (
    DEFAULT_VIDEO_MODEL,
    Family,
    family_names,
    open_family,
    shipped_tables,
)
from anymask.segment.everything.grid import adaptive_table

PLACE = Geometry((64, 64), (64, 64), 64)


def family(name: str) -> Family:
    return open_family(ModelSpec(name="x", image_side=64, mask_side=5, family=name))


def made_up(n: int, t: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, t, 5, 5)).astype(np.float32)
    return logits, rng.standard_normal((n, t)).astype(np.float32)


def prompts(*labels: list[int], mask: bool = False) -> ModelPrompts:
    """Points at (8, 8), (16, 16), ... with these labels, a row for each prompt."""
    n, p = len(labels), len(labels[0])
    coords = np.tile(8.0 * (1 + np.arange(p))[None, :, None], (n, 1, 2)).astype(np.float32)
    has_mask = np.full(n, mask, np.float32)
    return ModelPrompts(coords, np.array(labels), np.zeros((n, 1, 5, 5), np.float32), has_mask)


CLICK, BOX, PAIR = [1, -1], [2, 3], [1, 0]


# Which prompts are ambiguous.


def test_one_positive_click_and_nothing_else_is_ambiguous() -> None:
    assert is_single_click(prompts(CLICK, BOX, PAIR, [0, -1], [1, 1], [-1, -1])) == [
        True, False, False, False, False, False,
    ]  # fmt: skip
    assert is_single_click(prompts([1, 2, 3])) == [False]
    assert is_single_click(prompts(CLICK, mask=True)) == [False]


@pytest.mark.parametrize(
    ("multimask", "expected"), [("auto", [True, False]), (True, [True] * 2), (False, [False] * 2)]
)
def test_the_number_of_masks_is_the_user_s_or_follows_from_the_prompt(
    multimask: bool | str, expected: list[bool]
) -> None:
    assert is_multimask(prompts(CLICK, BOX), multimask) == expected  # type: ignore[arg-type]


def test_equal_masks_stay_in_the_model_s_order() -> None:
    logits, quality = made_up(1, 4)[0][0], np.array([0.5, 0.9, 0.5, 0.9], np.float32)
    planes, numbers, order = by_quality(logits, quality)
    assert order.tolist() == [1, 3, 0, 2]
    assert numbers.tolist() == quality[order].tolist()
    np.testing.assert_array_equal(planes, logits[order])


# SAM.


def test_sam_answers_an_ambiguous_prompt_with_the_last_three_tokens() -> None:
    logits, quality = made_up(2, 4)
    masks, kept = family("sam").candidates(logits, quality)
    np.testing.assert_array_equal(masks, logits[:, 1:4])
    np.testing.assert_array_equal(kept, quality[:, 1:4])


@pytest.mark.parametrize("multimask", ["auto", True, False])
def test_sam_orders_each_prompt_s_own_masks(multimask: bool | str) -> None:
    logits, quality = made_up(2, 4)
    quality[:] = [[0.9, 0.1, 0.3, 0.2], [0.1, 0.4, 0.2, 0.3]]
    click, box = family("sam").answer(
        lambda _: (logits, quality), prompts(CLICK, BOX), PLACE, multimask, "expected"
    )  # type: ignore[arg-type]
    many = {"auto": (True, False), True: (True, True), False: (False, False)}[multimask]
    for answer, several, row in ((click, many[0], 0), (box, many[1], 1)):
        tokens = ([2, 3, 1], [1, 3, 2])[row] if several else [0]
        np.testing.assert_array_equal(answer[0], logits[row, tokens])
        np.testing.assert_array_equal(answer[1], quality[row, tokens])
        assert answer[2].tolist() == [token - several for token in tokens]


# EfficientSAM.


@pytest.mark.parametrize("multimask", [True, False, "auto"])
def test_efficient_sam_answers_with_every_mask(multimask: bool | str) -> None:
    logits, quality = made_up(2, 3)
    rules = family("efficient_sam")
    masks, kept = rules.candidates(logits, quality)
    np.testing.assert_array_equal(masks, logits)
    np.testing.assert_array_equal(kept, quality)
    for row, answer in enumerate(
        rules.answer(lambda _: (logits, quality), prompts(CLICK, BOX), PLACE, multimask, "own")  # type: ignore[arg-type]
    ):
        best_first = sorted(range(3), key=lambda token: -quality[row, token])
        np.testing.assert_array_equal(answer[0], logits[row, best_first])
        assert answer[2].tolist() == best_first


# HQ-SAM.


@given(seed=st.integers(0, 2**16), n=st.integers(1, 4), with_residual_quality=st.booleans())
def test_sam_hq_adds_its_residual_to_the_mask_that_sam_would_give(
    seed: int, n: int, with_residual_quality: bool
) -> None:
    logits, quality = made_up(n, 5, seed)
    given_quality = quality if with_residual_quality else quality[:, :4]
    for multimask in (True, False):
        answers = family("sam_hq").answer(
            lambda _: (logits, given_quality), prompts(*[CLICK] * n), PLACE, multimask, "own"
        )
        for i, (masks, kept, order) in enumerate(answers):  # the slow truth, one after the other
            token = max((1, 2, 3), key=lambda t: quality[i, t]) if multimask else 0
            np.testing.assert_array_equal(masks, [logits[i, token] + logits[i, 4]])
            assert kept.tolist() == [quality[i, token]]
            assert order.tolist() == [0]


# nano.


def test_nano_offers_the_best_three_of_four_in_the_model_s_order() -> None:
    logits, quality = made_up(3, 4)
    masks, kept = family("nano").candidates(logits, quality)
    for i in range(3):
        three = [t for t in range(4) if t != min(range(4), key=lambda t: quality[i, t])]
        np.testing.assert_array_equal(masks[i], logits[i, three])
        np.testing.assert_array_equal(kept[i], quality[i, three])


def test_nano_answers_a_clear_prompt_with_the_mean_of_masks_that_agree() -> None:
    cells = np.full((1, 4, 5, 5), -1, np.float32)
    for mask, rows in enumerate((slice(0, 4), slice(0, 5), slice(0, 1), slice(1, 4))):
        cells[0, mask, rows] = 1 + mask
    # IoU: .8 of the first two, .25 and .2 of the third with them; .75, .6 and 0 of the last.
    even, sure = np.full((1, 4), 0.5, np.float32), np.array([[0.1, 0.1, 0.9, 0.1]], np.float32)
    for quality, worth, best in (
        (even, (1.4, 1.3, 0.725, 1.175), 0),
        (sure, (0.48, 0.42, 0.945, 0.235), 2),
    ):
        (answer,) = family("nano").answer(
            lambda _, quality=quality: (cells, quality), prompts(PAIR), PLACE, "auto", "expected"
        )
        weights = np.exp(8 * (np.array(worth) / max(worth) - 1))
        mean = np.average(cells[0], axis=0, weights=weights)
        np.testing.assert_allclose(answer[0], mean[None], rtol=1e-5)
        assert answer[1] == quality[0, best]


@pytest.mark.parametrize(
    ("cells", "least", "stay"),
    [
        ([(0, 0)], np.inf, "a"),
        ([(1, 1)], np.inf, "b"),
        ([(4, 0)], np.inf, "c"),  # beside all of them: the largest
        ([(4, 0)], 0.5, "c"),
        ([(0, 0)], 0.5, "ac"),
        ([], 0.25, "abc"),
    ],
)
def test_a_mask_keeps_parts_that_are_clicked_or_large(
    cells: list[tuple[int, int]], least: float, stay: str
) -> None:
    parts = {
        "a": np.s_[0, 0],
        "b": np.s_[1, 1],
        "c": np.s_[3:, 2:4],
    }  # the first two share a corner
    plane, expected = np.full((2, 5, 5), -1, np.float32)
    for name, part in parts.items():
        plane[part] = 1
        expected[part] = 1 if name in stay else -2
    np.testing.assert_array_equal(
        without_parts(plane[None], cells, least, 0.0, OPENCV), expected[None]
    )


def test_nano_s_own_order_is_that_of_the_network_s_numbers() -> None:
    logits, quality = made_up(1, 4)
    quality[0] = [0.2, 0.9, 0.1, 0.5]
    for multimask in ("auto", True):
        (answer,) = family("nano").answer(
            lambda _: (logits, quality), prompts(CLICK), PLACE, multimask, "own"
        )  # type: ignore[arg-type]
        np.testing.assert_array_equal(answer[0], logits[0, [1, 3, 0]])
        np.testing.assert_array_equal(answer[1], quality[0, [1, 3, 0]])
        assert answer[2].tolist() == [1, 2, 0]


# All of them.


@pytest.mark.parametrize("name", family_names())
@given(seed=st.integers(0, 2**16))
def test_an_answer_s_order_is_a_permutation_and_its_parts_are_of_one_length(
    name: str, seed: int
) -> None:
    logits, quality = made_up(2, 5 if name == "sam_hq" else 4, seed)
    rules = family(name)
    for answer in rules.answer(
        lambda asked: (logits[: len(asked.labels)], quality[: len(asked.labels)]),
        prompts(CLICK, [1, -1]), PLACE, "auto", "expected",
    ):  # fmt: skip
        planes, numbers, order = answer
        assert planes.shape == (len(numbers), 5, 5)
        assert sorted(order.tolist()) == list(range(len(numbers)))


def test_an_unknown_family_is_told_with_those_that_are_known() -> None:
    with pytest.raises(
        ModelError, match="x has the unsupported family 'sam9'.* supports: sam, .*nano"
    ):
        family("sam9")


# Tables.


def test_a_family_without_tables_of_its_own_borrows_the_default_model_s_for_adaptive_mode() -> None:
    shipped = shipped_tables(DEFAULT_VIDEO_MODEL)["adaptive"]
    assert shipped_tables("sam") == {}
    assert adaptive_table(family("sam")) == shipped
    own = {"into": [[1.0]], "bias": [0.0], "out": [1.0]}
    assert adaptive_table(open_family(ModelSpec(name="x"), {"adaptive": own})) == own


def test_tuned_weights_go_without_tables_of_others_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = ModelSpec(name="tuned", family="nano")
    tuned = open_family(spec, weights_hash="0123456789abcdef")
    assert {"ranking", "adaptive"} <= set(tuned.tables)
    assert "objectness" not in tuned.tables
    assert "everything) can return more masks of parts and background" in caplog.text
    assert "=" not in caplog.messages[0]  # no Python on a command line
    caplog.clear()
    shipped = shipped_tables("nano")
    assert open_family(spec, weights_hash=shipped["objectness"]["weights"]).tables == shipped
    assert not caplog.text


def test_tables_that_are_handed_in_go_before_those_of_the_package() -> None:
    spec = ModelSpec(name="x", family="nano")
    ranking = {k: (np.array(v) * 0).tolist() for k, v in shipped_tables("nano")["ranking"].items()}
    own = open_family(spec, {"ranking": ranking})
    assert not own.weights.direct.any()  # type: ignore[attr-defined]
    assert open_family(spec).weights.direct.any()  # type: ignore[attr-defined]
