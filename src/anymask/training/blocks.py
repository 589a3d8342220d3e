"""The blocks of a network: a module in, its repeated parts in order out.

They are what is recomputed (activation checkpointing), what is sharded one by one (FSDP), and what
rates fall along (layer-wise decay, Clark et al. 2020, ELECTRA, section 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

_NUMBERED = re.compile(r"\d+$")


def repeated_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The innermost modules that stand in a row with others of their class, by name, in order.

    Such are numbered children (`blocks.3`, `b3`) with children of their own.
    """
    found: dict[str, nn.Module] = {}
    for name, parent in model.named_modules():
        rows: dict[type[nn.Module], list[str]] = {}
        for own, child in parent.named_children():
            if _NUMBERED.search(own) and next(child.children(), None) is not None:
                rows.setdefault(type(child), []).append(f"{name}.{own}".lstrip("."))
        found |= {
            one: model.get_submodule(one) for row in rows.values() if len(row) > 1 for one in row
        }
    outer = {name for name in found if any(other.startswith(f"{name}.") for other in found)}
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return {name: found[name] for name in sorted(set(found) - outer, key=order.__getitem__)}


def layer_decays(model: nn.Module, encoder: str, decay: float) -> Callable[[str], float]:
    """What the rate of a parameter is multiplied by, by the parameter's name.

    A block of the encoder learns `decay` times as fast as the one behind it, the last one `decay`
    times as fast as what comes after the blocks; what comes before them slowest of all.

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


def recompute_blocks(model: nn.Module) -> None:
    """Keep no activations inside the blocks: the backward pass computes them once more.

    Outputs and gradients stay as they are (dropout draws the same numbers).
    """
    for block in repeated_blocks(model).values():
        plain: Callable[..., Any] = block.forward
        block.forward = partial(checkpoint, plain, use_reentrant=False)
