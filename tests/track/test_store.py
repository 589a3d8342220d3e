"""A session's file finds a frame at once, however long the video is."""

import json

import numpy as np
import pytest

from anymask.masks import Prompt, mask_to_rle
from anymask.track import ObjectMask, SessionStore, files

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
