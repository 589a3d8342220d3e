"""What a training starts from: every file that `anymask.load` takes as weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from anymask import models
from anymask.base import InputError
from anymask.training import Recipe, weights
from anymask.training.lora import adapters_of, add_adapters, merge_adapters, save_adapters
from anymask.training.step import Teacher
from anymask.training.trainee import starting_module
from anymask.training.weights import load_start


def network(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.build(name)


def as_published(state: dict[str, Tensor], path: Path) -> None:
    """SAM's own file: with the constants that some trainers save."""
    constants = {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    torch.save(state | constants, path)


def as_wrapped(state: dict[str, Tensor], path: Path) -> None:
    """EfficientSAM's, and most training loops'."""
    torch.save({"model": {f"module.{name}": one for name, one in state.items()}}, path)


def as_averaged(state: dict[str, Tensor], path: Path) -> None:
    """A checkpoint of a run here: the averaged weights count."""
    torch.save({"model": {n: one + 1 for n, one in state.items()}, "average": state}, path)


@pytest.mark.parametrize("write", [as_published, as_wrapped, as_averaged, save_file])
def test_all_files_of_weights_are_a_start_and_a_teacher(
    write: Callable[[dict[str, Tensor], Path], None], tmp_path: Path
) -> None:
    state, path = network("tiny", 3).state_dict(), tmp_path / "sam.pth"
    write({name: one.contiguous() for name, one in state.items()}, path)
    begun = network("tiny", 4)
    load_start(begun, path)
    taught = Teacher.open(Recipe(teacher="tiny", teacher_weights=str(path))).module
    for one in (begun, taught):
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_adapters_are_a_start_merged_into_the_models_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = network("tiny", 3)
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    monkeypatch.setattr(weights, "trainable_weights", lambda _: tmp_path / "own.safetensors")
    add_adapters(own, 2, 4.0)
    with torch.no_grad():
        for change in adapters_of(own).values():
            change.lora_B.normal_()
    save_adapters(own, tmp_path / "adapter", "tiny", 4.0)
    merge_adapters(own)
    begun = network("tiny", 5)
    load_start(begun, tmp_path / "adapter")
    for name, value in begun.state_dict().items():
        torch.testing.assert_close(value, own.state_dict()[name])
    with pytest.raises(InputError, match="trained for tiny, not for nano"):
        load_start(network("nano_tiny", 5), tmp_path / "adapter")


def test_where_sam_starts_sam_hq_the_run_and_what_it_is_compared_with_begin_alike(
    tmp_path: Path,
) -> None:
    save_file(network("tiny", 3).state_dict(), tmp_path / "sam.safetensors")
    recipe = Recipe(model="tiny_hq", learn="hq", init=str(tmp_path / "sam.safetensors"), seed=9)
    begun = starting_module(tmp_path, recipe).state_dict()
    fresh, sam = network("tiny_hq", 9).state_dict(), network("tiny", 3).state_dict()
    assert begun.keys() == fresh.keys()
    for name, value in begun.items():
        assert torch.equal(value, sam.get(name, fresh[name])), name
