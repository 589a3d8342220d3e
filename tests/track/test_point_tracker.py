"""Tracking by points (SAM-PT): clips with exact truth, and points with known positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

import anymask
from anymask.base import BoolArray, InputError, ModelError, UintImage
from anymask.masks import iou
from anymask.segment import Model
from anymask.track.flow import reduce_frame
from anymask.track.point_tracker import (
    Expected,
    PointState,
    PointTracker,
    TrackedPoints,
    k_medoids,
    move_points,
    select_points,
)

HW = (120, 200)


def noise(hw: tuple[int, int], low: int, high: int, seed: int) -> UintImage:
    """A smooth random texture (H, W, 3)."""
    grain = np.random.default_rng(seed).integers(low, high, (hw[0] // 4, hw[1] // 4, 3), np.uint8)
    return np.asarray(cv2.resize(grain, hw[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


GROUND, SKIN = noise(HW, 20, 90, 0), noise((60, 60), 150, 250, 1)


def disc(x: int, y: int, radius: int = 24) -> BoolArray:
    drawn = np.zeros(HW, np.uint8)
    cv2.circle(drawn, (x, y), radius, (1,), -1)
    return drawn > 0


def picture(*places: tuple[int, int]) -> UintImage:
    """Textured red discs on a textured ground; the texture moves with its disc."""
    frame = GROUND.copy()
    for x, y in places:
        patch = np.zeros((*HW, 3), np.uint8)
        shift = np.array([[1, 0, x - 30], [0, 1, y - 30]], np.float32)
        cv2.warpAffine(SKIN, shift, HW[::-1], dst=patch)
        patch[..., 1:] //= 3
        frame[disc(x, y)] = patch[disc(x, y)]
    return frame


PATH = [(50 + 4 * n, 60 + 2 * n) for n in range(10)]


@pytest.fixture(scope="module")
def nano() -> Model:
    return anymask.load("nano")


def test_medoids_are_the_centers_of_separate_squares() -> None:
    mask = np.zeros((60, 60), np.bool_)
    for x, y in ((5, 5), (45, 10), (20, 45)):
        mask[y : y + 9, x : x + 9] = True
    found = sorted(map(tuple, k_medoids(mask, 3).tolist()))
    assert found == [(9, 9), (24, 49), (49, 14)]
    assert len(k_medoids(mask[:6, :6], 3)) == 1, "fewer pixels than points"
    assert k_medoids(np.zeros((5, 5), np.bool_), 3).shape == (0, 2)


def test_positive_points_are_inside_and_negative_ones_near() -> None:
    mask = disc(70, 60)
    gray = cv2.cvtColor(picture((70, 60)), cv2.COLOR_RGB2GRAY)
    points = select_points(mask, np.asarray(gray, np.uint8))
    x, y = points.xy.round().astype(int).T
    assert (mask[y, x] == (points.labels == 1)).all()
    assert points.labels.tolist() == [1] * 16 + [0] * 4
    away = np.hypot(x - 70, y - 60)[points.labels == 0] - 24
    assert (away > 0).all()
    assert (away < 0.25 * 49 + 1).all()
    assert len(select_points(np.zeros(HW, np.bool_)).xy) == 0


def test_points_move_with_the_texture_and_hide_when_covered() -> None:
    before, now = picture((60, 60)), picture((65, 57))
    now[42:76, 70:104] = 120  # covers one point
    xy = np.array([(50, 50), (50, 68), (46, 60), (80, 60)], np.float32)
    points = TrackedPoints(xy, np.ones(4, np.int64), np.ones(4, np.bool_))
    gray = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in (before, now)]
    moved = move_points(points, *gray)
    assert moved.visible.tolist() == [True, True, True, False]
    np.testing.assert_allclose(moved.xy[:3], xy[:3] + np.array([5, -3]), atol=0.3)
    assert moved.age == 1
    hidden = move_points(replace(points, visible=np.zeros(4, np.bool_)), *gray)
    assert not hidden.visible.any(), "a hidden point stays hidden until points are selected"


@pytest.mark.parametrize("scale", [0.5, 1, 6])
def test_a_moving_disc_is_tracked_in_both_directions(nano: Model, scale: float) -> None:
    size, places = (int(HW[1] * scale), int(HW[0] * scale)), PATH if scale == 1 else PATH[:4]
    frames = [cv2.resize(picture(place), size) for place in places]
    true = [cv2.resize(disc(*place).view(np.uint8), size) > 0 for place in places]
    with nano.track(frames, tracker="points") as session:
        session.add(frame=2, mask=true[2])
        list(session.propagate("both"))
        for frame, truth in zip(session.results(), true, strict=True):
            assert iou(frame.masks[1], truth) > (0.85 if scale == 1 else 0.8)


def test_an_object_that_returns_is_found_by_its_features(nano: Model) -> None:
    places: list[tuple[int, int] | None] = [PATH[0], PATH[1], None, None, (140, 60), (142, 62)]
    frames = [picture() if place is None else picture(place) for place in places]
    with nano.track(frames, tracker="points") as session:
        session.add(frame=0, mask=disc(*PATH[0]))
        found = list(session.propagate())
    areas = [frame.objects[1].area for frame in found]
    assert areas[2] == areas[3] == 0
    assert found[2].objects[1].state == "occluded"
    assert found[4].objects[1].state == "back"
    assert iou(found[5].masks[1], disc(142, 62)) > 0.8


def test_a_saved_session_continues_with_its_points(nano: Model, tmp_path: Path) -> None:
    frames = [picture(place) for place in PATH]
    with nano.track(frames, tracker="points") as session:
        session.add(frame=0, mask=disc(*PATH[0]))
        whole = [frame.masks[1] for frame in session.propagate()]
    path = tmp_path / "clip.session"
    for stop in (3, None):
        with nano.track(frames, tracker="points", session=path) as session:
            if not session.objects:
                session.add(frame=0, mask=disc(*PATH[0]))
            list(session.propagate(stop=stop))
    with nano.track(frames, tracker="points", session=path) as session:
        for before, now in zip(whole, session.results(), strict=True):
            assert (before == now.masks[1]).all()
    with pytest.raises(InputError, match="points:nano"):
        nano.track(frames, tracker="match", session=path)


def test_a_correction_starts_again_from_its_mask(nano: Model) -> None:
    other = [(150 - 4 * n, 90) for n in range(6)]
    frames = [picture(PATH[n], other[n]) for n in range(6)]
    with nano.track(frames, tracker="points") as session:
        session.add(frame=0, mask=disc(*PATH[0]))
        list(session.propagate())
        session.add(frame=2, mask=disc(*other[2]))  # the other disc is meant
        assert (session.result(2).masks[1] == disc(*other[2])).all()
        list(session.propagate())
        assert iou(session.result(4).masks[1], disc(*other[4])) > 0.8
        assert iou(session.result(1).masks[1], disc(*PATH[1])) > 0.85, "earlier frames stay"
        state = session.state_of(1, backward=False)
        assert isinstance(state, PointState)
        assert [one.frame for one in state.match.anchors] == [2], "frame 0 contradicts it"


def test_points_of_other_objects_are_negative(nano: Model) -> None:
    tracker, frame = PointTracker(nano), picture((50, 60), (110, 60))
    features = tracker.encode_frame(frame, reduce_frame(frame))
    plane = np.zeros(HW, np.float32)
    both = [Expected(plane, plane, select_points(disc(x, 60))) for x in (50, 110)]
    prompt = tracker._prompt(features, both, 0)
    assert prompt.labels is not None
    x, y = prompt.points.round().astype(int).T
    assert disc(50, 60)[y, x].tolist() == [label == 1 for label in prompt.labels]
    assert disc(110, 60)[y, x].sum() == 4, "the nearest of its points"


def test_unsuitable_settings_and_models_are_refused(nano: Model) -> None:
    with pytest.raises(InputError, match="pool_memory"):
        nano.track(None, tracker="points", pool_memory=2)
    spec = replace(nano.spec, accepts=frozenset({"box"}))
    blind: Any = SimpleNamespace(spec=spec, name="medsam")
    with pytest.raises(ModelError, match="mask, negative_point, point"):
        PointTracker(cast(Model, blind))
