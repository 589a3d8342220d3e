"""Pages of image files that Pillow does not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Places:
    """Contents of a file with one or more pages.

    Attributes:
        count: Number of pages.
        hw: (H, W) of the first page.
        channels: Channels of the first page.
        colours: Whether the channels are red, green and blue.
        read: Function that reads a page by number: (H, W, C) of any number type.
        axes: (name, length) of the axes of the pages, outermost first; () if images differ.
        nm: Length of a pixel along x in nanometers, 0 if unknown.
    """

    count: int
    hw: tuple[int, int]
    channels: int
    colours: bool
    read: Callable[[int], NDArray[Any]]
    axes: tuple[tuple[str, int], ...] = ()
    nm: float = 0.0
