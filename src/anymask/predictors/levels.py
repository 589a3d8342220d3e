"""Levels between part and whole, as settings name them: values in, checked values out."""

from __future__ import annotations

import math
from typing import Literal

from anymask.primitives.errors import InputError

Level = Literal["part", "whole", "all"]
Granularity = Level | float

LEVELS = ("part", "whole", "all")


def check_level(level: object) -> None:
    """Raises InputError for what is no level of a tree."""
    if level not in LEVELS:
        raise InputError(f'granularity must be "part", "whole" or "all", got {level!r}')


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
