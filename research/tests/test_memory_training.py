"""Memory is learned from rehearsed clips: stored, read, trained, resumed, judged."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import BoolArray, DataError, UintImage
from anymask.models.rules import ANCHOR, CARRIED, HINTS, MIXED, RECENT, FrameMaps
from research.nano.memory_samples import (
    ClipStore,
    MemoryBatch,
    gather_clips,
    read_questions,
    store_clip,
)
from research.nano.memory_training import (
    CHECKPOINT,
    MemoryRecipe,
    judge_memory,
    memory_loss,
    train_memory,
)
from research.nano.rehearsal import Rehearsal
from tests.training.small_data import write_sets

GRID = (5, 7)  # coarse cells
FRAMES = 4
PLANE = tuple(4 * side for side in GRID)


def discs(rng: np.random.Generator) -> BoolArray:  # (T, 2, H, W)
    """Two discs that move, in pixels of 2 to a fine cell; the second one is gone at last."""
    y, x = np.mgrid[: 2 * PLANE[0], : 2 * PLANE[1]]
    masks = np.zeros((FRAMES, 2, *y.shape), np.bool_)
    for number in range(2):
        place, step = rng.uniform(10, 30, 2), rng.uniform(-3, 3, 2)
        for time in range(FRAMES):
            cy, cx = place + time * step
            masks[time, number] = (y - cy) ** 2 + (x - cx) ** 2 < 60
    masks[-1, 1] = False
    return masks


def rehearsed(masks: BoolArray, rng: np.random.Generator) -> Rehearsal:
    """The rule draws every disc two cells too far right; the flow is right."""
    cells = masks[:, :, ::2, ::2].astype(np.float32)
    hints = rng.random((FRAMES, 2, len(HINTS), *PLANE)).astype(np.float32)
    hints[:, :, MIXED] = 6 * np.roll(cells, 2, axis=-1) - 3
    hints[:, :, CARRIED] = cells
    parts = cells.reshape(FRAMES, 2, GRID[0], 4, GRID[1], 4).swapaxes(3, 4)
    memories = np.full((FRAMES, 2, 3), -1, np.int64)
    for time in range(1, FRAMES):
        memories[time, :, 0] = 0
        memories[time, :, 1] = time - 1 if time > 1 else -1
    maps = []
    for _ in range(FRAMES):
        planes = (
            rng.normal(0, 1, (channels, GRID[0] * step, GRID[1] * step)).astype(np.float32)
            for channels, step in ((6, 1), (4, 2), (3, 4))
        )
        maps.append(FrameMaps(*planes))
    return Rehearsal(maps, hints, parts.reshape(FRAMES, 2, -1, 16), memories)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(6):
        rng = np.random.default_rng(number)
        masks = discs(rng)
        store_clip(folder / f"{number:06}.npz", rehearsed(masks, rng), masks)
    return ClipStore(folder)


def no_report(row: dict[str, float]) -> None:
    del row


class Minutes:
    """A clock that a step of training takes six seconds of."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 3.0
        return self.now


def test_what_is_read_is_what_was_stored(store: ClipStore) -> None:
    rng = np.random.default_rng(0)
    masks = discs(rng)
    asked = rehearsed(masks, rng)
    one, other = read_questions(store.paths[0], 2, None)
    assert one.keys.shape == (1, 6, *GRID)
    np.testing.assert_allclose(one.fine[0], asked.maps[2].fine, atol=2e-3)
    np.testing.assert_allclose(other.hints[0], asked.hints[2, 1], atol=2e-3)
    keys, labels, kinds = one.memory
    assert kinds[0].tolist() == [ANCHOR] * 35 + [RECENT] * 35
    np.testing.assert_allclose(labels[0, :35], asked.parts[0, 0], atol=2e-3)
    np.testing.assert_allclose(keys[0, 35:].T.reshape(6, *GRID), asked.maps[1].keys, atol=2e-3)
    assert float(one.target.mean()) == pytest.approx(masks[2, 0].mean(), abs=1e-3)


