"""Adapters of `mobile_sam` with the recipe's weights: they learn, resume bit-equal and merge."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anymask import models
from anymask.training import LAST, Recipe, trained_module
from anymask.training.loop import TrainingRun, train
from anymask.training.lora import merge_adapters
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import KEPT, read_state
from anymask.training.trainee import set_learning
from tests.golden.parity import load_recipe
from tests.training.small_data import write_sets

NAME = "mobile_sam"


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, Path]:
    """Two steps of one picture in one sitting; the checkpoint after the first is kept."""
    folder = tmp_path_factory.mktemp("lora")
    of_golden = load_recipe(shared)
    module = models.build(NAME)
    shapes = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    filled = of_golden.fill(shapes)
    start = folder / "start.safetensors"
    save_file({n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in filled.items()}, start)
    recipe = Recipe(
        model=NAME, learn="lora", init=str(start), lora_rank=4, rate=1e-2, warmup=1,
        synthetic=0.0, balanced_steps=1, workers=1, prepare_ahead=False, save_every=1, keep=2,
        stages=(RecipeStage(steps=2, side=models.spec(NAME).image_side, images=1, masks=1),),
    )  # fmt: skip
    data = write_sets(folder / "data")
    train(recipe, TrainingRun(data, folder / "whole"))
    return recipe, data, folder


def test_a_run_that_is_resumed_ends_bit_equal(run: tuple[Recipe, Path, Path]) -> None:
    recipe, data, folder = run
    (folder / "cut").mkdir()
    (folder / "cut" / LAST).write_bytes((folder / "whole" / KEPT.format(1)).read_bytes())
    train(recipe, TrainingRun(data, folder / "cut"))
    whole, cut = (read_state(folder / name / LAST) for name in ("whole", "cut"))
    assert whole["progress"]["skipped"] == 0
    for part in ("model", "average"):
        assert all(torch.equal(whole[part][name], cut[part][name]) for name in whole[part])


def test_merged_adapters_answer_as_the_adapters_do(run: tuple[Recipe, Path, Path]) -> None:
    recipe, _, folder = run
    state = read_state(folder / "whole" / LAST)
    apart = models.build(NAME)
    set_learning(apart, recipe)
    apart.load_state_dict(state["average"])
    merged = trained_module(state)
    assert set(merged.state_dict()) == set(models.build(NAME).state_dict())
    torch.manual_seed(1)
    picture = torch.randn(1, 3, 256, 256)  # a merged layer does not know how large it was
    answers = []
    for model in (apart.eval(), merged):
        with torch.no_grad():
            (features,) = model.encode(picture)  # type: ignore[operator]
            logits, quality = model.decode(  # type: ignore[operator]
                (features,), torch.tensor([[[60.0, 80.0]]]), torch.tensor([[1]]),
                torch.zeros(1, 1, 64, 64), torch.zeros(1),
            )  # fmt: skip
        answers.append((features, logits, quality))
    for one, other in zip(*answers, strict=True):
        largest = one.abs().max()
        torch.testing.assert_close(one / largest, other / largest, rtol=0, atol=1e-5)
    merge_adapters(apart)
    for name, tensor in merged.state_dict().items():
        assert torch.equal(tensor, apart.state_dict()[name]), name
