"""Edges are learned from answers: gathered, trained, judged, on a little data set."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import UintImage
from anymask.masks import Geometry
from anymask.segment import Prediction
from research.nano.edge_answers import Asking, false_colors, gather_windows
from research.nano.edge_samples import EdgeBatch, WindowStore, training_window
from research.nano.edge_training import EdgeRecipe, edge_loss, judge_edges, train_edges
from tests.training.small_data import write_sets


def see(image: UintImage) -> Asking:
    """A model that answers whatever is asked with the bright shape, roughly."""
    scale = 512 / max(image.shape[:2])
    height, width = (max(1, int(length * scale + 0.5)) for length in image.shape[:2])
    geometry = Geometry((image.shape[0], image.shape[1]), (height, width), 512)
    bright = image.mean(axis=2) > 130
    cells = np.full((128, 128), -4, np.float32)
    rows, columns = (length // 4 for length in geometry.input_hw)
    ys = np.arange(rows) * image.shape[0] // rows
    xs = np.arange(columns) * image.shape[1] // columns
    cells[:rows, :columns] = np.where(np.roll(bright, 1)[np.ix_(ys, xs)], 3, -4)
    quality, order = np.full(1, 0.9, np.float32), np.zeros(1, np.int64)

    def ask(prompts: object) -> list[Prediction]:
        return [Prediction.of_logits(cells[None], quality, order, geometry) for _ in list(prompts)]  # type: ignore[call-overload]

    return ask


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edges")
    told: list[tuple[int, int]] = []
    gather_windows(
        write_sets(folder / "sets"),
        folder / "windows",
        see,
        12,
        on_progress=lambda *it: told.append(it),
    )
    assert told[-1] == (12, 12)
    return folder / "windows"


def test_answers_of_every_kind_of_prompt_are_gathered(windows: Path) -> None:
    rows = WindowStore(windows).rows
    assert any(row.box for row in rows)
    assert any(row.points and len(row.points) > 1 and row.labels for row in rows)
    assert {row.kind.split(",")[0] for row in rows} >= {"photo"}
    assert any("recoloured" in row.kind for row in rows)
    assert any(row.iou > 0.5 for row in rows)


def test_false_colours_tell_one_value_a_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    made = [false_colors(image, np.random.default_rng(n)) for n in range(24)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in made)
    gray = [one for one in made if (one[..., 0] == one[..., 2]).all()]
    assert 4 <= len(gray) <= 20


def test_the_loss_falls_and_the_judge_sees_before_and_after(windows: Path, tmp_path: Path) -> None:
    store = WindowStore(windows)
    rng = np.random.default_rng(0)
    batch = EdgeBatch.of([training_window(store, 0, rng, 64) for _ in range(4)])
    right = batch.target * 20 - 10 - batch.wide
    assert edge_loss(right, batch) < 0.05
    assert edge_loss(torch.zeros_like(right), batch) > edge_loss(right, batch)
    ticks = iter(np.linspace(0, 60, 20).tolist() + [61.0] * 200)
    rows: list[dict[str, float]] = []
    recipe = EdgeRecipe(minutes=1.0, windows=2, side=64)
    refiner = train_edges([store], tmp_path, recipe, rows.append, clock=lambda: next(ticks))
    assert (tmp_path / "refiner.pt").is_file()
    judged = {one.kind: one for one in judge_edges(refiner, [store])}
    held = [row for row in store.rows if row.held_out]
    if held:
        assert judged["all"].count == len(held)
        assert 0 < judged["all"].before <= 1
