"""Linear layers and convolutions fused with their activation, by oneDNN.

Source: oneDNN's post-operations, which torch's own compiler uses
(pytorch, `torch/_inductor/fx_passes/mkldnn_fusion.py`). Products are at least as fast as the
default library's, and a GELU after one requires no extra pass.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "gelu"]

EXACT = "none"  # GELU by the error function, without approximation
MIN_ROWS = 256  # below, the overhead of the call exceeds the gain


@cache
def multiplies_halves() -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def _is_built() -> bool:
    """Whether this torch has oneDNN's fused layers."""
    names = ("_linear_pointwise", "_convolution_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )


def fuses(x: Tensor) -> bool:
    """Whether fused layers apply to (..., C): on a CPU, without gradients."""
    return (
        x.device.type == "cpu"
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and multiplies_halves()))
        and not torch.is_grad_enabled()
        and not torch.compiler.is_exporting()
        and not torch.is_autocast_enabled("cpu")
        and _is_built()
    )


def activated(x: Tensor, layer: nn.Module, activation: Activation | None = None) -> Tensor:
    """Compute activation(layer(x)): (..., C) -> (..., C').

    Args:
        x: Input (..., C).
        layer: A layer. Only plain linear layers are fused; others (adapters, quantized layers) are
            called normally.
        activation: The activation, or None.
    """
    if isinstance(layer, nn.Linear) and _is_bare(layer) and fuses(x) and _is_large(x):
        return _fused(x.contiguous(), layer.weight, layer.bias, activation)
    return _in_turn(x, layer, activation)


def projected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute x @ weight.T + bias: (..., C), (C', C), (C',) -> (..., C')."""
    if fuses(x) and _is_large(x):
        return _fused(x.contiguous(), weight, bias, None)
    return F.linear(x, weight, bias)


def projected_parts(x: Tensor, layer: nn.Module, parts: int = 3) -> tuple[Tensor, ...]:
    """Compute layer(x) in equal parts of its channels, such as queries, keys and values.

    An exported graph has one product per part, because a split would copy each of them.

    Args:
        x: Input (..., C).
        layer: A layer with C' outputs, as in `activated`.
        parts: Number of parts, each (..., C' / parts).
    """
    if torch.compiler.is_exporting() and isinstance(layer, nn.Linear) and _is_bare(layer):
        pairs = zip(layer.weight.chunk(parts), layer.bias.chunk(parts), strict=True)
        return tuple(F.linear(x, weight, bias) for weight, bias in pairs)
    return activated(x, layer).chunk(parts, dim=-1)


def convolved(x: Tensor, layer: nn.Module, activation: Activation | None = None) -> Tensor:
    """Compute activation(layer(x)): (B, C, h, w) -> (B, C', h', w').

    The default library is much slower than oneDNN for 1 x 1 and depthwise convolutions on one
    thread.

    Args:
        x: Input (B, C, h, w).
        layer: A layer. Only plain convolutions are fused; others (such as those with batch norm)
            are called normally.
        activation: The activation, or None.
    """
    if isinstance(layer, nn.Conv2d) and _is_bare(layer) and fuses(x):
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups,
            activation or "none", [], EXACT,
        )  # fmt: skip
        return y
    return _in_turn(x, layer, activation)


def _in_turn(x: Tensor, layer: nn.Module, activation: Activation | None) -> Tensor:
    y: Tensor = layer(x)
    if activation is None:
        return y
    return F.relu(y) if activation == "relu" else F.gelu(y)


def _is_bare(layer: nn.Linear | nn.Conv2d) -> bool:
    """Whether it is a plain layer without hooks."""
    own = type(layer) in (nn.Linear, nn.Conv2d)
    if isinstance(layer, nn.Conv2d):
        own = own and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return own and not (layer._forward_hooks or layer._forward_pre_hooks)


def _is_large(x: Tensor) -> bool:
    return x.numel() >= MIN_ROWS * x.shape[-1]


def times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """Compute a @ b.T: (L, C), (K, C) -> (L, K).

    The rows or columns of b must be contiguous: oneDNN is a thousand times slower for a part of
    them.
    """
    return _fused(a, b, None, None) if fuses(a) else torch.mm(a, b.t())


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation or "none", [], EXACT)
    return y
