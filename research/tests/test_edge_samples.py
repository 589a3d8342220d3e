"""What edges are trained on: the truth where the answer means it, the answer itself elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.masks import EDGE_SIDE as SIDE
from anymask.masks import Geometry, Prompt
from anymask.models.edge_refiner import CLUES
from anymask.segment.prediction import window_around
from research.nano.edge_samples import (
    LEAVE,
    EdgeBatch,
    WindowStore,
    WindowWriter,
    edge_target,
    other_colors,
    spoiled_cells,
    training_window,
)

CELL = 8.0


def square(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def gate_of(mask: np.ndarray, reach: int = 16) -> np.ndarray:
    """1 within some pixels of the edge of a mask of squares."""
    gate = np.zeros(mask.shape, np.float32)
    for shift in range(-reach, reach + 1):
        for axis in (0, 1):
            gate[np.roll(mask, shift, axis) != mask] = 1
    return gate


TRUTH = square(60, 60, 200, 200)


def test_near_the_edge_the_truth_is_wanted() -> None:
    coarse = square(64, 60, 196, 205)
    gate = gate_of(coarse)
    target, weight = edge_target(np.where(coarse, 3.0, -3.0), TRUTH, gate, CELL)
    np.testing.assert_array_equal(target[gate > 0], TRUTH[gate > 0])
    np.testing.assert_array_equal(weight, gate)


def test_an_answer_that_means_something_else_is_left_alone() -> None:
    coarse = square(60, 60, 90, 90)
    gate = gate_of(coarse)
    target, weight = edge_target(np.where(coarse, 3.0, -3.0), TRUTH, gate, CELL)
    np.testing.assert_array_equal(target, coarse)
    np.testing.assert_allclose(weight, gate * LEAVE)


def test_near_an_error_beyond_reach_the_answer_stays_and_elsewhere_not() -> None:
    coarse = TRUTH | square(20, 60, 60, 120)  # a part too much, above
    coarse[190:200] = False  # and an edge that can be mended, below
    gate = gate_of(coarse)
    target, weight = edge_target(np.where(coarse, 3.0, -3.0), TRUTH, gate, CELL)
    np.testing.assert_array_equal(target[:70, 60:120], coarse[:70, 60:120])
    assert (weight[16:44, 64:116][gate[16:44, 64:116] > 0] == LEAVE).all()
    assert target[190:200, 70:190].all()


def test_spoiled_cells_draw_about_the_truth() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        cells = spoiled_cells(TRUTH, 40, rng)
        drawn = np.kron(cells > 0, np.ones((7, 7)))[:SIDE, :SIDE] > 0
        small = TRUTH[:: SIDE // 40][:40, :: SIDE // 40][:, :40]
        assert cells.shape == (40, 40)
        assert drawn.any()
        assert np.count_nonzero((cells > 0) & small) > 0.3 * np.count_nonzero(small)


def test_other_colours_keep_the_kind() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    made = [other_colors(image, np.random.default_rng(n)) for n in range(20)]
    assert all(one.dtype == np.uint8 and one.shape == image.shape for one in made)
    assert any((one != image).any() for one in made)


@pytest.fixture
def store(tmp_path: Path) -> WindowStore:
    """Three answers for a square on a photo of 240 x 320."""
    image = np.full((240, 320, 3), 90, np.uint8)
    truth = np.zeros((240, 320), np.bool_)
    truth[80:160, 100:220] = True
    image[truth] = 200
    geometry = Geometry((240, 320), (384, 512), 512)
    with WindowWriter(tmp_path / "windows") as writer:
        for n in range(3):
            logits = np.full((128, 128), -5, np.float32)
            logits[32 + n : 64, 40 : 88 - n] = 5
            window = window_around(logits, geometry)
            assert window is not None
            prompt = Prompt.of(points=[(160, 120)]) if n else Prompt.of(box=(100, 80, 220, 160))
            writer.add(image, truth, logits, window, (prompt, 0.9, f"photo {n}", "photo"))
    return WindowStore(tmp_path / "windows")


def test_what_was_stored_is_read(store: WindowStore) -> None:
    assert [row.group for row in store.rows] == ["photo 0", "photo 1", "photo 2"]
    row = store.rows[1]
    assert row.prompt.points is not None
    assert row.prompt.points.tolist() == [[160, 120]]
    assert store.rows[0].prompt.box is not None
    for n in range(3):
        assert store.logits(n).shape == (store.rows[n].cells,) * 2
        assert (store.image(n)[store.truth(n)] > 150).mean() > 0.98
        assert (store.image(n)[~store.truth(n)] < 150).mean() > 0.98
        fits = np.kron(store.logits(n) > 0, np.ones((8, 8)))[:SIDE, :SIDE].mean()
        assert fits > 0.1


@pytest.mark.parametrize("side", [128, SIDE])
def test_a_batch_of_windows_or_parts(store: WindowStore, side: int) -> None:
    rng = np.random.default_rng(4)
    batch = EdgeBatch.of([training_window(store, n % 3, rng, side) for n in range(12)])
    assert batch.clues.shape == (12, CLUES, side, side)
    assert set(batch.target.unique().tolist()) == {0, 1}
    assert (batch.weight <= batch.clues[:, 4:5] + 1e-6).all()
    assert torch.isfinite(batch.clues).all()
    np.testing.assert_allclose(batch.wide.clamp(-8, 8), batch.clues[:, 3:4] * 4, atol=1e-5)


def test_without_a_generator_a_window_is_as_it_was_stored(store: WindowStore) -> None:
    maps = training_window(store, 0, None)
    image = (maps[:3].numpy().transpose(1, 2, 0) + 1) * 127.5
    np.testing.assert_allclose(image, store.image(0), atol=1e-3)
