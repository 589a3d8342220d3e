"""Attention with one head whose values are narrower than its keys.

Letters: N objects, L queries, K keys, C channels of a query, V of a value.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 256  # queries whose weights are held at once
SMALL = 1 << 21  # weights that one product may hold whole


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax-weighted means of values: (1 or N, L, C), (N, K, C), (N, K, V) -> (N, L, V).

    The library's product wants values as wide as keys on a CPU, or holds all L x K weights.
    """
    if torch.compiler.is_exporting() or q.device.type != "cpu" or torch.is_grad_enabled():
        queries = q.expand(k.shape[0], -1, -1)
        return F.scaled_dot_product_attention(queries[:, None], k[:, None], v[:, None])[:, 0]
    return attend_in_rows(q, k, v)


def attend_in_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, some queries at a time, in memory that is used again."""
    N, L, K = k.shape[0], q.shape[1], k.shape[1]
    q = q * q.shape[-1] ** -0.5
    out = v.new_empty(N, L, v.shape[-1])
    rows = min(L, max(ROWS, SMALL // K))
    logits, weights = q.new_empty(rows, K), q.new_empty(rows, K)
    for n in range(N):
        keys = k[n].t()
        queries = q[min(n, q.shape[0] - 1)]
        for start in range(0, L, rows):
            some = queries[start : start + rows]
            held, shares = logits[: len(some)], weights[: len(some)]
            torch.mm(some, keys, out=held)
            torch.softmax(held, dim=-1, out=shares)
            torch.mm(shares, v[n], out=out[n, start : start + rows])
    return out
