"""A network of memory on ONNX Runtime: a question about one object in, its logits out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anymask.primitives.memory_question import MemoryAnswer, MemoryQuestion
from anymask.runtimes.failures import running


class OnnxMemory:
    """See `Remembering`.

    session  opens the graph, or has it
    names    of its seven inputs
    """

    def __init__(self, session: Callable[[], Any], names: list[str]) -> None:
        self._session, self._names = session, names

    def read_memory(self, question: MemoryQuestion) -> MemoryAnswer:
        """See `Remembering`."""
        frame = question.frame
        given = (
            frame.keys, frame.middle, frame.fine, question.hints,
            question.memory_keys, question.memory_labels, question.memory_kinds,
        )  # fmt: skip
        arrays = {name: one[None] for name, one in zip(self._names, given, strict=True)}
        with running("the network of memory"):
            logits, seen = self._session().run(None, arrays)
        return MemoryAnswer(logits[0, 0], float(seen[0, 0]))
