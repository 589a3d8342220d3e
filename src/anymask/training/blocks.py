"""Repeated blocks of a network.

They are the units of activation checkpointing, of sharding (FSDP), of drop path, and of layer-wise
learning rate decay (Clark et al. 2020, ELECTRA, section 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from anymask.models.layers import DropPath

_TRAILING_NUMBER = re.compile(r"\d+$")


def repeated_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Return the innermost repeated modules by name, in order.

    These are numbered children (`blocks.3`, `b3`) with siblings of their class and children.
    """
    blocks: dict[str, nn.Module] = {}
    for name, parent in model.named_modules():
        rows: dict[type[nn.Module], list[str]] = {}
        for child_name, child in parent.named_children():
            if _TRAILING_NUMBER.search(child_name) and next(child.children(), None) is not None:
                rows.setdefault(type(child), []).append(f"{name}.{child_name}".lstrip("."))
        blocks |= {
            path: model.get_submodule(path) for row in rows.values() if len(row) > 1 for path in row
        }
    outer = {name for name in blocks if any(other.startswith(f"{name}.") for other in blocks)}
    order = {name: index for index, (name, _) in enumerate(model.named_modules())}
    return {name: blocks[name] for name in sorted(set(blocks) - outer, key=order.__getitem__)}


def layer_decays(model: nn.Module, encoder: str, decay: float) -> Callable[[str], float]:
    """Return a function from parameter name to learning rate factor (layer-wise decay).

    The factor of each encoder block is `decay` times that of the next block, starting at `decay`
    for the last block. Parameters before the first block have the smallest factor.

    Args:
        encoder: Prefix of the encoder's parameters.
    """
    blocks = [name for name in repeated_blocks(model) if name.startswith(encoder)]
    names = [name for name, _ in model.named_parameters()]
    firsts = [next((i for i, n in enumerate(names) if n.startswith(f"{b}.")), 0) for b in blocks]
    first = min(firsts, default=0)

    def factor(name: str) -> float:
        if decay == 1 or not name.startswith(encoder) or not blocks:
            return 1.0
        for number, block in enumerate(blocks):
            if name.startswith(f"{block}."):
                return float(decay ** (len(blocks) - number))
        return float(decay ** (len(blocks) + 1)) if names.index(name) < first else 1.0

    return factor


def set_drop_path(model: nn.Module, rate: float) -> bool:
    """Set the rate of the drop path layers, from 0 to `rate` in the last one.

    Returns:
        Whether the model has such layers.
    """
    layers = [part for part in model.modules() if isinstance(part, DropPath)]
    for index, layer in enumerate(layers):
        layer.rate = rate * index / max(1, len(layers) - 1)
    return bool(layers)


def recompute_blocks(model: nn.Module) -> None:
    """Enable activation checkpointing: the backward pass recomputes activations inside blocks.

    Outputs and gradients are unchanged (dropout uses the same random numbers).
    """
    for block in repeated_blocks(model).values():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
