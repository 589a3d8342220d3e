"""A mask is its logits, or the pixels that a later step decided on; every reader sees the same."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.masks import (
    ImageInMemory,
    ModelSpec,
    Prompt,
    geometry,
    mask_to_rle,
    polygons_to_mask,
    rle_to_mask,
)
from anymask.segment import Candidate, Prediction

PLACE = geometry((30, 40), ModelSpec(name="tiny", image_side=64))


def answer() -> Prediction:
    """A full mask and an empty one."""
    logits = np.full((2, 16, 16), -1, np.float32)
    logits[0] = 1
    return Prediction.of_logits(logits, np.array([0.5, 0.9], np.float32), np.array([1, 0]), PLACE)


def decided(one: Candidate) -> tuple[Candidate, np.ndarray]:
    """The mask with pixels that no logits would draw."""
    pixels = np.zeros((30, 40), np.bool_)
    pixels[3:5, 7:11] = pixels[20, 39] = True
    return one.with_pixels(pixels), pixels


def test_masks_are_made_once_and_only_when_looked_at() -> None:
    given = answer()
    assert len(given) == 2
    assert "masks" not in vars(given)
    assert given.masks.shape == (2, 30, 40)
    assert given.masks.dtype == np.bool_
    assert given.masks[0].all()
    assert not given.masks[1].any()
    assert given.masks is given.masks


def test_each_mask_has_its_own_number_and_its_place() -> None:
    given = answer()
    assert [one.score for one in given.items] == [0.5, pytest.approx(0.9)]
    assert given.scores.dtype == np.float32
    assert given.order.tolist() == [one.order for one in given.items] == [1, 0]
    assert given.first is given.items[0]
    turned = given.picked([1, 0])
    assert turned.scores.tolist() == given.scores[::-1].tolist()
    assert turned.first is given.items[1]


def test_run_lengths_and_pixels_are_the_same_mask() -> None:
    given = answer()
    for one, rle, mask in zip(given.items, given.rles(), given.masks, strict=True):
        np.testing.assert_array_equal(one.pixels(), mask)
        np.testing.assert_array_equal(rle_to_mask(rle), mask)
        assert one.rle() == rle == mask_to_rle(mask)


def test_decided_pixels_win_wherever_a_mask_is_read() -> None:
    given = answer()
    one, pixels = decided(given.first)
    finished = replace(given, items=(one, given.items[1]))
    expected = mask_to_rle(pixels)
    np.testing.assert_array_equal(one.logits, given.first.logits)  # what is fed back stays
    np.testing.assert_array_equal(finished.masks, [pixels, np.zeros_like(pixels)])
    np.testing.assert_array_equal(finished.first.pixels(), pixels)
    assert finished.rles()[0] == finished.first.rle() == expected
    record = replace(finished, prompt=Prompt.of(points=[(8, 4)]))[0]
    assert record.rle == expected
    assert record.area == pixels.sum() == 9
    assert record.box == (7, 3, 39, 20)


def test_replacing_anything_else_keeps_the_decided_pixels() -> None:
    given = answer()
    one, pixels = decided(given.first)
    finished = replace(given, items=(one, given.items[1]))
    _ = finished.masks  # what was looked at before is no reason to forget
    for changed in (
        replace(finished, violated_points=(0,)),
        finished.picked([0]),
        finished.picked([1, 0]).picked([1]),
        Prediction((replace(one, score=0.1, order=5),)),
    ):
        np.testing.assert_array_equal(changed.masks[0], pixels)


def test_other_logits_are_another_mask() -> None:
    one, _ = decided(answer().first)
    assert not one.with_logits(np.full((16, 16), -2, np.float32)).pixels().any()


# What users do with an answer.

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def seen(answer: Prediction) -> Prediction:
    """The answer with its photo and its prompt."""
    return replace(answer, source_image=ImageInMemory(IMAGE), prompt=Prompt.of(points=[(8, 4)]))


def two(quality: tuple[float, float], columns: tuple[int, int]) -> Prediction:
    """Two masks that fill so many of sixteen columns of logits."""
    logits = np.full((2, 16, 16), -1, np.float32)
    for plane, filled in zip(logits, columns, strict=True):
        plane[:, :filled] = 1
    return Prediction.of_logits(logits, np.array(quality, np.float32), np.array([0, 1]), PLACE)


def test_an_answer_is_read_like_a_list() -> None:
    given = answer()
    assert given[0] is given.best
    np.testing.assert_array_equal(given.mask, given[0].mask)
    assert given[-1] == given[1]
    assert [one.rle for one in given] == given.rles()
    assert [one.score for one in given[1:]] == [given[1].score]
    with pytest.raises(IndexError):
        _ = given[2]


def test_a_mask_is_an_array_where_one_is_wanted() -> None:
    one = answer().best
    np.testing.assert_array_equal(np.asarray(one), one.mask)
    np.testing.assert_array_equal(np.asarray(one, np.uint8), one.mask.astype(np.uint8))
    assert one.area == 1200
    assert one.coverage == 1


@pytest.mark.parametrize(
    ("quality", "columns", "toss"),
    [
        ((0.5, 0.52), (4, 12), True),
        ((0.52, 0.5), (12, 4), True),
        ((0.54, 0.5), (4, 12), False),
        ((0.5, 0.6), (4, 12), True),  # a learned order overrules the qualities
        ((0.5, 0.5), (9, 12), False),
        ((0.5, 0.5), (12, 12), False),
    ],
)
def test_two_masks_that_differ_are_a_coin_toss_unless_the_first_is_better(
    quality: tuple[float, float], columns: tuple[int, int], toss: bool
) -> None:
    given = two(quality, columns)
    assert given.ambiguous is toss
    assert ("ambiguous" in repr(given)) is toss
    assert not given[:1].ambiguous


def test_outlines_draw_the_mask_again() -> None:
    one, pixels = decided(answer().first)
    given = replace(answer(), items=(one,))
    np.testing.assert_array_equal(polygons_to_mask(given.polygons(), (30, 40)), pixels)


def test_an_answer_is_saved_as_its_best_mask_is(tmp_path: Path) -> None:
    given = seen(answer())
    for name in ("a.png", "a.json", "a.npy", "a.txt"):
        saved = given.save(tmp_path / "new" / name)
        assert saved.read_bytes() == given[0].save(tmp_path / name).read_bytes() != b""
    given.save(tmp_path / "a.overlay.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.overlay.png")), given.draw())
    answer().save(tmp_path / "b.png", IMAGE)
    for wrong in ("c.png", "a.doc"):
        with pytest.raises(InputError, match="is unknown|Cannot write "):
            answer().save(tmp_path / wrong)


def test_an_answer_can_be_pickled_without_its_photo() -> None:
    given = seen(answer())
    _ = given.masks
    again = pickle.loads(pickle.dumps(given))
    np.testing.assert_array_equal(again.masks, given.masks)
    assert again.source_image is None
    assert repr(again) == repr(given)
