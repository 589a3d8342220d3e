"""Rules of memory banks, the same in torch and ONNX Runtime: a bank and a frame in, a bank out."""

from __future__ import annotations

from dataclasses import replace

from anymask.primitives.memory_bank import (
    Memory,
    MemoryBank,
    TrackingSettings,
    VideoMoment,
    with_postprocessing,
)
from anymask.runtimes.video import MemoryChoice

BANK_PARTS = ("prompted", "tracked")
PROMPTED_LIMIT = 4  # prompted frames that a frame reads, and that a bank keeps: memory is bounded


def with_choice(settings: TrackingSettings, choice: MemoryChoice) -> TrackingSettings:
    """A family's settings with another choice of memories."""
    return replace(
        settings,
        stride=choice.stride or settings.stride,
        fill_gaps=choice.fill_gaps,
        pool=choice.pool,
    )


def for_users(settings: TrackingSettings) -> TrackingSettings:
    """A family's settings as its official builder gives them to users, with bounded memory.

    A person's word always counts: every frame with a prompt becomes a prompted memory. The length
    of a video is not told to the model, so that a file and a stream give the same numbers.
    """
    settings = with_postprocessing(settings)
    limit = min(settings.prompted_limit or PROMPTED_LIMIT, PROMPTED_LIMIT)
    return replace(settings, prompted_limit=limit)


def grown_bank(
    bank: MemoryBank | None,
    memory: Memory,
    at: VideoMoment,
    settings: TrackingSettings,
    prompted: bool,
) -> MemoryBank:
    """A bank, or a new one, with what a frame left."""
    if not prompted:
        return (bank or MemoryBank()).with_tracked(memory).kept(at, settings)
    known = {} if bank is None else {f: m for f, m in bank.prompted.items() if at.age(f) > 0}
    nearest = sorted(known, key=at.age)
    kept = {*nearest[: PROMPTED_LIMIT - 2], *nearest[-1:]}  # the first one stays
    return MemoryBank({f: m for f, m in known.items() if f in kept}).with_prompted(memory)
