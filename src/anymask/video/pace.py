"""When a session's file is written: frames in, whether it is time for a checkpoint out."""

from __future__ import annotations

import time
from collections.abc import Callable

FRAMES = 50  # between checkpoints at most
SECONDS = 10.0  # where a frame takes long


class CheckpointPace:
    """Counts what is not lasting yet.

    clock  seconds that only grow
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.written()

    def written(self) -> None:
        """Everything is lasting now."""
        self._frames, self._since = 0, self._clock()

    def is_due(self) -> bool:
        """One frame more: whether a kill would lose too much by now."""
        self._frames += 1
        return self._frames >= FRAMES or self._clock() - self._since >= SECONDS
