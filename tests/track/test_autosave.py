"""When a session's file is written: by frames where they are quick, by time where they are not."""

import itertools
import shutil
from pathlib import Path

import pytest

from anymask.segment import Model
from anymask.track import SessionStore, open_session
from anymask.track import session as sessions
from tests.segment.fakes import ColorRuntime
from tests.track.clips import moving_discs

IMAGES, _ = moving_discs(6)


@pytest.mark.parametrize(
    ("frames", "seconds", "kept"), [(3, 1e9, [0, 1, 2]), (100, 0.0, [0, 1, 2, 3]), (100, 1e9, [])]
)
def test_a_checkpoint_comes_after_frames_or_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, seconds: float, kept: list[int]
) -> None:
    monkeypatch.setattr(sessions, "CHECKPOINT_FRAMES", frames)
    monkeypatch.setattr(sessions, "CHECKPOINT_SECONDS", seconds)
    path = tmp_path / "clip.session"
    with open_session(Model(ColorRuntime()), IMAGES, session=path) as session:
        session.add(frame=0, points=[(30, 30)])
        going = session.propagate()
        list(itertools.islice(going, 4))
        left = tmp_path / "left.session"  # what a kill would leave now
        shutil.copy(path, left)
        if path.with_name(f"{path.name}-journal").exists():
            shutil.copy(f"{path}-journal", f"{left}-journal")
        store = SessionStore(left)
        assert store.frames() == kept
        store.close()
