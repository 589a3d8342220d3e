"""A network of memory on ONNX Runtime: questions about objects in, their logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anymask.primitives.memory_question import ANCHOR, MemoryAnswer, MemoryQuestion
from anymask.primitives.types import FloatArray

INPUTS = (
    "keys", "middle", "fine", "hints",
    "anchor_keys", "anchor_labels", "recent_keys", "recent_labels", "recent_there",
)  # fmt: skip


class OnnxMemory:
    """See `Remembering`.

    run  the graph of `export/added_graphs.py`, with its inputs in order
    """

    def __init__(self, run: Callable[..., list[FloatArray]]) -> None:
        self._run = run

    def read_memory(self, questions: Sequence[MemoryQuestion]) -> list[MemoryAnswer]:
        """See `Remembering`."""
        alike: dict[int, list[int]] = {}
        for place, question in enumerate(questions):
            alike.setdefault(id(question.memory_keys), []).append(place)
        found: dict[int, MemoryAnswer] = {}
        for places in alike.values():
            answers = self._read([questions[place] for place in places])
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(questions))]

    def _read(self, questions: list[MemoryQuestion]) -> list[MemoryAnswer]:
        """Those of one frame and one memory, in one call."""
        first, frame = questions[0], questions[0].frame
        anchors = int(np.count_nonzero(first.memory_kinds == ANCHOR))
        anchored, recent = (_cells(questions, part) for part in (np.s_[:anchors], np.s_[anchors:]))
        there = np.ones((1, recent[0].shape[1]), np.float32)
        if not there.size:
            recent, there = tuple(one[:, :1] for one in anchored), np.zeros((1, 1), np.float32)
        logits, seen = self._run(
            frame.keys[None], frame.middle[None], frame.fine[None],
            np.stack([one.hints for one in questions]), *anchored, *recent, there,
        )  # fmt: skip
        return [MemoryAnswer(*one) for one in zip(logits[:, 0], seen[:, 0].tolist(), strict=True)]


def _cells(questions: list[MemoryQuestion], part: slice) -> tuple[FloatArray, ...]:
    """Keys (1, M, K) and labels (N, M, 16) of some of the remembered cells."""
    labels = np.stack([one.memory_labels[part] for one in questions])
    return questions[0].memory_keys[None, part], labels
