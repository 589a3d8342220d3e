"""Batch norm folding: modules with batch norm in, equal ones of plain convolutions out.

In inference a batch norm is one scale and one shift per channel, so it disappears into the
weights of the convolution before it (Jacob et al. 2018, arXiv:1712.05877, section 3.2), and
parallel branches of convolutions add up to one (RepVGG, arXiv:2101.03697, section 3.3). A folded
network computes the same function with fewer passes over memory; its parameter names differ from
the official ones, so folding comes after loading, on the way to an export.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Foldable(Protocol):
    """A module that knows the simpler module that it equals in inference."""

    def folded(self) -> nn.Module:
        """The equal module; the children of `self` are folded already."""
        ...


class ConvBn(nn.Sequential):
    """A convolution without bias, then batch norm: the `c` and `bn` of LeViT's descendants.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the kernel, odd; padded so that stride 1 keeps the size.
        groups: As in `torch.nn.Conv2d`.
    """

    c: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def folded(self) -> nn.Conv2d:
        """The one convolution that equals both in inference."""
        return fold_batch_norm(self.c, self.bn)


def fuse(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode without the work that inference does not need.

    Every `Foldable` is replaced by what it folds to, and in every `nn.Sequential` a batch norm
    that directly follows a convolution goes into it. Outputs agree to about 1e-6 of their
    largest value in float32; `module` itself is left alone.
    """
    return _fold(copy.deepcopy(module).eval())


def _fold(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    if isinstance(module, Foldable):
        return module.folded()
    if isinstance(module, nn.Sequential):
        _fold_pairs(module)
    return module


def _fold_pairs(sequence: nn.Sequential) -> None:
    """Fold (convolution, batch norm) neighbours in place; an identity keeps the numbering."""
    children = list(sequence.named_children())
    for (name, conv), (next_name, norm) in pairwise(children):
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        if norm.track_running_stats:  # without them it measures each batch, also in inference
            setattr(sequence, name, fold_batch_norm(conv, norm))
            setattr(sequence, next_name, nn.Identity())


@torch.no_grad()
def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with bias that equals `norm(conv(x))` in inference.

    Args:
        norm: A batch norm with running statistics.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # In float64, so that the only rounding is the one of the result.
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = _or_constant(norm.weight, 1.0, mean) * torch.rsqrt(variance + norm.eps)
    bias = (_or_constant(conv.bias, 0.0, mean) - mean) * scale
    bias = bias + _or_constant(norm.bias, 0.0, mean)
    weight = conv.weight.double() * scale[:, None, None, None]

    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(weight.to(conv.weight.dtype))
    folded.bias = nn.Parameter(bias.to(conv.weight.dtype))
    return folded


def _or_constant(value: Tensor | None, constant: float, like: Tensor) -> Tensor:
    return torch.full_like(like, constant) if value is None else value.double()
