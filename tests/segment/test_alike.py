"""One kind of thing, all of them, each once: made pictures whose things are counted by hand."""

import inspect

import numpy as np
import pytest

from anymask.masks import Mask, mask_to_rle
from anymask.segment import MaskFilter, Model
from anymask.segment.everything.alike import only_alike
from tests.segment.fakes import ColorRuntime, iou

HW = (120, 200)
SINGLE = [(25, 25), (70, 30), (115, 25), (30, 80), (160, 95)]  # x, y of discs of radius 14
TOUCHING = [(90, 85), (115, 85)]  # their middles are 25 apart: they overlap by a waist


def drawn(bright: int, ground: int) -> tuple[np.ndarray, list[np.ndarray]]:
    y, x = np.mgrid[: HW[0], : HW[1]]
    discs = [(x - cx) ** 2 + (y - cy) ** 2 <= 14**2 for cx, cy in SINGLE + TOUCHING]
    image = np.full((*HW, 3), ground, np.uint8)
    image[np.any(discs, axis=0)] = bright
    return image, discs


def found_in(discs: list[np.ndarray]) -> list[Mask]:
    """What a model might find: four of the five single discs, the pair as one, the ground."""
    pair = discs[5] | discs[6]
    ground = ~np.any(discs, axis=0)
    corner = ground.copy()
    corner[:, 60:] = False
    corner[40:] = False
    masks = [*discs[:4], pair, ground, corner]
    return [Mask(mask_to_rle(mask), score=0.9) for mask in masks]


@pytest.mark.parametrize(("bright", "ground"), [(200, 20), (60, 230)])
def test_touching_discs_are_seven_things_and_the_ground_is_gone(bright: int, ground: int) -> None:
    image, discs = drawn(bright, ground)
    objects = only_alike(image, found_in(discs))
    assert len(objects) == 7
    for disc in discs:
        assert sum(iou(thing.mask, disc) > 0.8 for thing in objects) == 1


def test_a_thing_that_was_found_twice_is_there_once() -> None:
    image, discs = drawn(200, 20)
    objects = only_alike(image, found_in(discs) * 2)
    assert len(objects) == 7


def test_masks_of_the_model_stay_and_what_was_missed_comes_after_them() -> None:
    image, discs = drawn(200, 20)
    found = found_in(discs)
    objects = only_alike(image, found)
    assert {thing.rle for thing in objects[:4]} == {one.rle for one in found[:4]}
    assert max(thing.score for thing in objects[4:]) < 0.9


def test_a_piece_of_another_color_is_not_added() -> None:
    image, discs = drawn(200, 20)
    image[discs[0]] = (255, 60, 0)  # brighter than the ground, but red
    missed = [one for one in found_in(discs) if not one.mask[discs[0]].any()]
    objects = only_alike(image, missed)
    assert len(objects) == 6
    assert not any(thing.mask[discs[0]].any() for thing in objects)


def test_a_plain_picture_teaches_nothing() -> None:
    _, discs = drawn(200, 20)
    found = found_in(discs)
    plain = np.full((*HW, 3), 90, np.uint8)
    assert only_alike(plain, found) == [one for one in found if one.coverage <= 0.15]
    assert only_alike(plain, []) == []


def test_it_is_off_by_default_and_a_setting_of_everything() -> None:
    assert inspect.signature(MaskFilter).parameters["dominant_kind"].default is False
    image, discs = drawn(200, 20)
    model = Model(ColorRuntime())
    plain = model.everything(image, mode="exact", score=0.3, stability=0.3, grid=10)
    objects = model.everything(
        image, mode="exact", score=0.3, stability=0.3, grid=10, dominant_kind=True
    )
    assert any(one.coverage > 0.5 for one in plain)
    assert not any(one.coverage > 0.15 for one in objects)
    assert objects.image_hw == HW
