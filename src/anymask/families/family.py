"""The interface of a model family: decoder outputs for N prompts in, ordered candidates out.

A family is what a model's users must know and its network does not say: which of the decoder's T
masks answer a prompt and in which order, what is asked again, and the thresholds that suit its
numbers. Everything is numpy in model space.

Letters: N prompts, P points, T masks of the decoder, K candidates, m the side of a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from anymask.primitives.spec import CloserLook, Geometry, GridDefaults, ModelSpec, TokenRoles
from anymask.primitives.types import FloatArray, IntArray, ModelPrompts

Multimask = bool | Literal["auto"]
Ranking = Literal["expected", "own"]
Decode = Callable[[ModelPrompts], tuple[FloatArray, FloatArray]]  # -> (N, T, m, m), (N, T)
Tables = Mapping[str, Any]  # learned numbers by name, as the bundle's tables.json holds them


# The K candidates of one prompt, the first one first: logits (K, m, m); quality (K,), each mask's
# own number; order (K,), each candidate's place among the K in the model's own order.
Ordered = tuple[FloatArray, FloatArray, IntArray]


class Family(Protocol):
    """The rules of one model: which prompts are ambiguous, which masks are candidates, their order.

    spec    how the model sees a picture, and which prompts it takes
    grid    the thresholds of automatic mask generation that suit the model's numbers
    tables  what was learned beside the network's weights, by name
    roles   which masks learn from which prompts
    closer  how a clear prompt is asked once more in a window around its first answer; None: it is
            not, as it is not known to be answered better there
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def grid(self) -> GridDefaults: ...

    @property
    def tables(self) -> Tables: ...

    @property
    def roles(self) -> TokenRoles: ...

    @property
    def closer(self) -> CloserLook | None: ...

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the K candidates of ambiguous prompts, in the model's order."""
        ...

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """Ask the decoder about N prompts on one photo, and order what it says of each.

        multimask  "auto": candidates for a lone click, one mask for a clearer prompt; True, False:
                   the candidates or the one mask, as the family's reference code answers
        ranking    "own": ordered by the network's own numbers, whatever the family learned
        """
        ...
