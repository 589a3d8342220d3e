"""Sweeps: many prompts on one image in, quality of all candidates, logits of chosen ones out.

A runtime that can compute less when it knows that many prompts will follow, or that most masks are
not wanted, offers `sweep`; for every other one the masks of a batch are kept until they are asked
for, which is no slower than decoding.

Letters: N prompts, K candidates of each, n chosen ones, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from anymask.base import BoolArray, FloatArray
from anymask.masks import EncoderOutput, Geometry, ModelPrompts
from anymask.runtime.protocol import ImageRuntime, PromptDecoding, require

SweepPrecision = Literal["model", "mixed"]


@runtime_checkable
class SweepAnswer(Protocol):
    """What N prompts were answered with.

    quality  (N, K) of the candidates of an ambiguous prompt, as `Family.candidates` gives them
    """

    @property
    def quality(self) -> FloatArray: ...

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) float32 of each chosen candidate, row by row.

        To be read before the sweep is asked again.
        """
        ...


@runtime_checkable
class Sweep(Protocol):
    """A sweep over one image, for one thread at a time.

    bytes_per_prompt  memory that a batch needs for each of its prompts, about
    """

    @property
    def bytes_per_prompt(self) -> int: ...

    def ask(self, prompts: ModelPrompts) -> SweepAnswer:
        """Answer N prompts without masks of their own."""
        ...


@runtime_checkable
class Sweeps(Protocol):
    """The capability of a faster way for many prompts on one picture."""

    def sweep(
        self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision
    ) -> Sweep | None:
        """One picture -> its sweep, or None where this model has no faster way.

        geometry   of the photo: masks need not be true beyond it
        precision  "model": as the model was loaded; "mixed": large products in 16 bits where the
                   machine multiplies them faster
        """
        ...


def open_sweep(
    runtime: ImageRuntime,
    seen: EncoderOutput,
    geometry: Geometry,
    precision: SweepPrecision = "model",
) -> Sweep:
    """The runtime's own sweep over one picture, or one that decodes everything."""
    sweeps = runtime.capability(Sweeps)
    faster = None if sweeps is None else sweeps.sweep(seen, geometry, precision)
    return DecodingSweep(runtime, seen) if faster is None else faster


class DecodingSweep:
    """A sweep of any runtime: all masks are made, and kept until the next question."""

    # Of the arrays inside a decoder, each as large as the image's maps; measured with nano.
    _ARRAYS = 12

    def __init__(self, runtime: ImageRuntime, seen: EncoderOutput) -> None:
        self._clicks = require(runtime, PromptDecoding)
        self._family = runtime.family
        self._seen = seen
        masks = 4 * 4 * runtime.spec.mask_side**2
        self.bytes_per_prompt = self._ARRAYS * seen.nbytes + 4 * masks

    def ask(self, prompts: ModelPrompts) -> KeptMasks:
        """Answer N prompts."""
        decoded = self._clicks.decode(self._seen, prompts)
        return KeptMasks(*self._family.candidates(*decoded))


@dataclass(frozen=True, eq=False)
class KeptMasks:
    """Answers whose masks are there already: (N, K, m, m) and (N, K)."""

    masks: FloatArray
    quality: FloatArray

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) of each chosen one."""
        for row, mask in np.argwhere(chosen):
            yield self.masks[row, mask]
