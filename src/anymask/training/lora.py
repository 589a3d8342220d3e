"""Low-rank adapters (LoRA): add them to a model, merge them, and save or load PEFT files.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685, 4.1):
W + (alpha / r) * B A, where only B (rows x r, initially zero) and A (r x columns) are trained. All
linear layers and 1 x 1 convolutions are adapted. Files use the parameter names and the
adapter_config.json of the package PEFT.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from anymask.base import WeightsError, whole_file, write_json
from anymask.runtime import adapters as adapter_files


class LowRankChange(nn.Module):
    """Parametrization that adds (alpha / rank) * B A to a weight of any shape (rows, ...)."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.lora_A = nn.Parameter(torch.empty(rank, columns))
        self.lora_B = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, of the same shape."""
        return weight + self.scale * (self.lora_B @ self.lora_A).view_as(weight)


def add_adapters(model: nn.Module, rank: int, alpha: float) -> None:
    """Add adapters to linear layers and 1 x 1 convolutions, and freeze everything else."""
    model.requires_grad_(False)
    for layer in [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
        or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1)
    ]:
        change = LowRankChange(layer.get_parameter("weight"), rank, alpha)
        parametrize.register_parametrization(layer, "weight", change)


def merge_adapters(model: nn.Module) -> None:
    """Merge the adapters into the weights, which gives an ordinary model."""
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def adapters_of(model: nn.Module) -> dict[str, LowRankChange]:
    """Return the adapters of a model by layer name."""
    return {
        name.partition(".parametrizations.")[0]: part
        for name, part in model.named_modules()
        if isinstance(part, LowRankChange)
    }


def save_adapters(model: nn.Module, folder: Path, base: str, alpha: float) -> None:
    """Write the adapters in PEFT format.

    Args:
        folder: Output folder for adapter_model.safetensors and adapter_config.json.
        base: Name of the base model.
    """
    from safetensors.torch import save

    adapters = adapters_of(model)
    if not adapters:
        raise WeightsError(f"{base} has no adapters. Train adapters with learn = 'lora'.")
    layers = dict(model.named_modules())
    tensors = {}
    for name, change in adapters.items():
        room = (1, 1) if isinstance(layers[name], nn.Conv2d) else ()
        for letter, tensor in (("A", change.lora_A), ("B", change.lora_B)):
            key = f"{adapter_files.PEFT_PREFIX}{name}.lora_{letter}.weight"
            tensors[key] = tensor.detach().reshape(*tensor.shape, *room).contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / adapter_files.TENSORS) as file:
        file.write(save(tensors, metadata={"format": "pt"}))
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": next(iter(adapters.values())).lora_A.shape[0],
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(adapters),
    }
    write_json(folder / adapter_files.CONFIG, config)
