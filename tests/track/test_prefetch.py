"""The next frame is looked at ahead of time; nothing else changes."""

from __future__ import annotations

import threading

import numpy as np

from anymask.track import FrameSampling, open_source
from anymask.track.session import FramePrefetcher
from anymask.track.sources import SampledFrames


class Watching:
    """Stands for a tracker: remembers which frames it saw, and in which thread."""

    def __init__(self) -> None:
        self.features: list[tuple[int, str]] = []

    def encode_frame(self, image: np.ndarray, gray: np.ndarray) -> int:
        assert gray.ndim == 2
        number = int(image[0, 0, 0])
        self.features.append((number, threading.current_thread().name.partition("_")[0]))
        return number


def numbered(count: int) -> list[np.ndarray]:
    return [np.full((20, 30, 3), number, np.uint8) for number in range(count)]


def looking(source: object) -> tuple[Watching, FramePrefetcher]:
    tracker = Watching()
    return tracker, FramePrefetcher(tracker, SampledFrames(open_source(source), FrameSampling()))  # type: ignore[arg-type]


def test_the_frame_that_was_expected_is_seen_once_in_another_thread() -> None:
    tracker, prefetcher = looking(numbered(4))
    assert prefetcher.fetch(0).features == 0
    prefetcher.expect(1)
    assert prefetcher.fetch(1).features == 1
    assert prefetcher.fetch(1).features == 1
    assert tracker.features == [(0, "MainThread"), (1, "anymask-prefetch")]
    prefetcher.close()