def test_a_random_reading_keeps_the_object_and_what_was_remembered_of_it(store: ClipStore) -> None:
    for seed in range(8):
        (one, _) = read_questions(store.paths[1], 1, np.random.default_rng(seed))
        whole = read_questions(store.paths[1], 1, None)[0]
        assert float(one.target.sum()) == pytest.approx(float(whole.target.sum()))
        assert float(one.memory[1].sum()) == pytest.approx(float(whole.memory[1].sum()), rel=1e-4)
        assert one.memory[0].shape[1] == one.memory[2].shape[1] <= whole.memory[0].shape[1]


def test_the_network_learns_which_hint_is_right(store: ClipStore, tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    recipe = MemoryRecipe(minutes=14, clips=2)
    network, done = train_memory(store, tmp_path, recipe, told.append, Minutes())
    assert done
    assert told[-1]["loss"] < 0.8 * told[0]["loss"]
    judged = {one.kind: one for one in judge_memory(network, store)}
    assert judged["all"].network > judged["all"].rule + 0.05
    assert judged["there or not"].network > 0.8
    assert judged["all"].count == 3 + 2  # the second disc is gone on the last frame


def test_a_stopped_training_goes_on(store: ClipStore, tmp_path: Path) -> None:
    clock = Minutes()

    def stopping() -> float:
        if clock.now > 60:
            os.kill(os.getpid(), signal.SIGTERM)
        return clock()

    recipe = MemoryRecipe(minutes=3)
    _, done = train_memory(store, tmp_path, recipe, no_report, stopping)
    assert not done
    before = torch.load(tmp_path / CHECKPOINT, weights_only=True)["about"]
    assert 0 < before["minutes"] < 3
    network, done = train_memory(store, tmp_path, recipe, no_report, Minutes())
    after = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert done
    assert after["about"]["steps"] > before["steps"]
    for name, value in network.state_dict().items():
        assert torch.equal(value, after["averaged"][name])


def test_the_loss_is_small_only_for_the_truth() -> None:
    target = torch.zeros(2, 1, 8, 8)
    target[0, :, 2:6, 2:6] = 1
    right, wrong = 20 * target - 10, 10 - 20 * target
    there = torch.tensor([[10.0], [-10.0]])
    assert memory_loss(right, there, target) < 0.01
    assert memory_loss(wrong, there, target) > 1
    assert memory_loss(right, -there, target) > 1


def test_clips_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def rehearse(frames: UintImage, masks: BoolArray) -> Rehearsal:
        asked.append(frames.shape)
        rng = np.random.default_rng(0)
        one = rehearsed(discs(rng), rng)
        count = len(masks)
        hints = np.zeros((len(frames), count, len(HINTS), *PLANE), np.float32)
        parts = np.zeros((len(frames), count, 35, 16), np.float32)
        return Rehearsal(one.maps, hints, parts, np.zeros((len(frames), count, 1), np.int64))

    sets, folder = write_sets(tmp_path / "sets"), tmp_path / "clips"
    told: list[tuple[int, int]] = []
    gather_clips(sets, folder, rehearse, range(1), lambda *it: told.append(it))
    gather_clips(sets, folder, rehearse, range(2), lambda *it: told.append(it))
    assert len(asked) == 2
    assert told == [(1, 1), (1, 2), (2, 2)]
    assert [path.stem for path in ClipStore(folder).paths] == ["000000", "000001"]


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wanted a folder of clips"):
        ClipStore(tmp_path)


def test_memories_of_a_batch_are_filled_up(store: ClipStore) -> None:
    first, later = (read_questions(store.paths[0], time, None)[0] for time in (1, 3))
    short = MemoryBatch(*(getattr(first, n) for n in ("keys", "middle", "fine", "hints")),
                        tuple(one[:, :20] for one in first.memory), first.target)  # type: ignore[arg-type]  # fmt: skip
    joined = MemoryBatch.of([short, later])
    assert joined.memory[2].shape == (2, 70)
    assert (joined.memory[2][0, 20:] == -1).all()
    assert joined.target.shape == (2, 1, *PLANE)
