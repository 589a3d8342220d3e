"""Edges of tracked masks: where the frame has them, if that is wanted; memory does not change."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import anymask
from anymask.base import BoolArray, InputError, UintImage
from anymask.segment import Model
from anymask.track import open_session
from tests.segment.fakes import iou
from tests.track.clips import moving_discs
from tests.track.test_memory_tracker import tiny

SCALE, FRAMES = 6, 4  # 720 x 576: coarser in a model's mask than in the frame


def larger() -> tuple[list[UintImage], list[BoolArray]]:
    """The first disc, drawn with a smooth outline."""
    images, truth = moving_discs(FRAMES)
    size = (images[0].shape[1] * SCALE, images[0].shape[0] * SCALE)
    drawn, masks = [], []
    for image, (mask, _) in zip(images, truth, strict=True):
        rows, columns = np.nonzero(mask)
        center = tuple(int(SCALE * (side.mean() + 0.5)) for side in (columns, rows))
        radius = round(SCALE * np.sqrt(mask.sum() / np.pi))
        color = tuple(int(value) for value in np.median(image[mask], axis=0))
        large = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        cv2.circle(large, center, radius + SCALE, (20, 24, 30), -1)
        cv2.circle(large, center, radius, color, -1)
        shape = np.zeros(size[::-1], np.uint8)
        cv2.circle(shape, center, radius, 1, -1)
        drawn.append(large)
        masks.append(shape > 0)
    return drawn, masks


IMAGES, TRUTH = larger()


@pytest.fixture(scope="module")
def nano() -> Model:
    return anymask.load()


@pytest.mark.parametrize("tracker", ["match", "memory"])
def test_tracked_masks_come_nearer_to_the_frames_edges(nano: Model, tracker: str) -> None:
    overlaps, softs = [], []
    for refine in (False, True):
        with open_session(nano, IMAGES, tracker=tracker, refine_edges=refine) as session:  # type: ignore[arg-type]
            session.add(frame=0, mask=TRUTH[0])
            found = [frame.masks[1] for frame in session][1:]
            softs.append(session._live[1, False].state.soft)
        overlaps.append([iou(mask, one) for mask, one in zip(found, TRUTH[1:], strict=True)])
    coarse, fine = np.array(overlaps)
    assert fine.mean() > coarse.mean() + 0.005
    np.testing.assert_array_equal(*softs)


def test_a_video_models_masks_are_its_own() -> None:
    with pytest.raises(InputError, match="refine_edges requires an image model, but tiny_video"):
        open_session(tiny(), IMAGES, refine_edges=True)
