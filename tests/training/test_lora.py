"""Low-rank adapters: they change nothing at first, learn alone, merge exactly, and are PEFT's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anymask import models
from anymask.base import WeightsError
from anymask.runtime import merge_files, read_adapters
from anymask.runtime.adapters import TENSORS
from anymask.training import LAST
from anymask.training.loop import TrainingRun, train
from anymask.training.lora import adapters_of, add_adapters, merge_adapters, save_adapters
from anymask.training.run_folder import read_state
from tests.training.test_families import TINY, one_step

NARROW = {"A": torch.zeros(4, 1, 1, 1), "B": torch.zeros(1, 4, 1, 1)}


def answers(model: torch.nn.Module, side: int) -> list[torch.Tensor]:
    """What a model says of one picture and two clicks."""
    torch.manual_seed(3)
    model.eval()
    image = torch.randn(1, 3, side, side)
    spec = model.spec
    points = spec.fixed_points or 2
    low = spec.mask_side * side // spec.image_side
    labels = torch.tensor([[1, 0, -1, -1, -1, -1][:points]])
    with torch.no_grad():
        features = model.encode(image)  # type: ignore[operator]
        decoded = model.decode(  # type: ignore[operator]
            features, side * torch.rand(1, points, 2), labels, torch.zeros(1, 1, low, low),
            torch.zeros(1),
        )  # fmt: skip
    return [*features, *decoded]


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """The model with adapters that change something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for change in adapters_of(model).values():
            change.lora_B.normal_(std=0.05)
    return model


@pytest.mark.parametrize("name", TINY)
def test_new_adapters_change_no_answer_and_merged_ones_answer_alike(name: str) -> None:
    model = models.build(name)
    before = answers(model, TINY[name])
    add_adapters(model, 4, 8.0)
    last_bit = 2e-6 if name == "tiny_video" else 0.0
    for one, other in zip(before, answers(model, TINY[name]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=last_bit)
    changed = answers(stirred(model), TINY[name])
    assert any(not torch.equal(one, other) for one, other in zip(before, changed, strict=True))
    merge_adapters(model)
    assert set(model.state_dict()) == set(models.build(name).state_dict())
    for one, other in zip(changed, answers(model, TINY[name]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_an_adapter_adds_alpha_over_rank_times_the_product() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False))
    weight = layer[0].weight.detach().clone()
    add_adapters(layer, 1, 4.0)
    (change,) = adapters_of(layer).values()
    with torch.no_grad():
        change.lora_A.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        change.lora_B.copy_(torch.tensor([[1.0], [-1.0]]))
    told = torch.tensor([[4.0, 8.0, 12.0], [-4.0, -8.0, -12.0]])
    torch.testing.assert_close(layer[0].weight, weight + told)


def test_only_adapters_learn_and_a_cut_run_ends_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    recipe = replace(one_step("tiny", learn="lora", lora_rank=2), save_every=1)
    recipe = replace(recipe, stages=(replace(recipe.stages[0], steps=2),))
    train(recipe, TrainingRun(data, tmp_path / "whole"))
    first = replace(recipe, stages=(replace(recipe.stages[0], steps=1),))
    train(first, TrainingRun(data, tmp_path / "cut"))
    train(recipe, TrainingRun(data, tmp_path / "cut"))
    whole, cut = (read_state(tmp_path / name / LAST)["model"] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    torch.manual_seed(recipe.seed)
    plain = models.build("tiny").state_dict()
    moved = {name for name in whole if ".lora_" in name and whole[name].abs().sum() > 0}
    assert any(name.endswith("lora_B") for name in moved)
    for name, tensor in plain.items():
        kept = whole.get(name)
        if kept is None:
            kept = whole[f"{name.removesuffix('.weight')}.parametrizations.weight.original"]
        assert torch.equal(tensor, kept), name


def test_peft_reads_and_applies_our_file(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    model = stirred_model()
    save_adapters(model, tmp_path, "tiny", 8.0)
    base = models.build("tiny")
    base.load_state_dict(stirred_base())
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path)).merge_and_unload()
    for one, other in zip(answers(model, 64), answers(theirs, 64), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_adapters_of_a_few_layers_change_those_alone(tmp_path: Path) -> None:
    save_adapters(stirred_model(), tmp_path, "tiny", 8.0)
    tensors = load_file(tmp_path / TENSORS)
    few = sorted({name.partition(".lora_")[0] for name in tensors})[:2]
    save_file({n: t for n, t in tensors.items() if n.startswith(tuple(few))}, tmp_path / TENSORS)
    merged = models.build("tiny")
    merged.load_state_dict(stirred_base())
    merge_files(merged, read_adapters(tmp_path))
    changed = {
        name
        for name, one in merged.state_dict().items()
        if not torch.equal(one, stirred_base()[name])
    }
    assert changed == {f"{name.removeprefix('base_model.model.')}.weight" for name in few}


def stirred_base() -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    return models.build("tiny").state_dict()


def stirred_model() -> torch.nn.Module:
    model = models.build("tiny")
    model.load_state_dict(stirred_base())
    add_adapters(model, 4, 8.0)
    return stirred(model)


def test_adapters_of_another_model_are_refused(tmp_path: Path) -> None:
    save_adapters(stirred_model(), tmp_path, "tiny", 8.0)
    with pytest.raises(WeightsError, match="has no layer"):
        merge_files(models.build("nano_tiny"), read_adapters(tmp_path))
    tensors = load_file(tmp_path / TENSORS)
    name = next(iter(tensors))
    save_file({**tensors, name: torch.zeros(1, 1)}, tmp_path / TENSORS)
    with pytest.raises(WeightsError, match="Expected lora_A and lora_B of rank 4"):
        read_adapters(tmp_path)
    narrow = {name.replace(".lora_A", f".lora_{letter}"): one for letter, one in NARROW.items()}
    save_file({**tensors, **narrow}, tmp_path / TENSORS)
    with pytest.raises(WeightsError, match="has no layer .* of shape 1 x 1"):
        merge_files(models.build("tiny"), read_adapters(tmp_path))
    save_file({**tensors, "base_model.model.head.weight": torch.zeros(2)}, tmp_path / TENSORS)
    with pytest.raises(WeightsError, match="Expected PEFT's lora_A and lora_B"):
        read_adapters(tmp_path)
    with pytest.raises(WeightsError, match="Not a valid PEFT adapter folder"):
        read_adapters(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="has no adapters"):
        save_adapters(models.build("tiny"), tmp_path, "tiny", 8.0)
