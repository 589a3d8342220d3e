"""Corrections: earlier frames that contradict them are forgotten, and thin parts are not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.masks import FeatureMap, Prompt, iou, mask_to_box, mask_to_rle, rle_to_mask
from anymask.models.rules import MemoryOutput, MemoryQuery
from anymask.segment import Model, answer_prompts
from anymask.track import ImageTracker, ObjectMask, image_tracker, open_session, reduce_frame
from anymask.track.image_tracker import add_evidence, agreeing, fit_evidence
from anymask.track.matching import CellKeys, MemoryFrame
from research.nano.rehearsal import RuleReader
from tests.segment.fakes import ColorRuntime
from tests.track.clips import HW, moving_discs
from tests.track.memory_models import with_reader

KEYS = CellKeys(np.eye(12, dtype=np.float32), (3, 4))  # each cell is recognized at once


def glimpse(frame: int, *cells: int) -> MemoryFrame:
    return MemoryFrame(frame, KEYS, np.isin(np.arange(12), cells).astype(np.float32))


def test_prompted_frames_that_contradict_a_correction_are_forgotten() -> None:
    """The IoU with the corrected cells 0 to 5 is 5/6, 2/6 and 3/6; the last frame has no object."""
    anchors = (glimpse(0, *range(5)), glimpse(1, 0, 1), glimpse(2, 0, 1, 2), glimpse(3))
    assert [one.frame for one in agreeing(anchors, glimpse(9, *range(6)))] == [0, 2, 3]
    assert agreeing(anchors, glimpse(9)) == anchors


def test_evidence_finds_a_thin_object_that_moved() -> None:
    rng, spokes = np.random.default_rng(0), np.zeros((2, 24, 32), np.bool_)
    spokes[0, 4:20, [5, 9, 13]] = spokes[1, 4:20, [12, 16, 20]] = True
    looks = rng.normal(0, 1, (2, 8))  # of the background and of the object
    maps = []
    for mask in spokes:
        fine = np.zeros((8, 32, 32))
        fine[:, :24] = np.moveaxis(looks[mask.astype(int)], -1, 0)
        noise = rng.normal(0, 0.1, (2, 8, 32, 32))
        coarse = noise[1].reshape(8, 8, 4, 8, 4).mean((2, 4))
        values = (coarse, fine + noise[0])
        maps.append(
            tuple(FeatureMap(str(n), one.astype(np.float32)) for n, one in enumerate(values))
        )
    share, lost = spokes[0].astype(np.float32), np.full((24, 32), -1, np.float32)
    weights = fit_evidence(maps[0], share, 32, reproduced=0.5)
    assert weights is not None
    prior = spokes[1] & (np.arange(24) < 8)[:, None]  # the tracker expects the upper ends
    found = add_evidence(lost, maps[1], weights, prior) > 0
    reached = np.flatnonzero(found.any(axis=1))
    assert iou(found[4:14], spokes[1, 4:14]) > 0.9
    assert (reached[0], reached[-1]) == (4, 13)  # at most six cells from the prior
    assert fit_evidence(maps[0], share, 32, reproduced=0.95) is None


class Shrinking(RuleReader):
    """A memory network that loses the border of every object."""

    def _read(self, question: MemoryQuery) -> MemoryOutput:
        answer = super()._read(question)
        return MemoryOutput(answer.logits - 8, answer.presence)


def test_a_correction_lasts_that_the_network_would_lose(tmp_path: Path) -> None:
    images, truth = moving_discs(7)
    model, file = Model(with_reader(anymask.load().runtime, Shrinking())), tmp_path / "kept"
    with open_session(model, images, session=file) as session:
        session.add(frame=0, mask=truth[0][0])
        alone = [iou(frame.masks[1], truth[frame.index][0]) for frame in session]
        session.add(frame=2, mask=truth[2][0])
        whole = list(session.propagate(stop=4))
    with open_session(model, images, session=file) as again:  # the evidence is stored
        whole += list(again.propagate(start=5))
    corrected = [iou(frame.masks[1], truth[frame.index][0]) for frame in whole]
    assert corrected[1] > alone[1], "tracked back from the correction"
    for before, after in zip(alone[3:], corrected[3:], strict=True):
        assert after > before + 0.1, (alone, corrected)


def test_a_box_around_the_tracked_mask_corrects_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images, truth = moving_discs(1)
    tracker, asked = ImageTracker(Model(ColorRuntime())), list[list[Prompt]]()
    features, answer = tracker.encode_frame(images[0], reduce_frame(images[0])), answer_prompts

    def spy(*inputs: Any) -> Any:
        asked.append(inputs[3])
        return answer(*inputs)

    monkeypatch.setattr(image_tracker, "answer_prompts", spy)
    for number in range(2):  # the box of the tracked object, then that of the other one
        prompt = Prompt.of(box=mask_to_box(truth[0][number]))
        found = tracker.answer(features, prompt, mask_to_rle(truth[0][0]))
        assert iou(rle_to_mask(found.rle), truth[0][number]) > 0.9
    assert [[one.mask is None for one in prompts] for prompts in asked] == [[True, False], [True]]
    np.testing.assert_array_equal(asked[0][1].mask, truth[0][0])


class Forgetful(ColorRuntime):
    """Knows no object without a positive click, as networks that get a mask and a negative one."""

    def answer(
        self,
        colors: np.ndarray,
        coords: np.ndarray,
        labels: np.ndarray,
        mask: np.ndarray,
        has_mask: float,
    ) -> np.ndarray:
        used = labels < 2 if 1 in labels else labels > 0
        found = super().answer(colors, coords[used], labels[used], mask, 0)
        return np.full_like(mask, -6) if 0 in labels and 1 not in labels else found


def test_a_click_on_a_later_frame_changes_the_track_at_the_click_only() -> None:
    """On frame 1 the track has both discs, then half of the first one: one click each mends it."""
    images, truth = moving_discs(2)
    first, second = truth[1]
    half = first & (np.arange(HW[1]) < 32)
    box = (70, 40, 120, 95)  # around the second disc
    for label, tracked, expected in ((0, first | second, first), (1, half, first)):
        with open_session(Model(Forgetful()), images) as session:
            known = {frame: ObjectMask(mask_to_rle(one), 1, 1, "visible", prompted=not frame)
                     for frame, one in enumerate((truth[0][0], tracked))}  # fmt: skip
            session.import_masks(1, known)
            x, y = (99, 70) if label == 0 else (40, 30)
            found = session.add(1, points=[(x, y)], labels=[label]).mask
            far = np.hypot(*np.indices(HW) - np.reshape([y, x], (2, 1, 1))) > 20
            assert not (far & (found != tracked)).any()
            assert not ((found & ~tracked) if label == 0 else (tracked & ~found)).any()
            assert iou(found, expected) > 0.9
            assert iou(session.add(1, box=box, replace=True).mask, second) > 0.9  # a new prompt
