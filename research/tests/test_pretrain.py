"""Pretraining by hidden cells and by a teacher: its parts, its loss, and its features."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymask import models
from anymask.training.weights import load_start
from research.pretrain import (
    HIDDEN,
    PretrainConfig,
    Reconstruction,
    cell_pixels,
    crops,
    features_of,
    hidden_cells,
    hide,
    main,
    pixels_of,
    pretrain,
    probe,
)
from tests.conftest import SHARED
from tests.evaluation.small_sets import write_set

TINY = PretrainConfig(steps=40, side=64, images=8, rate=2e-3, seed=1)
NUCLEI = SHARED / "data" / "finetune"


def test_the_same_number_of_cells_is_hidden_in_each_image() -> None:
    hidden = hidden_cells(5, 8, torch.Generator().manual_seed(0))
    assert hidden.shape == (5, 8, 8)
    assert hidden.sum(dim=(1, 2)).tolist() == [round(HIDDEN * 64)] * 5
    assert not torch.equal(hidden[0], hidden[1])


def test_hidden_cells_are_blank_and_the_others_unchanged() -> None:
    images = torch.rand(2, 3, 8, 8) + 1
    hidden = torch.zeros(2, 2, 2, dtype=torch.bool)
    hidden[0, 0, 1] = True
    found = hide(images, hidden)
    assert (found[0, :, :4, 4:] == 0).all()
    found[0, :, :4, 4:] = images[0, :, :4, 4:]
    assert torch.equal(found, images)


def test_targets_are_the_pixels_of_a_cell_with_mean_0_and_deviation_1() -> None:
    images = torch.rand(1, 3, 8, 8)
    targets = cell_pixels(images, 2)
    assert targets.shape == (1, 48, 2, 2)
    cell = images[0, :, 4:, :4]  # second row, first column
    expected = (cell - cell.mean()) / cell.std()
    torch.testing.assert_close(targets[0, :, 1, 0], expected.reshape(48), atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of colored stripes, whose hidden cells follow from the visible ones."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    paths = []
    for number in range(8):
        y, x = np.mgrid[:96, :96] / 96
        wave = np.sin(20 * (x * np.cos(number) + y * np.sin(number)))
        image = 127 + 100 * wave[..., None] * rng.uniform(-1, 1, 3)
        paths.append(folder / f"{number}.png")
        Image.fromarray(image.astype(np.uint8)).save(paths[-1])
    return paths


@pytest.mark.parametrize("kind", ["mae", "sami"])
def test_the_loss_of_hidden_cells_falls(kind: str, images: list[Path]) -> None:
    torch.manual_seed(0)
    model, teacher = models.build("tiny"), models.build("tiny")
    target = pixels_of(model, 64) if kind == "mae" else features_of(teacher)
    task = Reconstruction(model, 64, target)
    losses = list(pretrain(task, crops(images, TINY), TINY))
    assert len(losses) == TINY.steps
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])


def test_features_of_hidden_cells_beat_random_ones_on_nuclei() -> None:
    if not (NUCLEI / "nuclei_train").is_dir():
        pytest.skip("needs ../shared/data/finetune/nuclei_train")
    torch.manual_seed(0)
    model = models.build("tiny")
    random = copy.deepcopy(model)
    config = PretrainConfig(steps=200, side=64, images=12, rate=2e-3)
    found = sorted((NUCLEI / "nuclei_train" / "images").iterdir())[:40]
    task = Reconstruction(model, 64, pixels_of(model, 64, by_cell=False))
    losses = list(pretrain(task, crops(found, config), config))
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10])
    sets = (NUCLEI / "nuclei_train", NUCLEI / "nuclei_test")
    learned, drawn = (probe(one, *sets, side=64, limit=24) for one in (model, random))
    assert learned > drawn + 0.02


class Brightness(torch.nn.Module):
    """A model whose features are the brightness of 8 x 8 cells, and noise."""

    spec = models.spec("tiny")

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        bright = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)
        return (torch.cat([bright, torch.randn_like(bright)], dim=1),)


def test_the_probe_finds_a_feature_that_is_the_annotated_share(tmp_path: Path) -> None:
    boxes = [[(4, 4, 30, 40)], [(20, 10, 60, 30)], [(0, 0, 50, 20)], [(30, 30, 64, 48)]]
    for name in ("a", "b"):
        write_set(tmp_path / name, boxes)
    assert probe(Brightness(), tmp_path / "a", tmp_path / "b", side=64) > 0.99


def test_the_command_writes_a_start(images: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "runs" / "mae.pt"
    words = ["--data", str(images[0].parent), "--model", "nano_tiny", "--side", "64"]
    assert main(["mae", *words, "--steps", "2", "--images", "2", "-o", str(out)]) == 0
    saved = torch.load(out, weights_only=True)["model"]
    started = models.build("nano_tiny")
    load_start(started, out)  # as `init` of a recipe does
    for name, value in started.state_dict().items():
        torch.testing.assert_close(value, saved[name])
    assert main(["mae", *words]) == 2
