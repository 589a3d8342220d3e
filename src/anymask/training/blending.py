"""Weights between two networks: a start and what was learned from it in, a network between out.

A straight line leads from weights to those that were tuned from them, and a network on it often
answers new pictures better than both ends (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models", section 3): it keeps more of what the start had learned from many pictures.
"""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def blend(learned: nn.Module, start: nn.Module, share: float) -> nn.Module:
    """`learned` itself, its numbers now `share` of the way from those of `start`.

    share  0 to 1: of what was learned; 1 changes nothing

    What `start` has not, or has in another shape, stays as it was learned; so do whole numbers.
    """
    old = start.state_dict()
    for name, value in learned.state_dict().items():
        first = old.get(name)
        if first is not None and first.shape == value.shape and value.is_floating_point():
            value.copy_(first.to(value).lerp(value, share))
    return learned
