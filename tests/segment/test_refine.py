"""Masks from anywhere, made better or left alone."""

import numpy as np
import pytest

from anymask.base import PromptError
from anymask.segment import Model
from anymask.segment.model import GIVEN_MASK, refining_prompts
from tests.segment.fakes import SPEC, ColorRuntime, discs, iou, with_spec

IMAGE, (LEFT, RIGHT) = discs((240, 360), [(110, 120, 80), (280, 120, 50)])


class Sure(ColorRuntime):
    """A model that is always sure of itself."""

    sureness = 0.99

    def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
        logits, quality = super().decode(*asked)
        return logits, np.full_like(quality, self.sureness)


class Doubtful(Sure):
    sureness = 0.05


def rough(mask: np.ndarray) -> np.ndarray:
    """A mask as a careless hand draws it."""
    return np.roll(mask, (12, -15), (0, 1))


def test_a_rough_mask_becomes_better() -> None:
    answer = Model(Sure()).refine(IMAGE, rough(LEFT))
    assert iou(answer.masks[0], LEFT) > 0.9 > iou(rough(LEFT), LEFT)
    assert answer.order[0] != GIVEN_MASK


@pytest.mark.parametrize("runtime", [Sure(), Doubtful(), ColorRuntime()])
def test_a_good_mask_is_never_lost(runtime: ColorRuntime) -> None:
    assert iou(Model(runtime).refine(IMAGE, LEFT).masks[0], LEFT) > 0.9


def test_a_mask_is_kept_where_the_model_is_not_sure() -> None:
    given = rough(LEFT)
    answer = Model(Doubtful()).refine(IMAGE, given)
    np.testing.assert_array_equal(answer.masks, given[None])
    assert answer.order.tolist() == [GIVEN_MASK]
    assert len(answer) == 1
    again = Model(Doubtful()).segment(IMAGE, mask=answer.logits[0], multimask=False)
    assert iou(again.masks[0], given) > 0.8


@pytest.mark.parametrize("step", [1, 3, 10])
@pytest.mark.parametrize("kind", ["bool", "bytes", "soft", "logits"])
def test_any_size_and_type_will_do(step: int, kind: str) -> None:
    small = LEFT[::step, ::step]
    mask = {
        "bool": small,
        "bytes": small.astype(np.uint8) * 255,
        "soft": small * 0.8,
        "logits": np.where(small, 4.0, -4.0),
    }[kind]
    answer = Model(Sure()).refine(IMAGE, mask)
    assert answer.masks.shape[1:] == (240, 360)
    assert iou(answer.masks[0], LEFT) > 0.85


def test_every_large_part_is_clicked_in_its_middle() -> None:
    mask = LEFT | RIGHT
    mask[0, 0] = True
    (asked, *_) = refining_prompts(mask, SPEC)
    assert sorted(asked.points[:, 0].tolist()) == pytest.approx([110, 280], abs=2)
    assert asked.box.tolist() == [0, 0, 331, 201]
    np.testing.assert_array_equal(asked.mask, mask)


@pytest.mark.parametrize(
    ("accepts", "kinds"),
    [
        ({"point", "box", "mask"}, [(True, True, True), (True, True, False), (False, True, False)]),
        ({"point", "box"}, [(True, True, False), (False, True, False)]),
        ({"box"}, [(False, True, False)]),
        ({"point"}, [(True, False, False)]),
    ],
)
def test_a_model_is_asked_only_what_it_takes(accepts: set, kinds: list) -> None:
    spec = with_spec(ColorRuntime(), accepts=frozenset(accepts)).spec
    asked = refining_prompts(LEFT, spec)
    found = [(p.points is not None, p.box is not None, p.mask is not None) for p in asked]
    assert found == kinds


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((5, 5), bool), "mask to refine is empty"),
        (np.zeros((5, 5, 3), bool), r"Invalid mask of shape .*\(H, W\)"),
        ([], r"Invalid mask of shape .*\(H, W\)"),
        (np.full((5, 5), np.nan), "NaN or infinite"),
    ],
)
def test_masks_that_make_no_sense_are_refused(mask: object, told: str) -> None:
    with pytest.raises(PromptError, match=told):
        Model(ColorRuntime()).refine(IMAGE, mask)
