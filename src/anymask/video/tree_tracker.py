"""Tracker with several hypotheses of each object: frames and paths of memory in, findings out.

A state is a tuple of `hypotheses.MemoryPath`, the best first: its mask is what is found. Where
another path takes the lead, the masks of earlier frames change with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from anymask.runtimes.video import VideoAnswer
from anymask.video.hypotheses import (
    Candidate,
    MemoryPath,
    arrays_to_paths,
    choose_candidates,
    continue_paths,
    paths_to_arrays,
    revised_masks,
)
from anymask.video.memory_tracker import MemoryTracker, SeenByVideo
from anymask.video.tracker import Finding, FrameMask, StateArrays, TrackMoment

Paths = tuple[MemoryPath, ...]


@dataclass(frozen=True, eq=False)
class _NextPaths:
    """What follows a frame: the candidates, their masks and the model's handles of them."""

    chosen: tuple[Candidate, ...]
    masks: tuple[FrameMask, ...]
    handles: tuple[Any, ...]


class TreeTracker(MemoryTracker):
    """Follows objects with `MemorySettings.paths` memories each. See `MemoryTracker`."""

    @property
    def name(self) -> str:
        """See `Tracker`."""
        return f"{super().name}:paths"

    def begin(
        self, seen: SeenByVideo, at: TrackMoment, finding: Finding, known: Paths | None
    ) -> Paths:
        """See `Tracker`. What is known goes on with what the best path remembers."""
        bank = None if known is None else known[0].bank
        return (MemoryPath(super().begin(seen, at, finding, bank)),)

    def track(self, seen: SeenByVideo, at: TrackMoment, states: Sequence[Paths]) -> list[Finding]:
        """See `Tracker`. The masks of all paths of all objects are asked for at once."""
        paths = [path for state in states for path in state]
        banks = [path.bank for path in paths]
        told = self._steps.step_candidates(seen.handle, banks, at.frame, at.backward)
        several = len(told.quality) // len(paths)
        found, first = [], 0
        for state in states:
            rows = range(first * several, (first + len(state)) * several)
            candidates = [self._candidate(told, paths[row // several], row) for row in rows]
            found.append(self._leading(seen, at, told, state[0], candidates))
            first += len(state)
        return found

    def remember(
        self, seen: SeenByVideo, at: TrackMoment, state: Paths, finding: Finding, sure: bool
    ) -> Paths:
        """See `Tracker`. A doubt is one of the mask that is shown: other paths are remembered."""
        following, banks = finding.soft, []
        for place, (one, handle) in enumerate(
            zip(following.chosen, following.handles, strict=True)
        ):
            writes = one.writes and (sure or place > 0)
            moment, bank = (at.frame, at.backward), one.path.bank
            if writes:
                bank = self._steps.remember(seen.handle, bank, handle, moment, False)
            banks.append(bank)
        return continue_paths(following.chosen, following.masks, banks)

    def pack(self, state: Paths) -> StateArrays:
        """See `Tracker`."""
        return paths_to_arrays([(path, self._steps.bank_to_arrays(path.bank)) for path in state])

    def unpack(self, arrays: StateArrays) -> Paths:
        """See `Tracker`."""
        return tuple(
            replace(path, bank=self._steps.arrays_to_bank(bank))
            for path, bank in arrays_to_paths(arrays)
        )

    def _candidate(self, told: VideoAnswer, path: MemoryPath, row: int) -> Candidate:
        quality, there = float(told.quality[row]), float(told.score[row])
        writes = there > 0 and quality >= self.memory.least_quality
        return Candidate(path, row, quality, there, writes)

    def _leading(
        self,
        seen: SeenByVideo,
        at: TrackMoment,
        told: VideoAnswer,
        before: MemoryPath,
        candidates: Sequence[Candidate],
    ) -> Finding:
        """The best of one object's masks, with what follows from all that live on."""
        chosen = choose_candidates(candidates, self.memory.paths)
        found = self._findings(seen, told.rows([one.row for one in chosen]))
        masks = tuple(FrameMask(at.frame, one.rle, one.score, one.quality) for one in found)
        following = _NextPaths(chosen, masks, tuple(one.soft for one in found))
        revised = revised_masks(before, chosen[0].path)
        return replace(found[0], soft=following, revised=revised)
