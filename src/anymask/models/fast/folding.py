"""Batch norm folding: replaces batch norms by equivalent convolutions.

In inference a batch norm is one scale and one shift per channel, which can be folded into the
weights of the convolution before it (Jacob et al. 2018, arXiv:1712.05877, section 3.2); parallel
branches of convolutions add up to one (RepVGG, arXiv:2101.03697, section 3.3). A folded network
computes the same function with fewer passes over memory. Its parameter names differ from the
official ones, so fold after loading.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Foldable(Protocol):
    """A module with a simpler equivalent in inference."""

    def folded(self) -> nn.Module:
        """The equivalent module; the children of `self` are already folded."""
        ...


class ConvBn(nn.Sequential):
    """A convolution without bias, then batch norm: `c` and `bn` of LeViT and its successors.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the kernel, odd; padded so that stride 1 keeps the size.
        stride: As in `torch.nn.Conv2d`.
        groups: As in `torch.nn.Conv2d`.
    """

    c: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def folded(self) -> nn.Conv2d:
        """The equivalent convolution in inference."""
        return fold_batch_norm(self.c, self.bn)


def fuse(module: nn.Module) -> nn.Module:
    """Copy of `module` in eval mode with everything folded.

    Every `Foldable` is folded, and in every `nn.Sequential` batch norms are folded into the
    convolution before them. Outputs agree to about 1e-6 of their largest value in float32; `module`
    is unchanged.
    """
    return _fold(copy.deepcopy(module).eval())


def _fold(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    if isinstance(module, Foldable):
        return module.folded()
    if isinstance(module, nn.Sequential):
        # Fold (convolution, batch norm) pairs in place; an identity keeps the numbering.
        for (name, conv), (next_name, norm) in pairwise(list(module.named_children())):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if norm.track_running_stats:  # without them it computes batch statistics, always
                setattr(module, name, fold_batch_norm(conv, norm))
                setattr(module, next_name, nn.Identity())
    return module


@torch.no_grad()
def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with bias, equivalent to `norm(conv(x))` in inference.

    Args:
        conv: The convolution.
        norm: A batch norm with running statistics.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # In float64, so that only the result is rounded.
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
