"""Sweeps on torch: many clicks on one image in; quality, then logits of chosen masks out.

A click's steps are small: several threads in each of them would wait for each other more than they
work, and the more so the busier the machine is. So each thread takes clicks of its own.

Letters: N prompts, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.primitives.types import BoolArray, FloatArray, ModelPrompts
from anymask.runtimes.devices import import_torch

if TYPE_CHECKING:
    import torch

    from anymask.models.sweep import ClickSweep, SweepTokens


class TorchSweep:
    """See `runtimes.sweep.Sweep`.

    sweep   the image's share of the work, done
    device  where it lies; only on a processor do several threads help
    """

    def __init__(self, sweep: ClickSweep, device: torch.device) -> None:
        self._torch = import_torch()
        self._sweep, self._device = sweep, device
        self.bytes_per_prompt = sweep.bytes_per_prompt
        self._threads = self._torch.get_num_threads() if device.type == "cpu" else 1
        from anymask.models.threads import open_lone_pool

        self._pool = open_lone_pool(self._threads, "anymask-sweep")
        self._rooms: list[Any] = [None] * self._threads

    def ask(self, prompts: ModelPrompts) -> TorchSweepAnswer:
        """Answer N prompts without masks of their own."""
        bounds = np.linspace(0, len(prompts.coords), self._threads + 1).astype(int).tolist()
        parts = [
            (thread, slice(*ends))
            for thread, ends in enumerate(pairwise(bounds))
            if ends[0] < ends[1]
        ]
        answers = list(self._pool.map(lambda part: self._ask(prompts, *part), parts))
        quality = np.concatenate([numbers for numbers, _ in answers])[:, 1:]
        rows = [(answered, row) for numbers, answered in answers for row in range(len(numbers))]
        return TorchSweepAnswer(quality, self, rows)

    def _ask(
        self, prompts: ModelPrompts, thread: int, part: slice
    ) -> tuple[FloatArray, SweepTokens]:
        torch = self._torch
        with torch.inference_mode():
            coords = torch.from_numpy(np.ascontiguousarray(prompts.coords[part]))
            labels = torch.from_numpy(np.ascontiguousarray(prompts.labels[part]))
            quality, answered = self._sweep.ask(
                coords.to(self._device, torch.float32),
                labels.to(self._device, torch.int64),
                self._rooms[thread],
            )
            self._rooms[thread] = answered.view.shares
            numbers: FloatArray = quality.cpu().numpy()
        return numbers, answered

    def draw(self, asked: list[tuple[SweepTokens, int, list[int]]]) -> Iterator[FloatArray]:
        """Some mask tokens of some prompts: (m, m) one by one, a few of them ahead."""
        ahead = 2 * self._threads
        for start in range(0, len(asked), ahead):
            for planes in self._pool.map(self._draw, asked[start : start + ahead]):
                yield from planes

    def _draw(self, asked: tuple[SweepTokens, int, list[int]]) -> FloatArray:
        with self._torch.inference_mode():
            planes: FloatArray = self._sweep.draw(*asked).cpu().numpy()
        return planes


@dataclass(frozen=True, eq=False)
class TorchSweepAnswer:
    """See `runtimes.sweep.SweepAnswer`; token 0 is no candidate.

    rows  of each prompt: with whom it was answered, and its row there
    """

    quality: FloatArray
    sweep: TorchSweep
    rows: list[tuple[SweepTokens, int]]

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) of each chosen one."""
        prompts = np.flatnonzero(chosen.any(axis=1)).tolist()
        tokens = [(np.flatnonzero(chosen[prompt]) + 1).tolist() for prompt in prompts]
        return self.sweep.draw(
            [(*self.rows[prompt], masks) for prompt, masks in zip(prompts, tokens, strict=True)]
        )
