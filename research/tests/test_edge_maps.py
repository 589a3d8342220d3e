"""Edge maps: from masks, from regions, from the grey photo, and made thin."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from anymask.evaluation.set_results import NotMeasured
from anymask.primitives.candidates import Candidates
from anymask.primitives.resize import geometry
from anymask.primitives.spec import ALL_KINDS, ModelSpec
from research.paper.edge_maps import (
    EDGE_GRID_SIDE,
    canny_edges,
    logits_to_edges,
    model_edges,
    region_edges,
    sobel_edges,
    suppress,
)
from tests.evaluation.small_sets import perfect, rectangle

HW = (48, 64)
SPEC = ModelSpec(name="fake", image_side=64, mask_side=64, accepts=ALL_KINDS)


@dataclass
class Fake:
    """Answers the first click with a box of one size, and every other with one around the click."""

    spec: ModelSpec = SPEC
    asked: int = 0

    def embed(self, image: np.ndarray) -> np.ndarray:
        return image

    def segment(self, embedding: Any, *, prompts: Any, multimask: bool) -> list[Candidates]:
        assert multimask
        answers = []
        for _ in prompts:
            logits = np.full((3, 64, 64), -8, np.float32)
            if not self.asked:
                logits[0, 10:30, 20:50] = 8  # the object
                logits[1, 10:30, 21:51] = 8  # nearly the same, and worse
            self.asked += 1
            answers.append(
                Candidates.of_logits(
                    logits,
                    np.array([0.9, 0.8, 0.1], np.float32),
                    np.arange(3),
                    geometry(HW, self.spec),
                )
            )
        return answers


def ring(mask: np.ndarray) -> np.ndarray:
    """The pixels around a mask, by looking at the neighbours."""
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return wide & ~mask


def test_a_model_is_asked_on_the_grid_and_duplicates_are_dropped() -> None:
    method = Fake()
    edges = model_edges(method, np.zeros((*HW, 3), np.uint8))
    assert method.asked == EDGE_GRID_SIDE**2
    assert np.array_equal(edges > 0, ring(rectangle(HW, (20, 10, 50, 30))))
    assert edges.max() == 1


def test_a_model_without_clicks_or_logits_has_no_edges() -> None:
    image = np.zeros((*HW, 3), np.uint8)
    boxes = replace(SPEC, accepts=frozenset({"box"}))
    with pytest.raises(NotMeasured, match="it takes no clicks"):
        model_edges(Fake(boxes), image)
    with pytest.raises(NotMeasured, match="masks without logits"):
        model_edges(perfect(), image)


def test_the_edge_is_on_the_outer_boundary_and_as_strong_as_the_model_is_sure() -> None:
    sure, unsure = (np.full(HW, -strength, np.float32) for strength in (8, 0.5))
    sure[5:15, 5:15], unsure[25:40, 30:50] = 8, 0.5
    edges = logits_to_edges([sure, unsure], HW)
    outer = ring(sure > 0), ring(unsure > 0)
    assert np.array_equal(edges > 0, outer[0] | outer[1])
    assert edges[outer[0]].max() == 1
    assert edges[outer[1]].max() < 0.3


def test_no_mask_is_no_edge() -> None:
    assert not logits_to_edges([], HW).any()
    assert not logits_to_edges([np.full(HW, -1, np.float32)], HW).any()
    assert not logits_to_edges([np.ones(HW, np.float32)], HW).any()  # the whole photo


def test_regions_meet_in_one_line() -> None:
    regions = np.zeros((6, 8), np.int64)
    regions[:, 5:] = 1
    assert np.argwhere(region_edges(regions)).tolist() == [[row, 4] for row in range(6)]
    assert not region_edges(np.full((6, 8), 3)).any()
    assert not region_edges(np.zeros((1, 1))).any()


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 135])
def test_a_ridge_becomes_a_line_on_its_crest(angle: float) -> None:
    y, x = np.mgrid[:60, :60] - 30.0
    across = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    edges = np.exp(-(across**2) / 8).astype(np.float32)
    line = suppress(edges) > 0.05
    inside = np.zeros_like(line)
    inside[6:-6, 6:-6] = True
    assert (np.abs(across[line & inside]) < 0.8).all()
    crest = np.abs(across) < 0.3
    assert cv2.dilate(line.astype(np.uint8), np.ones((3, 3), np.uint8))[crest & inside].all()


def test_suppression_takes_pixels_away_and_changes_none() -> None:
    edges = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    kept = suppress(edges)
    assert 0 < (kept > 0).mean() < 0.6
    assert np.array_equal(kept[kept > 0], edges[kept > 0])
    assert suppress(np.ones((1, 1), np.float32)).tolist() == [[1]]
    assert not suppress(np.zeros((3, 1), np.float32)).any()


@pytest.mark.parametrize("detector", [sobel_edges, canny_edges])
def test_a_grey_step_is_an_edge(detector: Any) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 200
    edges = detector(image)
    assert edges.shape == (40, 40)
    assert edges[:, 19:21].max(axis=1).min() >= 0.98
    assert edges[:, :10].max() == pytest.approx(0, abs=1e-5)
    assert detector(np.full((5, 6, 3), 77, np.uint8)).max() < 0.01  # below each threshold


def test_canny_at_each_threshold_is_opencvs() -> None:
    """On slopes that 8 bits hold exactly, cv2.Canny of the slopes is the oracle."""
    rng = np.random.default_rng(4)
    image = np.repeat(
        cv2.GaussianBlur(rng.integers(0, 255, (50, 60)).astype(np.uint8), (9, 9), 0)[..., None],
        3,
        2,
    )
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(grey, (0, 0), 2.0)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    scale = 16000 / np.hypot(dx, dy).max()
    slopes = [np.round(slope * scale).astype(np.int16) for slope in (dx, dy)]
    found = canny_edges(image)
    for level in (0.01, 0.07, 0.29, 0.5, 0.99):
        expected = cv2.Canny(*slopes, 0.4 * level * 16000, level * 16000, L2gradient=True) > 0
        assert np.array_equal(found >= level, expected)
    assert (found >= 0.3).sum() > (found >= 0.6).sum() > 0


def test_a_faint_part_of_a_strong_line_is_followed_and_a_faint_line_is_not() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[:30, 30:] = 200  # a step that is strong above and fainter below
    image[30:, 30:] = 110
    image[:, 70:] = image[:, 69:70] + 40
    found = canny_edges(image) >= 0.75
    assert found[40:55, 28:33].any(axis=1).all()
    assert not found[:, 66:74].any()
