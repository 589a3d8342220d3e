"""The families of SAM: SAM, MobileSAM, EdgeSAM, MedSAM, HQ-SAM, EfficientSAM, SAM 2.

Each has two rules (`CHOICES` in `masks/answer.py`): the candidates of an ambiguous prompt, and the
mask of an unambiguous one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from anymask.base import FloatArray
from anymask.masks import (
    CHOICES,
    ONE_OR_THREE,
    Choice,
    CropRefinement,
    Decode,
    Geometry,
    GridDefaults,
    ModelPrompts,
    ModelSpec,
    Multimask,
    Ordered,
    Ranking,
    Tables,
    TokenRoles,
    choose,
)


@dataclass(frozen=True)
class SamFamily:
    """Rules of the SAM models, whose masks are ordered by predicted IoU."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables
    several: Choice  # Selects the masks of an ambiguous prompt
    single: Choice  # Selects the mask of an unambiguous prompt
    roles: TokenRoles = ONE_OR_THREE
    closer: CropRefinement | None = None
    stepwise: bool = False
    graded: bool = False

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the K masks of an ambiguous prompt, in the model's order."""
        return self.several(logits, quality)

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        return choose(decode, prompts, multimask, (self.several, self.single))


def sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """Three masks or one."""
    return SamFamily(spec, grid, tables, *CHOICES["sam"])


def efficient_sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """All masks for every prompt."""
    roles = TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2))
    return SamFamily(spec, grid, tables, *CHOICES["efficient_sam"], roles)


def sam_hq(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """One corrected mask; the quality may omit the correction: (N, T) or (N, T - 1)."""
    roles = replace(ONE_OR_THREE, added=4)
    return SamFamily(spec, grid, tables, *CHOICES["sam_hq"], roles)
