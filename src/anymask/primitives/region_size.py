"""How small a region of a mask may be: pixels or a share of the mask in, a least area out.

50             pixels of the photo
0.05, "5%"     a share of the mask's own area
0              none: nothing is too small
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real

from anymask.primitives.errors import InputError

RegionSize = float | str
CLEAN = "5%"  # what holes and islands have at least, unless a setting says otherwise


@dataclass(frozen=True)
class LeastArea:
    """Regions of less are too small.

    pixels  of the photo; 0: none
    share   of the mask's area, 0..1; 0: none. One of the two is 0
    """

    pixels: float = 0.0
    share: float = 0.0

    def of(self, area: float) -> float:
        """In the units of `area`, the mask's own, which for `pixels` must be pixels."""
        return self.pixels + self.share * area


def parse_region_size(given: object, name: str) -> LeastArea:
    """Raises InputError, with the setting's name, for what is no size."""
    if isinstance(given, str) and given.strip().endswith("%"):
        return LeastArea(share=_number(given.strip()[:-1], given, name, below=100) / 100)
    number = _number(given, given, name)
    return LeastArea(share=number) if number < 1 else LeastArea(pixels=number)


def _number(text: object, given: object, name: str, below: float = math.inf) -> float:
    number = math.nan
    if not isinstance(text, bool) and isinstance(text, Real | str):
        with suppress(ValueError):
            number = float(text)
    if not 0 <= number < below:
        raise InputError(
            f"{name} must be a number of pixels (1 or more), a share of the mask (0.05 or "
            f'"5%", less than "100%") or 0 for none; got {given!r}'
        )
    return number
