"""Single-head attention with narrow values in blocks, and pools of single-threaded workers.

Source: Milakov and Gimelshein 2018 (online softmax, arXiv:1805.02867), as in Dao et al. 2022
(FlashAttention, arXiv:2205.14135): the weights of a block of queries and a block of keys at a time
fit into the processor's cache and are never written to memory.

Letters: N objects, L queries, K keys, C channels of a query, V of a value.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Linear layers and convolutions fused with their activation, by oneDNN.
#
# Source: oneDNN's post-operations, which torch's own compiler uses
# (pytorch, `torch/_inductor/fx_passes/mkldnn_fusion.py`). Products are at least as fast as the
# default library's, and a GELU after one requires no extra pass.

Activation = Literal["relu", "gelu"]

EXACT_GELU = "none"  # GELU by the error function, without approximation
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
        return torch.ops.mkldnn._convolution_pointwise(
            x, layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups,
            activation or "none", [], EXACT_GELU,
        )  # fmt: skip
    return _in_turn(x, layer, activation)


def _in_turn(x: Tensor, layer: nn.Module, activation: Activation | None) -> Tensor:
    y: Tensor = layer(x)
    if activation is None:
        return y
    return F.relu(y) if activation == "relu" else F.gelu(y)


def _is_bare(layer: nn.Linear | nn.Conv2d) -> bool:
    """Whether it is a plain layer without hooks."""
    plain = type(layer) in (nn.Linear, nn.Conv2d)
    if isinstance(layer, nn.Conv2d):
        plain = plain and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return plain and not (layer._forward_hooks or layer._forward_pre_hooks)


def _is_large(x: Tensor) -> bool:
    return x.numel() >= MIN_ROWS * x.shape[-1]


def times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """Compute a @ b.T: (L, C), (K, C) -> (L, K).

    The rows or columns of b must be contiguous: oneDNN is a thousand times slower for a part of
    them.
    """
    return _fused(a, b, None, None) if fuses(a) else torch.mm(a, b.t())


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation or "none", [], EXACT_GELU)


def single_thread_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Thread pool whose threads use no torch threads; torch's number of threads is restored."""
    before, started = torch.get_num_threads(), Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, name, _compute_alone)
    for _ in range(threads):
        pool.submit(started.wait)  # one per thread, so that all have started
    started.wait()
    torch.set_num_threads(before)
    return pool


def _compute_alone() -> None:
    """Disable torch threads for this thread."""
    torch.get_num_threads()  # the first call in a thread initializes its number of threads
    torch.set_num_threads(1)


QUERY_BLOCK, KEY_BLOCK = 1024, 512  # per block: 2 MiB of weights
BITS = math.log2(math.e)  # powers of two take a third of the time of exp


def attend(q: Tensor, k: Tensor, v: Tensor, extra: Tensor | None = None) -> Tensor:
    """Attention: (1 or N, L, C), (N, K, C), (N, K, V) -> (N, L, V).

    On a CPU, torch's implementation requires values as wide as keys, or materializes L x K weights,
    and is no faster in 16 bits than in 32.

    Args:
        q: Queries (1 or N, L, C).
        k: Keys (N, K, C).
        v: Values (N, K, V).
        extra: Bias (K,) of each key: the logarithm of the number of keys it represents.
    """
    as_wide = q.dtype == torch.float32 and v.shape[-1] == k.shape[-1] and extra is None
    if (
        torch.compiler.is_exporting()
        or q.device.type != "cpu"
        or torch.is_grad_enabled()
        or as_wide
    ):
        return _by_library(q, k, v, extra)
    if q.dtype == torch.float32 or (q.dtype == torch.bfloat16 and multiplies_halves()):
        return attend_in_blocks(q, k, v, extra)
    wide = F.pad(v, (0, k.shape[-1] - v.shape[-1]))  # sums of weights require 32 bits internally
    return _by_library(q, k, wide, extra)[..., : v.shape[-1]]


def _by_library(q: Tensor, k: Tensor, v: Tensor, extra: Tensor | None) -> Tensor:
    queries = q.expand(k.shape[0], -1, -1)[:, None]
    added = None if extra is None else extra.to(q.dtype).expand(q.shape[1], -1)
    return F.scaled_dot_product_attention(queries, k[:, None], v[:, None], attn_mask=added)[:, 0]


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, extra: Tensor | None = None) -> Tensor:
    """Attention in blocks, each in a single-threaded worker; without gradients.

    For bfloat16 only the products have 16 bits; weights and their sums are float32. The keys' mean,
    which shifts all scores of a query equally, is subtracted first to reduce rounding errors.
    """
    N, L = k.shape[0], q.shape[1]
    q = q * (BITS * q.shape[-1] ** -0.5)
    extra = None if extra is None else BITS * extra
    if q.dtype != torch.float32:
        k = k - k.mean(dim=1, keepdim=True)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = v.new_empty(N, L, v.shape[-1])

    def fill(block: tuple[int, int]) -> None:
        n, start = block
        some = slice(start, start + QUERY_BLOCK)
        with torch.inference_mode():
            out[n, some] = _mean(q[min(n, len(q) - 1), some], k[n], v[n], extra)

    blocks = [(n, start) for n in range(N) for start in range(0, L, QUERY_BLOCK)]
    threads = torch.get_num_threads()
    if threads == 1 or len(blocks) == 1:
        for block in blocks:
            fill(block)
    else:
        list(_pool(threads, os.getpid()).map(fill, blocks))
    return out


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """One pool for all calls of a process."""
    return single_thread_pool(threads, "anymask-attention")


def _mean(q: Tensor, k: Tensor, values: Tensor, extra: Tensor | None) -> Tensor:
    """Attention for a block of queries: (L, C), (K, C), (K, V) -> (L, V) in float32."""
    sums = values.new_zeros(len(q), values.shape[1], dtype=torch.float32)
    total = sums.new_zeros(len(q), 1)
    largest = sums.new_full((len(q), 1), -torch.inf)
    for start in range(0, len(k), KEY_BLOCK):
        keys, some = k[start : start + KEY_BLOCK], values[start : start + KEY_BLOCK]
        weights = times_transposed(q, keys).float()
        if extra is not None:
            weights.add_(extra[start : start + KEY_BLOCK])
        highest = torch.maximum(largest, weights.amax(dim=1, keepdim=True))
        faded = (largest - highest).exp2_()
        weights.sub_(highest).exp2_()
        total.mul_(faded).add_(weights.sum(dim=1, keepdim=True))
        sums.mul_(faded).add_(times_transposed(weights.to(q.dtype), some.t()))
        largest = highest
    return sums / total
