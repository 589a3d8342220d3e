"""Cells that are remembered for long, with keys of two channels whose cosines are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from anymask.predictors.image import Model
from anymask.primitives.errors import InputError
from anymask.video.long_memory import with_cells
from anymask.video.opening import open_session
from tests.predictors.fakes import ColourRuntime, iou
from tests.video.clips import moving_discs


def keys(*degrees: float) -> np.ndarray:
    turned = np.deg2rad(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def labels(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_cells_that_are_met_again_are_remembered_once_with_the_mean_of_their_labels() -> None:
    memory = with_cells(None, keys(0, 90), labels(1, 0), 10)
    memory = with_cells(memory, keys(5, 180), labels(0.8, 0), 10)
    np.testing.assert_allclose(memory.keys, keys(0, 90, 180), atol=1e-6)
    np.testing.assert_allclose(memory.labels, [0.9, 0, 0])
    assert memory.met.tolist() == [2, 1, 1]


def test_cells_of_which_nobody_is_sure_are_not_remembered() -> None:
    memory = with_cells(None, keys(0, 30, 60, 90), labels(0.5, 0.79, 0.21, 0.1), 10)
    np.testing.assert_allclose(memory.keys, keys(90), atol=1e-6)


def test_beyond_the_limit_those_that_were_met_least_go_the_oldest_first() -> None:
    memory = with_cells(None, keys(0, 60, 120), labels(1, 1, 1), 3)
    memory = with_cells(memory, keys(1), labels(1), 3)
    memory = with_cells(memory, keys(180, 240), labels(0, 0), 3)
    np.testing.assert_allclose(memory.keys, keys(0, 180, 240), atol=1e-6)
    assert memory.met.tolist() == [2, 1, 1]


def test_an_object_is_followed_with_a_long_memory_that_stays_within_its_limit(
    tmp_path: Path,
) -> None:
    pictures, truth = moving_discs(16)
    model, start = Model(ColourRuntime()), [(30, 30)]
    settings = {"long_memory": 40, "session": tmp_path / "clip.session"}
    with open_session(model, pictures, **settings) as session:  # type: ignore[arg-type]
        session.add(frame=0, points=start)
        list(itertools.islice(session, 9))
    with open_session(model, pictures, **settings) as session:  # type: ignore[arg-type]
        state = session._live[1, False].state
        assert 0 < len(state.long.keys) <= 40
        frames = list(session)
    with open_session(model, pictures, long_memory=40) as session:
        session.add(frame=0, points=start)
        assert [one.objects[1].rle for one in session] == [one.objects[1].rle for one in frames]
    for frame in frames:
        assert iou(frame.masks[1], truth[frame.index][0]) > 0.7


def test_settings_of_another_tracker_are_refused() -> None:
    model = Model(ColourRuntime())
    with pytest.raises(InputError, match="fill_gaps is a setting of tracker='memory', this one is"):
        open_session(model, [], fill_gaps=True)
    with pytest.raises(InputError, match="long_memory is a setting of tracker='match', this one"):
        open_session(model, [], tracker="points", long_memory=5)
    with pytest.raises(InputError, match="least_quality must be a number from 0 to 1, got 2"):
        open_session(model, [], least_quality=2)
