"""Rehearsals: a model, made frames and the first masks in, what a network of memory is asked out.

The objects are followed as in a session, so that the network learns from hints and memories with
the errors that it will meet.

Letters: T frames, N objects, H W a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anymask.base import BoolArray, FloatArray, IntArray, UintImage
from anymask.masks import Prompt
from anymask.models.rules import (
    FINE_CELLS,
    HINTS,
    MATCHED,
    MIXED,
    FrameMaps,
    MemoryOutput,
    MemoryQuery,
)
from anymask.runtime import ReadMemory
from anymask.segment import Model
from anymask.track import TrackMoment, reduce_frame
from anymask.track.image_tracker import KNOWN, RECENT_FRAMES, ImageTracker, frame_maps
from anymask.track.matching import MatchState

SURE = 0.5  # score from which a finding is remembered
THERE = 5.0  # the logit of an object that is seen


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What the network was asked while N objects were followed through T frames.

    Attributes:
        maps: Feature maps of each frame.
        hints: Hints from the second frame on (T, N, 5, 4h, 4w).
        parts: Predicted labels of each frame, as stored in the memory (T, N, h * w, 16).
        memories: Frames in the memory (T, N, R), -1 for none; frame 0 is the prompted one.
    """

    maps: list[FrameMaps]
    hints: FloatArray
    parts: FloatArray
    memories: IntArray


class RuleReader:
    """Answers as matching and decoder do by rule, without a network."""

    def read_memory(self, questions: Sequence[MemoryQuery]) -> list[MemoryOutput]:
        return [self._read(one) for one in questions]

    def _read(self, question: MemoryQuery) -> MemoryOutput:
        mixed, matched = question.hints[MIXED], question.hints[MATCHED]
        inside = mixed > 0
        known = bool(inside.any()) and float(matched[inside].mean()) >= KNOWN
        return MemoryOutput(mixed, THERE if known else -THERE)


def rehearse(
    model: Model, reader: ReadMemory, frames: UintImage, masks: BoolArray
) -> Rehearsal:  # (T, H, W, 3), (N, H, W)
    """Follow N objects from their first masks through a clip."""
    asked: list[MemoryQuery] = []

    def noted(questions: Sequence[MemoryQuery]) -> list[MemoryOutput]:
        asked.extend(questions)
        return reader(questions)

    tracker = ImageTracker(model, "memory", reader=noted)
    maps, states, parts = list[FrameMaps](), list[MatchState](), list[np.ndarray]()
    remembered = np.full((len(frames), len(masks), 1 + RECENT_FRAMES), -1, np.int64)
    for time, image in enumerate(frames):
        features, at = tracker.encode_frame(image, reduce_frame(image)), TrackMoment(time)
        maps.append(frame_maps(features))
        if time == 0:
            given = [tracker.answer(features, Prompt(mask=mask), None) for mask in masks]
            states = [tracker.begin(features, at, one, None) for one in given]
        else:
            for number, state in enumerate(states):
                known = [one.frame for one in (*state.anchors, *state.recent)]
                remembered[time, number, : len(known)] = known
            found = tracker.track(features, at, states)
            states = [
                tracker.remember(
                    features, at, state, one, bool(one.soft.any()) and one.score >= SURE
                )
                for state, one in zip(states, found, strict=True)
            ]
        parts.append(_newest_parts(states, time))
    # Hints by frame and object; the first frame has none.
    objects = len(masks)
    height, width = (FINE_CELLS * side for side in maps[0].keys.shape[1:])
    first = np.zeros((objects, len(HINTS), height, width), np.float32)
    later = [one.hints for one in asked]
    return Rehearsal(
        maps,
        np.concatenate([first, *(one[None] for one in later)]).reshape(
            -1, objects, len(HINTS), height, width
        ),
        np.stack(parts),
        remembered,
    )


def _newest_parts(states: list[MatchState], time: int) -> np.ndarray:  # -> (N, G, 16)
    """What each object's newest memory holds, where it is of this frame; else nothing."""
    rows = []
    for state in states:
        newest = (*state.anchors, *state.recent)[-1]
        assert newest.parts is not None
        rows.append(newest.parts if newest.frame == time else np.zeros_like(newest.parts))
    return np.stack(rows)
