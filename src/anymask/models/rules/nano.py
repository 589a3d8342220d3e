"""The family of `nano` and `small`: the rules of `LearnedRules` in `masks/answer.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from anymask.base import FloatArray
from anymask.masks import (
    ONE_OR_THREE,
    OPENCV,
    CropRefinement,
    Decode,
    Geometry,
    GridDefaults,
    LearnedRules,
    ModelPrompts,
    ModelSpec,
    Multimask,
    Ordered,
    Ranking,
    Tables,
    TokenRoles,
)


@dataclass(frozen=True)
class NanoFamily:
    """See `family.Family`; `tables` has "ranking" and "scores"."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables
    closer: CropRefinement | None = None
    roles: TokenRoles = ONE_OR_THREE
    stepwise: bool = True
    graded: bool = False

    @cached_property
    def rules(self) -> LearnedRules:
        """The rules, with OpenCV's fast measurements."""
        return LearnedRules(self.spec, self.tables, OPENCV)

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the three of highest quality, in the model's order."""
        return self.rules.candidates(logits, quality)

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        return self.rules.answer(decode, prompts, place, multimask, ranking)
