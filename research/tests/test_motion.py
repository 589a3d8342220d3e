"""Clips of made motion: masks lie on what moves, and hide where another thing is in front."""

import numpy as np
import pytest

from anymask.training import Recipe
from anymask.training.samples import TrainingImages
from research.nano.motion import Layer, draw_frame, make_clip, similarity
from tests.training.small_data import write_sets

HW = (48, 64)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    return TrainingImages(Recipe(), write_sets(tmp_path_factory.mktemp("motion") / "sets"))


def test_a_clip_follows_from_its_seed_alone(source: TrainingImages) -> None:
    one, same, other = (make_clip(source, np.random.default_rng(seed), HW, 3) for seed in (1, 1, 2))
    assert one.frames.shape == (3, *HW, 3)
    assert one.masks.shape[0] == 3
    assert one.masks.shape[2:] == HW
    np.testing.assert_array_equal(one.frames, same.frames)
    np.testing.assert_array_equal(one.masks, same.masks)
    assert (one.frames != other.frames).any()


def test_objects_are_the_bright_shapes_and_each_is_there_at_first(source: TrainingImages) -> None:
    """The sets' objects are bright on a dark ground, so brightness is the oracle."""
    contrasts = []
    for seed in range(12):
        clip = make_clip(source, np.random.default_rng(seed), HW, 4)
        assert clip.masks[0].any(axis=(1, 2)).all()
        for frame, masks in zip(clip.frames, clip.masks, strict=True):
            there, gray = masks.any(axis=0), frame.mean(axis=2)
            if there.any() and not there.all():
                contrasts.append(gray[there].mean() > gray[~there].mean())
    assert np.mean(contrasts) > 0.9


def test_things_move_in_most_clips(source: TrainingImages) -> None:
    moved = []
    for seed in range(12):
        masks = make_clip(source, np.random.default_rng(seed), HW, 4).masks
        moved += [(masks[0, n] != masks[-1, n]).any() for n in range(masks.shape[1])]
    assert np.mean(moved) > 0.8


def flat_layer(value: int, side: int, corner: tuple[int, int]) -> Layer:
    colors = np.full((side, side, 3), value, np.uint8)
    matrix = similarity(0, 1, np.zeros(2), np.array(corner[::-1], float))[:2]
    return Layer(colors, np.ones((side, side, 2), np.float32), [matrix], [np.zeros(0, np.float32)])


def test_what_lies_in_front_hides_what_is_behind() -> None:
    layers = [
        flat_layer(10, 64, (0, 0)),
        flat_layer(100, 20, (10, 10)),
        flat_layer(200, 20, (20, 20)),
    ]
    image, planes = draw_frame(layers, 0, HW)
    whole, back, front = planes > 0.5
    expected = np.zeros(HW, bool)
    expected[20:40, 20:40] = True
    np.testing.assert_array_equal(front, expected)
    assert back.sum() == 400 - 100
    assert not (back & front).any()
    assert (image[back] == 100).all()
    assert (image[front] == 200).all()
    assert not (whole & (back | front)).any()
