"""Rendered scenes: the same every time, with masks that fit the picture."""

from functools import cache

import numpy as np
import pytest

from anymask.evaluation.scoring import score_set
from anymask.evaluation.selection import EvalSettings
from anymask.primitives.rle import rle_to_mask
from research.paper import hard_scenes
from research.paper.__main__ import hard_sets
from research.paper.hard_scenes import LEAST_VISIBLE_AREA, SCENES, RenderedScene, scene_set
from research.paper.scene_parts import SCENE_HW, coverage, inside, strokes
from tests.evaluation.small_sets import perfect


@cache
def render(name: str, place: int) -> RenderedScene:
    """Drawn once for all tests."""
    return hard_scenes.render(name, place)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_the_same_every_time_and_another_one_differs(name: str) -> None:
    first, again, other = render(name, 0), hard_scenes.render(name, 0), render(name, 1)
    assert first.image.shape == (*SCENE_HW, 3)
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert len(first.masks) == len(again.masks) > 0
    for mask, same in zip(first.masks, again.masks, strict=True):
        assert np.array_equal(mask, same)
        assert (mask.shape, mask.dtype) == (SCENE_HW, np.bool_)
        assert np.count_nonzero(mask) >= LEAST_VISIBLE_AREA


@pytest.mark.parametrize("name", SCENES)
def test_no_pixel_belongs_to_two_masks(name: str) -> None:
    for place in range(2):
        assert np.sum(render(name, place).masks, axis=0).max() == 1


def rim_contrast(name: str) -> float:
    """How far the means just inside and just outside of the masks lie apart, in levels."""
    import cv2

    scene = render(name, 0)
    mask = np.any(scene.masks, axis=0).astype(np.uint8)
    wide, narrow = cv2.dilate(mask, np.ones((9, 9))), cv2.erode(mask, np.ones((9, 9)))
    near, within = scene.image[(wide > 0) & (mask == 0)], scene.image[(mask > 0) & (narrow == 0)]
    return float(np.abs(near.mean(axis=0) - within.mean(axis=0)).max())


def test_low_contrast_is_low_and_wires_are_plain() -> None:
    assert 1 < rim_contrast("low contrast") < 12
    assert rim_contrast("wires") > 60


def test_an_animal_in_camouflage_has_the_colours_of_its_ground() -> None:
    scene = render("camouflage", 0)
    (mask,) = scene.masks
    animal, ground = scene.image[mask].astype(float), scene.image[~mask].astype(float)
    assert np.abs(animal.mean(axis=0) - ground.mean(axis=0)).max() < 25
    assert animal.std(axis=0) == pytest.approx(ground.std(axis=0), rel=0.4)


def test_wires_are_thin() -> None:
    """Twice the area over the outline's length is about the width."""
    import cv2

    for mask in render("wires", 0).masks:
        found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        length = sum(len(line) for line in found) / 2
        assert np.count_nonzero(mask) / length < 6


def test_the_fence_leaves_of_the_animal_what_is_seen() -> None:
    fence, animal = render("mesh", 0).masks
    assert fence[:, :100].any()
    assert fence[:, -100:].any()
    rows, columns = np.nonzero(animal)
    box = (slice(rows.min(), rows.max()), slice(columns.min(), columns.max()))
    assert (fence[box] & ~animal[box]).any()


def test_coverage_is_the_share_of_a_pixel() -> None:
    square = np.array([(10.0, 10.0), (20.5, 10.0), (20.5, 30.0), (10.0, 30.0)])
    cover = coverage([square])
    assert cover[15, 12] == 1
    assert cover[15, 20] == pytest.approx(0.5, abs=0.26)  # a border of one large pixel is drawn
    assert cover[15, 30] == 0
    assert np.count_nonzero(inside(cover)) == pytest.approx(10.5 * 20, rel=0.06)
    line = strokes([np.array([(0.0, 50.0), (511.0, 50.0)])], 3.0)
    assert line[:, 100].sum() == pytest.approx(3, abs=0.3)


def test_the_suite_of_scenes_needs_no_files() -> None:
    sets = hard_sets(["low contrast"])[1]
    (one,) = sets
    assert (one.info.name, len(one.samples)) == ("low contrast", 12)
    sample = one.samples[3]
    assert np.array_equal(sample.image(), hard_scenes.render("low contrast", 3).image)
    assert np.array_equal(
        rle_to_mask(sample.rles[0]), hard_scenes.render("low contrast", 3).masks[0]
    )
    assert one.samples[0].content() != sample.content()
    scores = score_set([perfect()], one, EvalSettings(limit=2))
    assert len(scores.area) == 2
    assert scene_set("low contrast") is scene_set("low contrast")
