"""A session's file finds a frame at once, however long the video is."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.masks import Prompt, mask_to_rle
from anymask.segment import Model
from anymask.track import ObjectMask, SessionStore, files, open_session
from tests.segment.fakes import ColorRuntime
from tests.track.clips import moving_discs

MASK = ObjectMask(mask_to_rle(np.eye(8, dtype=np.bool_)), 1.0, 0.9, "visible", (), prompted=False)


def steps_of_a_look(frames: int) -> int:
    """How many steps SQLite makes for what is known of a frame in the middle, of three objects."""
    store = SessionStore(None)
    for frame in range(frames):
        for number in (1, 2, 3):
            store.write_mask(number, frame, MASK)
    store.commit()
    steps = []
    store._base.set_progress_handler(lambda: steps.append(0), 1)
    assert store.followed(frames // 2) == set(store.masks(frames // 2)) == {1, 2, 3}
    store._base.set_progress_handler(None, 1)
    store.close()
    return len(steps)


def test_a_look_at_a_frame_costs_the_same_in_a_longer_video() -> None:
    assert steps_of_a_look(2000) == pytest.approx(steps_of_a_look(20), rel=0.2)


@pytest.mark.parametrize(
    "damage",
    [
        "update about set value = cast(x'ff' as text)",
        "update about set value = null",
        "update prompts set prompt = x'7b7d'",
        "update prompts set prompt = '[]'",
        "update masks set mask = '8 8'",
        "update states set watch = '{}'",
        "update states set arrays = 'PK'",
    ],
)
def test_a_corrupted_session_ends_in_one_error(tmp_path: Path, damage: str) -> None:
    path, images = tmp_path / "a.session", moving_discs(3)[0]

    def go_on() -> None:
        with open_session(Model(ColorRuntime()), images, session=path) as session:
            list(session.results())
            session.add(points=[(30, 30)])
            list(session)

    go_on()
    with sqlite3.connect(path) as base:
        base.execute(damage)
    base.close()
    with pytest.raises(DataError, match=r"a\.session"):
        go_on()


def test_the_prompts_of_a_session_of_version_0_1_are_known_again() -> None:
    old = (
        "FilePrompt(points=[[10.0, 20.3]], labels=[1], box=None, mask=None, mask_values='auto', "
        "lasso=None)"
    )
    ours = Prompt.from_json({"points": [[10, 20.3]], "labels": [1], "frame": 4, "object_id": 2})
    before = files._prompts_of(json.dumps([[[4, 2, old]], None]))
    assert before == files._prompts_of(json.dumps([[ours.to_json()], None]))
    of_a_mask = "FilePrompt(points=[], labels=[], box=None, mask=PosixPath('m.png'))"
    before = files._prompts_of(json.dumps([[[4, 2, of_a_mask]], None]))
    assert before != files._prompts_of(json.dumps([[ours.to_json()], None]))
