"""SAM's answers: decoder masks and quality in, candidates out (SAM, MobileSAM, EdgeSAM, MedSAM).

Token 0 was trained for prompts that leave no doubt, the other three for whole, part and subpart
(Segment Anything, section 3, "Resolving ambiguity").

Letters: N prompts, T masks of the decoder, K candidates, m the side of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anymask.families.choice import split_choice
from anymask.primitives.spec import ONE_OR_THREE  # training alone asks for it

if TYPE_CHECKING:
    from anymask.families.family import Decode, Multimask, Ordered, Ranking, Tables
    from anymask.primitives.spec import CloserLook, Geometry, GridDefaults, ModelSpec, TokenRoles
    from anymask.primitives.types import FloatArray, ModelPrompts


@dataclass(frozen=True)
class Sam:
    """See `family.Family`."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables

    @property
    def roles(self) -> TokenRoles:
        """See `family.Family`."""
        return ONE_OR_THREE

    @property
    def closer(self) -> CloserLook | None:
        """See `family.Family`."""
        return None

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the three masks of an ambiguous prompt."""
        return logits[:, 1:], quality[:, 1:]

    def single(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the one mask of a clear prompt."""
        return logits[:, :1], quality[:, :1]

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`; ordered by the network's own numbers."""
        return split_choice(self, decode, prompts, multimask)
