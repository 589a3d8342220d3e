"""One-head attention of narrow values: queries, keys, values in, weighted means out, in blocks.

Source: Milakov and Gimelshein 2018 (online softmax, arXiv:1805.02867), as in Dao et al. 2022
(FlashAttention, arXiv:2205.14135): weights of a block of queries and a block of keys at a time,
small enough to stay in the processor's cache, so that they are never written out.

Letters: N objects, L queries, K keys, C channels of a query, V of a value.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.models.threads import open_lone_pool

QUERIES, KEYS = 512, 1024  # of a block: 2 MiB of weights


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax-weighted means of values: (1 or N, L, C), (N, K, C), (N, K, V) -> (N, L, V).

    The library's product wants values as wide as keys on a CPU, or holds all L x K weights.
    """
    if torch.compiler.is_exporting() or q.device.type != "cpu" or torch.is_grad_enabled():
        queries = q.expand(k.shape[0], -1, -1)
        return F.scaled_dot_product_attention(queries[:, None], k[:, None], v[:, None])[:, 0]
    if q.dtype != torch.float32:  # sums of weights need 32 bits: the library has them inside
        wide = F.pad(v, (0, k.shape[-1] - v.shape[-1]))
        queries = q.expand(k.shape[0], -1, -1)
        mixed = F.scaled_dot_product_attention(queries[:, None], k[:, None], wide[:, None])[:, 0]
        return mixed[..., : v.shape[-1]]
    return attend_in_blocks(q, k, v)


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, block by block, each in a thread that computes alone; without gradients."""
    N, L = k.shape[0], q.shape[1]
    q = q * q.shape[-1] ** -0.5
    # A one beside each value adds the weights up in the same product.
    values = torch.cat([v, v.new_ones(*v.shape[:2], 1)], dim=2)
    out = v.new_empty(N, L, v.shape[-1])

    def fill(block: tuple[int, int]) -> None:
        n, start = block
        some = slice(start, start + QUERIES)
        with torch.inference_mode():
            out[n, some] = _mean(q[min(n, len(q) - 1), some], k[n], values[n])

    blocks = [(n, start) for n in range(N) for start in range(0, L, QUERIES)]
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
    return open_lone_pool(threads, "anymask-attention")


def _mean(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Weighted means for a block of queries: (L, C), (K, C), (K, V + 1) -> (L, V)."""
    room = q.new_empty(len(q) * min(KEYS, len(k)))
    sums = values.new_zeros(len(q), values.shape[1])
    largest = q.new_full((len(q), 1), -torch.inf)
    for start in range(0, len(k), KEYS):
        keys = k[start : start + KEYS]
        weights = room[: len(q) * len(keys)].view(len(q), len(keys))
        torch.mm(q, keys.t(), out=weights)
        seen = torch.maximum(largest, weights.amax(dim=1, keepdim=True))
        sums *= (largest - seen).exp_()
        sums.addmm_(weights.sub_(seen).exp_(), values[start : start + KEYS])
        largest = seen
    return sums[:, :-1] / sums[:, -1:]
