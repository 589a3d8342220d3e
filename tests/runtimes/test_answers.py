import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.primitives.spec import ModelSpec
from anymask.runtimes.answers import choose


def made_up(n: int, t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, t, 5, 5)).astype(np.float32)
    return logits, rng.standard_normal((n, t)).astype(np.float32)


def test_sam_answers_an_ambiguous_prompt_with_the_last_three_tokens() -> None:
    logits, quality = made_up(2, 4)
    masks, kept = choose(ModelSpec(name="x"), logits, quality, multimask=True)
    np.testing.assert_array_equal(masks, logits[:, 1:4])
    np.testing.assert_array_equal(kept, quality[:, 1:4])


def test_sam_answers_a_clear_prompt_with_the_first_token() -> None:
    logits, quality = made_up(2, 4)
    masks, kept = choose(ModelSpec(name="x"), logits, quality, multimask=False)
    np.testing.assert_array_equal(masks, logits[:, :1])
    np.testing.assert_array_equal(kept, quality[:, :1])


def test_nano_offers_the_best_three_of_four_and_answers_a_clear_prompt_with_their_mean() -> None:
    logits, quality = made_up(3, 4)
    spec = ModelSpec(name="x", answer="four")
    masks, kept = choose(spec, logits, quality, multimask=True)
    for i in range(3):
        three = [t for t in range(4) if t != min(range(4), key=lambda t: quality[i, t])]
        np.testing.assert_array_equal(masks[i], logits[i, three])
        np.testing.assert_array_equal(kept[i], quality[i, three])
    masks, kept = choose(spec, logits, quality, multimask=False)
    assert masks.shape == (3, 1, 5, 5)
    for i in range(3):
        chance = (
            sum(quality[i, t] ** 2 / (1 + np.exp(-logits[i, t].astype(float))) for t in range(4))
            / np.square(quality[i]).sum()
        )
        np.testing.assert_allclose(1 / (1 + np.exp(-masks[i, 0])), chance, atol=1e-4)
        assert kept[i] == quality[i].max()


@pytest.mark.parametrize("multimask", [True, False])
def test_efficient_sam_answers_with_every_mask(multimask: bool) -> None:
    logits, quality = made_up(2, 3)
    masks, kept = choose(ModelSpec(name="x", answer="all"), logits, quality, multimask)
    np.testing.assert_array_equal(masks, logits)
    np.testing.assert_array_equal(kept, quality)


@given(seed=st.integers(0, 2**16), n=st.integers(1, 4), with_residual_quality=st.booleans())
def test_sam_hq_adds_its_residual_to_the_mask_that_sam_would_give(
    seed: int, n: int, with_residual_quality: bool
) -> None:
    spec = ModelSpec(name="x", answer="sam_hq")
    logits, quality = made_up(n, 5, seed)
    given_quality = quality if with_residual_quality else quality[:, :4]
    for multimask in (True, False):
        masks, kept = choose(spec, logits, given_quality, multimask)
        assert masks.shape == (n, 1, 5, 5)
        assert kept.shape == (n, 1)
        for i in range(n):  # the slow truth, one prompt after the other
            token = max((1, 2, 3), key=lambda t: quality[i, t]) if multimask else 0
            np.testing.assert_array_equal(masks[i, 0], logits[i, token] + logits[i, 4])
            assert kept[i, 0] == quality[i, token]


@pytest.mark.parametrize("answer", ["sam", "sam_hq", "four", "all"])
def test_no_prompts_give_no_answers(answer: str) -> None:
    logits, quality = made_up(0, 5)
    masks, kept = choose(ModelSpec(name="x", answer=answer), logits, quality, True)  # type: ignore[arg-type]
    assert len(masks) == len(kept) == 0
