"""Thread pools for torch: each thread computes alone, without torch's own helper threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


def open_lone_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads each compute alone; torch's number of threads elsewhere is left."""
    before, started = torch.get_num_threads(), Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, name, _compute_alone)
    for _ in range(threads):
        pool.submit(started.wait)  # one for each, so that all have begun
    started.wait()
    torch.set_num_threads(before)
    return pool


def _compute_alone() -> None:
    """Let this thread compute without helpers."""
    torch.get_num_threads()  # a thread's first question takes the number of all others
    torch.set_num_threads(1)
