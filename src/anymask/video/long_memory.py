"""Long-term memory: cells of past frames in, those that were matched most often out.

A cell of a frame that leaves the short memory is compared with what is remembered. Where there is
one like it, that one has been met once more, and its label becomes the mean; else it is new. Beyond
the limit those that were met the least go, the oldest first.

Source of the idea: Cheng and Schwing 2022 (XMem, arXiv:2207.07115, section 3.3, "long-term
memory"). Deviations: nothing is learned, likeness is the cosine of keys, and cells of which nobody
knows surely whether they are the object are not remembered.

Letters: G cells of a frame, C channels of a key, M remembered cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anymask.primitives.types import FloatArray

ALIKE = 0.95  # cosine of two cells that are the same place, seen again
SURE = 0.2  # a cell is remembered whose share is within it of 0 or 1


@dataclass(frozen=True, eq=False)
class LongMemory:
    """Remembered cells of one object: keys (M, C) of unit length, labels (M,), met (M,) times."""

    keys: FloatArray
    labels: FloatArray
    met: FloatArray


def with_cells(
    memory: LongMemory | None, keys: FloatArray, labels: FloatArray, limit: int
) -> LongMemory:
    """A long memory with a frame's cells, keys (G, C) and shares (G,), of `limit` at most."""
    sure = np.minimum(labels, 1 - labels) <= SURE
    keys, labels = keys[sure], labels[sure]
    if memory is None:
        memory = LongMemory(keys[:0], labels[:0], labels[:0])
    likeness = keys @ memory.keys.T
    nearest = likeness.argmax(axis=1) if len(memory.keys) else np.zeros(len(keys), np.intp)
    known = likeness.max(axis=1, initial=-1) >= ALIKE
    met, shares = memory.met.copy(), memory.labels * memory.met
    np.add.at(met, nearest[known], 1)
    np.add.at(shares, nearest[known], labels[known])
    fresh = ~known
    keys = np.concatenate([memory.keys, keys[fresh]])
    means = np.concatenate([shares / np.maximum(met, 1), labels[fresh]])
    times = np.concatenate([met, np.ones(int(fresh.sum()), np.float32)])
    newest = np.arange(len(keys))[::-1]  # of two that were met as often, the newer one first
    kept = np.sort(newest[np.argsort(-times[newest], kind="stable")][:limit])
    return LongMemory(keys[kept], means[kept].astype(np.float32), times[kept].astype(np.float32))
