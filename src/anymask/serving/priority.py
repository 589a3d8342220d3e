"""Thread priority: lowers that of background work, so that interactive requests come first."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

BACKGROUND = 5  # niceness: a third of an ordinary thread's share where both want one core


def step_back(nice: int = BACKGROUND) -> None:
    """Lower the priority of the calling thread; where a system knows only processes, do nothing.

    nice  is added to the niceness that the thread has, up to 19, the last
    """
    if sys.platform == "linux":  # there each thread has a number and a niceness of its own
        number = threading.get_native_id()
        with contextlib.suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, number)
            os.setpriority(os.PRIO_PROCESS, number, min(19, now + nice))
