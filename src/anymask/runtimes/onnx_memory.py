"""A network of memory on ONNX Runtime: a question about one object in, its logits out."""

from __future__ import annotations

from collections.abc import Callable

from anymask.primitives.memory_question import MemoryAnswer, MemoryQuestion
from anymask.primitives.types import FloatArray


class OnnxMemory:
    """See `Remembering`.

    run  the graph, with its seven inputs
    """

    def __init__(self, run: Callable[..., list[FloatArray]]) -> None:
        self._run = run

    def read_memory(self, question: MemoryQuestion) -> MemoryAnswer:
        """See `Remembering`."""
        frame = question.frame
        given = (
            frame.keys, frame.middle, frame.fine, question.hints,
            question.memory_keys, question.memory_labels, question.memory_kinds,
        )  # fmt: skip
        logits, seen = self._run(*(one[None] for one in given))
        return MemoryAnswer(logits[0, 0], float(seen[0, 0]))
