"""A network of memory behind the tracker: what it is asked, and that its answer is the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import anymask
from anymask.models.rules import ANCHOR, HINTS, LIMIT, RECENT, MemoryOutput, MemoryQuery
from anymask.segment import Model
from anymask.track import open_session, open_tracker
from anymask.track.image_tracker import ImageTracker, from_plane, soft_to_parts, to_plane
from research.nano.rehearsal import RuleReader, rehearse
from tests.segment.fakes import iou
from tests.track.clips import moving_discs
from tests.track.memory_models import with_reader

IMAGES, TRUTH = moving_discs(4)


@pytest.fixture(scope="module")
def nano() -> Model:
    return anymask.load()


def follow(model: Model, **settings: object) -> list[np.ndarray]:
    with open_session(model, IMAGES, **settings) as opened:
        opened.add(frame=0, mask=TRUTH[0][0])
        return [frame.masks[1] for frame in opened]


class Notes(RuleReader):
    """The rule, with every question kept."""

    def __init__(self) -> None:
        self.asked: list[MemoryQuery] = []

    def read_memory(self, questions: Sequence[MemoryQuery]) -> list[MemoryOutput]:
        self.asked += questions
        return super().read_memory(questions)


def test_a_network_that_repeats_the_rule_gives_the_masks_of_matching(nano: Model) -> None:
    by_rule = follow(Model(with_reader(nano.runtime, RuleReader())), tracker="memory")
    for one, other, truth in zip(by_rule, follow(nano, tracker="match"), TRUTH, strict=True):
        assert iou(one, other) > 0.98
        assert iou(one, truth[0]) > 0.7


def test_what_is_asked_grows_with_what_is_remembered(nano: Model) -> None:
    notes = Notes()
    follow(Model(with_reader(nano.runtime, notes)))
    cells = notes.asked[0].frame.keys[0].size
    kinds = [one.memory_kinds.reshape(-1, cells).mean(axis=1).tolist() for one in notes.asked]
    assert kinds == [[ANCHOR], [ANCHOR, RECENT], [ANCHOR, RECENT, RECENT]]
    for one in notes.asked:
        height, width = one.frame.keys.shape[1:]
        assert one.hints.shape == (len(HINTS), 4 * height, 4 * width)
        assert np.abs(one.hints[:2]).max() <= LIMIT
        assert one.hints[2:].min() >= 0
        assert one.hints[2:].max() <= 1
        assert one.memory_labels.shape == (len(one.memory_keys), 16)
        np.testing.assert_allclose(np.linalg.norm(one.frame.keys, axis=0), 1, atol=1e-3)


def test_objects_that_remember_the_same_frames_are_asked_about_together(nano: Model) -> None:
    notes = Notes()
    with open_session(Model(with_reader(nano.runtime, notes)), IMAGES) as opened:
        for number in (0, 1):
            opened.add(frame=0, id=number + 1, mask=TRUTH[0][number])
        list(opened)
    for one, other in zip(notes.asked[::2], notes.asked[1::2], strict=True):
        assert one.memory_keys is other.memory_keys
        assert one.memory_labels is not other.memory_labels


def test_an_object_that_the_network_does_not_see_is_hidden(nano: Model) -> None:
    class Blind(RuleReader):
        def read_memory(self, questions: Sequence[MemoryQuery]) -> list[MemoryOutput]:
            return [MemoryOutput(one.logits, -3.0) for one in super().read_memory(questions)]

    masks = follow(Model(with_reader(nano.runtime, Blind())))
    assert masks[0].any()
    assert not any(mask.any() for mask in masks[1:])


def test_auto_takes_a_network_where_there_is_one(nano: Model) -> None:
    with_network = Model(with_reader(nano.runtime, RuleReader()))
    assert open_tracker(with_network).name.startswith("memory:")
    assert open_tracker(with_network, "match").name.startswith("match:")
    without = Model(with_reader(nano.runtime, None))
    tracker = open_tracker(without)
    assert isinstance(tracker, ImageTracker)
    assert tracker.way == "match"


def test_a_rehearsal_tells_which_frames_were_remembered(nano: Model) -> None:
    frames = np.stack([np.asarray(one) for one in IMAGES])
    asked = rehearse(nano, RuleReader().read_memory, frames, np.stack(TRUTH[0]))
    assert asked.memories[1:, 0].tolist() == [[0, -1, -1, -1], [0, 1, -1, -1], [0, 1, 2, -1]]
    height, width = asked.maps[0].keys.shape[1:]
    assert asked.hints.shape == (4, 2, len(HINTS), 4 * height, 4 * width)
    assert asked.parts.shape == (4, 2, height * width, 16)
    found = asked.parts[3, 0].mean() * height * width * 16
    expected = TRUTH[3][0].mean() * height * width * 16
    assert found == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize(
    ("size", "grid"), [((144, 256), (18, 32)), ((100, 256), (13, 32)), ((256, 90), (32, 12))]
)
def test_planes_lead_back_to_the_frame(size: tuple[int, int], grid: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    soft = (np.sin(y / 30) * np.cos(x / 30) / 2 + 0.5).astype(np.float32)
    plane = to_plane(soft, grid)
    assert plane.shape == (4 * grid[0], 4 * grid[1])
    np.testing.assert_allclose(from_plane(plane, size, grid), soft, atol=0.05)
    parts = soft_to_parts(soft, grid).reshape(*grid, 4, 4)
    np.testing.assert_array_equal(parts[2, 3], plane[8:12, 12:16])
