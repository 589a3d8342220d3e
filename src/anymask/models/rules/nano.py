"""The family of `nano` and `small`: the rules of `LearnedRules` in `masks/answer.py`."""

from __future__ import annotations

from dataclasses import dataclass

from anymask.masks import (
    ONE_OR_THREE,
    OPENCV,
    CropRefinement,
    GridDefaults,
    LearnedRules,
    ModelSpec,
    TokenRoles,
)
from anymask.masks.answer import Shapes


@dataclass(frozen=True, kw_only=True)
class NanoFamily(LearnedRules):
    """Rules of `nano` and `small`; `tables` has "ranking" and "expected"."""

    spec: ModelSpec
    shapes: Shapes = OPENCV
    grid: GridDefaults
    closer: CropRefinement | None = None
    roles: TokenRoles = ONE_OR_THREE
    stepwise: bool = True
    graded: bool = False
