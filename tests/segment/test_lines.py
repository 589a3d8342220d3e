"""Scribbles and lassos: the same masks as by the points, boxes and masks that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anymask.base import PromptError
from anymask.masks import ALL_KINDS, Prompt
from anymask.masks.prompts import scribble_points
from anymask.segment import Model
from anymask.track import open_session
from anymask.volumes import Volume, open_volume_session
from anymask.volumes.volume import scaled_affine
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import IMAGE

LINE = [(30.0, 35.0), (36.0, 35.0), (36.0, 47.0)]
ANGLES = np.linspace(0, 2 * np.pi, 60, endpoint=False)
RING = np.stack([35 + 22 * np.cos(ANGLES), 40 + 22 * np.sin(ANGLES)], 1)


@pytest.fixture
def model() -> Model:
    return Model(ColorRuntime())


def disc() -> np.ndarray:
    """Pixels whose centres are inside the ring."""
    y, x = np.mgrid[:80, :120] + 0.5
    return np.asarray((x - 35) ** 2 + (y - 40) ** 2 < 22**2)


def test_a_scribble_is_six_points_in_equal_parts_of_its_length() -> None:
    points = scribble_points(np.array(LINE, np.float32))
    along = [(31.5, 35), (34.5, 35), (36, 36.5), (36, 39.5), (36, 42.5), (36, 45.5)]
    np.testing.assert_allclose(points, along)
    for line in ([(5, 6)], [(5, 6), (5, 6)]):
        np.testing.assert_array_equal(scribble_points(np.array(line, np.float32)), [(5, 6)])


def test_a_scribble_adds_its_points_to_others() -> None:
    prompt = Prompt.of(points=[(1, 2)], labels=[0], scribble=LINE)
    assert prompt.labels.tolist() == [0, 1, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(prompt.points[1:], scribble_points(np.array(LINE, np.float32)))


def test_a_lasso_is_its_box_and_what_it_encloses() -> None:
    prompt = Prompt.of(lasso=RING).drawn_in((80, 120), ALL_KINDS)
    assert prompt.mask is not None
    assert prompt.box is not None
    assert prompt.lasso is None
    assert (prompt.mask != disc()).mean() < 0.003
    np.testing.assert_allclose(prompt.box, [13, 18, 57, 62], atol=0.1)
    own = Prompt.of(box=(1, 2, 30, 40), lasso=RING).drawn_in((80, 120), ALL_KINDS)
    assert own.box.tolist() == [1, 2, 30, 40]


def test_a_model_without_mask_prompts_has_a_point_in_the_lasso() -> None:
    prompt = Prompt.of(lasso=RING).drawn_in((80, 120), frozenset({"point", "box"}))
    assert prompt.mask is None
    assert np.hypot(*(prompt.points[0] - (35, 40))) < 1.5


def test_a_model_is_asked_with_what_a_line_stands_for(model: Model) -> None:
    points = scribble_points(np.array(LINE, np.float32))
    found = model.segment(IMAGE, scribble=LINE)
    np.testing.assert_array_equal(found.logits, model.segment(IMAGE, points=points).logits)
    found = model.segment(IMAGE, lasso=RING)
    drawn = Prompt.of(lasso=RING).drawn_in(IMAGE.shape[:2], ALL_KINDS)
    expected = model.segment(IMAGE, box=drawn.box, mask=drawn.mask)
    np.testing.assert_array_equal(found.logits, expected.logits)
    several = model.segment(IMAGE, prompts=[Prompt.of(lasso=RING)])
    np.testing.assert_array_equal(several[0].logits, expected.logits)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"scribble": 3}, "scribble"),
        ({"scribble": [(1, float("nan"))]}, "NaN"),
        ({"scribble": []}, "scribble"),
        ({"lasso": [(1, 2), (3, 4)]}, "3 to"),
        ({"lasso": [(500, 500), (600, 500), (600, 600)]}, "enclose"),
        ({"scribble": [(-9, 3), (30, 3)]}, "outside"),
        ({"scribble": LINE, "boxes": [(1, 2, 3, 4)]}, "boxes="),
    ],
)
def test_lines_that_cannot_be_used_are_refused(
    model: Model, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(PromptError, match=named):
        model.segment(IMAGE, **given)


def test_frames_and_slices_are_prompted_by_lines(model: Model) -> None:
    drawn = Prompt.of(lasso=RING).drawn_in(IMAGE.shape[:2], ALL_KINDS)
    with open_session(model, [IMAGE, IMAGE], tracker="match") as session:
        by_lasso = session.add(frame=0, id=1, lasso=RING)
        assert by_lasso.rle == session.add(frame=0, id=2, box=drawn.box, mask=drawn.mask).rle
        by_line = session.add(frame=1, id=3, scribble=LINE)
        points = scribble_points(np.array(LINE, np.float32))
        assert by_line.rle == session.add(frame=1, id=4, points=points).rle
    scan = Volume(np.repeat(IMAGE[None, ..., 0], 3, axis=0), scaled_affine((1.0, 1.0, 1.0)))
    with open_volume_session(model, scan) as slices:
        by_lasso = slices.add(1, 1, lasso=RING)
        assert by_lasso.rle == slices.add(1, 2, box=drawn.box, mask=drawn.mask).rle
