"""Several hypotheses of an object behind a session."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.primitives.rle import Rle
from anymask.runtimes.video import VideoAnswer, VideoSteps
from anymask.video.memory_settings import MemorySettings
from anymask.video.opening import open_session
from anymask.video.picks import FramePicks, PickedFrames
from anymask.video.session import VideoSession
from anymask.video.sources import open_source
from anymask.video.store import SessionStore
from anymask.video.tree_tracker import TreeTracker
from anymask.video.watch import WatchSettings
from tests.video.clips import moving_discs
from tests.video.test_memory_tracker import tiny

PICTURES, _ = moving_discs(6)
POINT = [(30.0, 30.0)]
# Predicted IoU of each path's three masks, by frame: the second mask of frame 1 leads from frame 3.
QUALITIES = {
    1: [[0.8, 0.7, 0.1]],
    2: [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]],
    3: [[0.4, 0.1, 0.1], [0.8, 0.1, 0.1]],
}


class Rated:
    """A video model's steps whose predicted IoU is written down; the object is always there."""

    def __init__(self, steps: VideoSteps) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)

    def choosing(self, choice: Any) -> "Rated":
        return Rated(self._steps.choosing(choice))

    def step_candidates(
        self, frame: Any, banks: Sequence[Any], number: int, backward: bool
    ) -> VideoAnswer:
        told = self._steps.step_candidates(frame, banks, number, backward)
        places = len(told.quality) // 3
        asked = QUALITIES.get(number, [])
        if len(asked) != places:
            asked = [[0.9, 0.1, 0.1]] * places
        quality = np.array(list(itertools.chain(*asked)), np.float32)
        sides = np.linspace(4, 12, len(quality)).round().astype(int)
        logits = np.full_like(told.logits, -9)
        for plane, side in zip(logits, sides, strict=True):  # a mask of its own in each row
            plane[:side, :side] = 9
        handles = tuple(replace(one, object_score=one.object_score * 0 + 9) for one in told.handles)
        return VideoAnswer(logits, quality, np.full_like(told.score, 9), handles)


def rated(path: Path | None = None) -> VideoSession:
    """A session with two paths on those steps."""
    model = tiny()
    steps = model.runtime.capability(VideoSteps)
    assert steps is not None
    tracker = TreeTracker(model, Rated(steps), MemorySettings(paths=2))
    frames = PickedFrames(open_source(PICTURES), FramePicks())
    return VideoSession(tracker, frames, SessionStore(path), WatchSettings(write_unsure=True))


def begin(session: VideoSession) -> VideoSession:
    session.add(frame=0, points=POINT)
    return session


def masks(session: VideoSession) -> list[Rle]:
    return [frame.objects[1].rle for frame in session.results()]


def test_earlier_masks_change_as_another_path_takes_the_lead() -> None:
    with rated() as session:
        shown = [frame.objects[1].rle for frame in begin(session)]
        found = masks(session)
        known = session.result(1).objects[1]
        (path, other) = session._live[1, False].state
    changed = [one != two for one, two in zip(shown, found, strict=True)]
    assert changed == [False, True, True, False, False, False]
    assert known.quality == pytest.approx(0.7)
    assert sorted(path.bank.tracked) == [1, 2, 3, 4, 5]
    assert path.bank.tracked[1].pointer is not other.bank.tracked[1].pointer


def test_a_saved_session_goes_on_with_all_its_paths(tmp_path: Path) -> None:
    with rated() as session:
        list(begin(session))
        wanted = masks(session)
    path = tmp_path / "clip.session"
    with rated(path) as session:
        list(itertools.islice(begin(session), 3))  # the second path does not lead yet
    with rated(path) as session:
        list(session)
        assert masks(session) == wanted


def test_a_prompt_is_never_revised_and_ends_the_hypotheses() -> None:
    with rated() as session:
        begin(session)
        list(itertools.islice(session, 3))
        said = session.add(frame=2, points=[(31.0, 31.0)]).rle
        list(session)
        assert session.result(2).objects[1].rle == said
        assert len(session._live[1, False].state) == 2


def test_real_steps_follow_two_objects_in_both_directions() -> None:
    with open_session(tiny(), PICTURES, paths=3, least_quality=0.0) as session:
        session.add(frame=2, points=POINT)
        session.add(frame=3, object=2, box=(80, 50, 118, 88))
        found = list(session.propagate("both"))
        assert {frame.index for frame in found} == set(range(6))
        assert [sorted(session.result(index).objects) for index in range(6)] == [[1, 2]] * 6
