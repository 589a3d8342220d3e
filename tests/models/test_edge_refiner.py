"""The network of edges speaks near the edge alone, and counts colours as they are."""

import numpy as np
import pytest
import torch

from anymask.masks import EDGE_SIDE as SIDE
from anymask.models.edge_refiner import (
    BINS,
    GATE_RADIUS,
    HISTOGRAM_RADIUS,
    MAX_CORRECTION,
    EdgeRefiner,
    color_likelihood,
    edge_gate,
    enlarged,
)


def loud() -> EdgeRefiner:
    """One that wants to change everything."""
    torch.manual_seed(0)
    refiner = EdgeRefiner().eval()
    torch.nn.init.constant_(refiner.head[-1].bias, 100.0)  # type: ignore[arg-type]
    return refiner


def disc(cells: int = 40, radius: float = 12) -> torch.Tensor:
    y, x = np.mgrid[:cells, :cells] - (cells - 1) / 2
    return torch.from_numpy((radius - np.hypot(y, x)).astype(np.float32))[None, None]


def test_it_has_few_weights_and_changes_nothing_before_it_learned() -> None:
    refiner = EdgeRefiner().eval()
    assert sum(one.numel() for one in refiner.parameters()) <= 500_000
    change = refiner(torch.rand(1, 3, SIDE, SIDE) * 255, disc(), torch.zeros(1, 2, SIDE, SIDE))
    assert not change.any()


def test_nothing_changes_far_from_the_edge() -> None:
    logits = disc()
    with torch.no_grad():
        change = loud()(torch.rand(1, 3, SIDE, SIDE) * 255, logits, torch.zeros(1, 2, SIDE, SIDE))
    far = enlarged(logits).abs() > 2 * (
        GATE_RADIUS + 2
    )  # this disc's logits are cells from the edge
    assert far.any()
    assert not change[far].any()
    near = enlarged(logits).abs() < GATE_RADIUS - 1
    assert (change[near] > 0.9 * MAX_CORRECTION).all()
    assert change.max() <= MAX_CORRECTION


@pytest.mark.parametrize("level", [-3.0, 3.0])
def test_a_mask_without_an_edge_has_no_gate(level: float) -> None:
    assert not edge_gate(torch.full((1, 1, 20, 20), level), HISTOGRAM_RADIUS).any()


def test_the_likelihood_of_a_colour_is_that_of_a_count() -> None:
    """Against a histogram of numpy, over two windows at once."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.float32)
    image[:, 0] //= 4  # fewer colours, so that counts are not all alike
    wide = torch.from_numpy(rng.normal(0, 2, (2, 1, SIDE, SIDE)).astype(np.float32))
    got = color_likelihood(torch.from_numpy(image), wide, torch.ones_like(wide))[:, 1].numpy()
    for window in range(2):
        levels = (image[window] // (256 // BINS)).astype(int)
        sure = np.clip(wide[window, 0].numpy() / 1.1, -1, 1)
        chances = []
        for weights in (np.maximum(sure, 0), np.maximum(-sure, 0)):
            cube = np.zeros((BINS + 2,) * 3)
            np.add.at(cube, tuple(level + 1 for level in levels), weights)
            for axis in range(3):
                inner = np.moveaxis(cube, axis, 0).copy()
                inner[1:-1] += 0.5 * (
                    np.moveaxis(cube, axis, 0)[:-2] + np.moveaxis(cube, axis, 0)[2:]
                )
                inner[[0, -1]] = 0
                cube = np.moveaxis(inner, 0, axis)
            chances.append(cube[1:-1, 1:-1, 1:-1] / (cube.sum() + 1) + 1e-4)
        expected = np.clip(np.log(chances[0] / chances[1]), -4, 4)[tuple(levels)] / 2
        np.testing.assert_allclose(got[window], expected, atol=2e-3)
