"""Random numbers of a training step: seed, step and picture numbers in, draws for N prompts out.

A prompt's draws depend on its picture's number only, so that one process and several give the same
prompts for the same batch. Letters: N prompts, the same number for each picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


class Draws:
    """One generator for each picture of a worker's part of a batch.

    of_step    draws what all workers share
    of_worker  draws what each worker may have by itself
    """

    def __init__(self, seed: int, step: int, pictures: Sequence[int]) -> None:
        self.of_step = np.random.default_rng([seed, step, 1])
        self.of_worker = np.random.default_rng([seed, step, pictures[0], 1])
        self._of_pictures = [np.random.default_rng([seed, step, i, 2]) for i in pictures]

    def uniform(self, n: int) -> NDArray[np.float64]:  # -> (N,) in 0..1
        """A number for each of N prompts, those of one picture behind each other."""
        each = n // len(self._of_pictures)
        return np.concatenate([rng.random(each) for rng in self._of_pictures])

    def normal(self, n: int, columns: int) -> NDArray[np.float32]:  # -> (N, columns)
        """Standard normal numbers for each of N prompts."""
        shape = (n // len(self._of_pictures), columns)
        drawn = np.concatenate([rng.standard_normal(shape) for rng in self._of_pictures])
        return drawn.astype(np.float32)

    def of_prompt(self, row: int, n: int) -> Generator:
        """The generator of one of N prompts."""
        return self._of_pictures[row // (n // len(self._of_pictures))]
