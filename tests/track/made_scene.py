"""A made scene: objects of different looks that wander over a ground, meet and hide each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage

HW = (480, 854)
PERIOD = 240  # frames after which the scene begins anew, without a jump
_LOOKS = ((220, 70, 50), (60, 180, 75), (70, 110, 230))  # of the objects, RGB


class MadeScene:
    """Three ellipses on a ground: frames by their number, the same again after PERIOD."""

    def __init__(self, hw: tuple[int, int] = HW) -> None:
        self.hw = hw
        noise = np.random.default_rng(0)
        height, width = hw
        grain = noise.integers(0, 90, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        self._ground = 70 + cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)

    def image(self, frame: int) -> UintImage:  # (H, W, 3)
        """One frame."""
        drawn = self._ground.copy()
        for number, look in enumerate(_LOOKS):
            cv2.ellipse(drawn, self._place(number, frame), look, -1)
        return np.asarray(drawn, np.uint8)

    def mask(self, number: int, frame: int = 0) -> BoolArray:  # (H, W)
        """The pixels of an object, as if nothing hid it."""
        drawn = np.zeros(self.hw, np.uint8)
        cv2.ellipse(drawn, self._place(number, frame), (1,), -1)
        return drawn > 0

    def images(self, frames: int) -> Iterator[UintImage]:
        """So many frames."""
        return (self.image(frame) for frame in range(frames))

    def _place(
        self, number: int, frame: int
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The middle, the sides and the angle of an ellipse, as OpenCV takes them."""
        height, width = self.hw
        turn = 2 * np.pi * frame / PERIOD
        x = width * (0.5 + 0.36 * np.cos(turn + 2.1 * number))
        y = height * (0.5 + 0.3 * np.sin((1 + number) * turn + number))
        sides = (height * (0.2 + 0.04 * number), height * 0.26)
        return (float(x), float(y)), sides, 20 * number + 360 * frame / PERIOD


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(row for row in status.read_text("ascii").splitlines() if row.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
