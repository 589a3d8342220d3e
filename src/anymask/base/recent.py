"""Thread-safe cache of the values that were used last, with a memory limit."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentValues(Generic[Key, Value]):
    """Thread-safe LRU cache with a memory limit.

    Args:
        memory_bytes: Maximum total size. Larger values are not cached.
        size_of: Function that returns the size of a value in bytes.
        seconds: Lifetime of unused values.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        memory_bytes: int,
        size_of: Callable[[Value], int],
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_bytes, self.used_bytes, self.seconds = memory_bytes, 0, seconds
        self._size_of, self._clock, self._lock = size_of, clock, threading.Lock()
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()  # and its last use

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, key: Key) -> Value | None:
        """Return a value and mark it as used, or None."""
        with self._lock:
            value, used = self._kept.get(key, (None, 0.0))
            if value is None or self._clock() - used > self.seconds:
                return None
            self._kept[key] = value, self._clock()
            self._kept.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Store a value, and evict expired values and those beyond the memory limit."""
        size, now = self._size_of(value), self._clock()
        with self._lock:
            if size > self.memory_bytes:
                return
            if key not in self._kept:
                self.used_bytes += size
            self._kept[key] = value, now
            self._kept.move_to_end(key)
            while self._evict_oldest(now):
                _, (dropped, _) = self._kept.popitem(last=False)
                self.used_bytes -= self._size_of(dropped)

    def _evict_oldest(self, now: float) -> bool:
        _, used = next(iter(self._kept.values()))
        return self.used_bytes > self.memory_bytes or now - used > self.seconds
