"""Granularity: candidates in, those of the wanted level (part or whole) first out.

A click on a wheel may mean the bolt, the wheel or the car (Segment Anything, section 3, "resolving
ambiguity"): models answer it with several masks, and rank them by quality. Somebody who cuts out
cars, or labels wheels, knows which it is, and says so once.

Letters: K candidates.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from anymask.primitives.candidates import Candidates
from anymask.primitives.errors import InputError

Level = Literal["part", "whole", "all"]
Granularity = Level | float

LEVELS = ("part", "whole", "all")
COMPARABLE = 0.1  # of quality: candidates so far below the best one are no choice


def check_granularity(granularity: object) -> None:
    """Raises InputError for what is neither a level nor a place between part and whole."""
    if granularity in LEVELS and isinstance(granularity, str):
        return
    if isinstance(granularity, bool) or not isinstance(granularity, int | float):
        place = math.nan
    else:
        place = float(granularity)
    if not 0 <= place <= 1:
        raise InputError(
            'granularity must be "part", "whole", "all" or a number from 0 (part) to 1 (whole), '
            f"got {granularity!r}"
        )


def order_by_granularity(answer: Candidates, granularity: Granularity) -> Candidates:
    """The same candidates, the one that the granularity means first, then by quality.

    Among the candidates that have an object and whose quality is within `COMPARABLE` of the best
    one's, "part" means the smallest, "whole" the largest, and a number the one at that place
    between them. "all" leaves the order as it is.
    """
    if granularity == "all" or len(answer) < 2:
        return answer
    sizes = answer.cells()
    good = answer.quality >= answer.quality.max() - np.float32(COMPARABLE)
    choice = np.flatnonzero(good & (sizes > 0))
    if not len(choice):
        return answer
    by_size = choice[np.argsort(sizes[choice], kind="stable")]
    place = {"part": 0.0, "whole": 1.0}.get(str(granularity), granularity)
    first = int(by_size[math.floor(float(place) * (len(by_size) - 1) + 0.5)])
    return answer.picked([first, *(index for index in range(len(answer)) if index != first)])
