"""Sessions with XMem: a small network with random weights, which `test_xmem` checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import anymask
from anymask.base import InputError, ModelError, WeightsError
from anymask.cli.main import main
from anymask.masks import Prompt, rle_to_mask
from anymask.runtime import checkpoints
from anymask.segment import Model
from anymask.track import TrackMoment, reduce_frame
from anymask_families import xmem_tracker
from anymask_families.xmem import XMem
from anymask_families.xmem_memory import (
    MemoryCells,
    ObjectMemory,
    XMemSettings,
    XMemSteps,
    prototypes,
    read_cells,
)
from anymask_families.xmem_tracker import InputArea, open_xmem
from tests.track.made_scene import MadeScene

SCENE = MadeScene((48, 80))
FRAMES = 9


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of a quarter of the width."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("xmem") / "xmem.safetensors"
    save_file(XMem(16).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _small_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmem_tracker, "SIDE", 48)


@pytest.fixture(scope="module")
def nano() -> Model:
    return anymask.load("nano")


def masks_of(session: Any) -> list[dict[int, np.ndarray]]:
    return [frame.masks for frame in session.propagate()]


def settings(weights: Path) -> dict[str, Any]:
    return {"tracker": "xmem", "tracker_weights": weights, "write_unsure": True}


def test_a_session_gives_the_masks_of_the_networks_own_steps(nano: Model, weights: Path) -> None:
    images = list(SCENE.images(FRAMES))
    with nano.track(images, **settings(weights)) as session:
        for number in (0, 1):
            session.add(frame=0, id=number, mask=SCENE.mask(number))
        found = masks_of(session)

    tracker = open_xmem(nano, weights)
    features = [tracker.encode_frame(one, reduce_frame(one)) for one in images]
    states = []
    for number in (0, 1):
        prompt = Prompt.of(mask=SCENE.mask(number))
        states.append(
            tracker.begin(
                features[0], TrackMoment(0), tracker.answer(features[0], prompt, None), None
            )
        )
        assert (found[0][number] == SCENE.mask(number)).all()
    for place in range(1, FRAMES):
        answers = tracker.track(features[place], TrackMoment(place), states)
        for number, answer in enumerate(answers):
            expected = rle_to_mask(answer.rle)
            assert (found[place][number] == expected).all()
        assert not (found[place][0] & found[place][1]).any(), "a pixel belongs to one object"
        states = [
            tracker.remember(features[place], TrackMoment(place), state, answer, sure=True)
            for state, answer in zip(states, answers, strict=True)
        ]
    assert [state.last for state in states] == [5, 5]


def test_a_saved_session_continues_with_its_memories(
    nano: Model, weights: Path, tmp_path: Path
) -> None:
    images = list(SCENE.images(FRAMES))
    with nano.track(images, **settings(weights)) as session:
        session.add(frame=0, mask=SCENE.mask(0))
        whole = masks_of(session)
    path = tmp_path / "clip.session"
    for stop in (0, 6, None):  # before the first frame is encoded, after the second memory
        with nano.track(images, session=path, **settings(weights)) as session:
            if not session.objects:
                session.add(frame=0, mask=SCENE.mask(0))
            list(session.propagate(stop=stop))
            assert session.tracker_id.startswith(f"xmem:nano:{nano.runtime.weights_hash[:16]}:")
    with nano.track(images, session=path, **settings(weights)) as session:
        for before, now in zip(whole, masks_of(session), strict=True):
            assert (before[1] == now[1]).all()
    with pytest.raises(InputError, match="xmem"):
        nano.track(images, session=path, tracker="match")


def test_any_prompt_of_the_image_model_begins_an_object_and_corrects_it(
    nano: Model, weights: Path
) -> None:
    images = list(SCENE.images(4))
    y, x = np.argwhere(SCENE.mask(1)).mean(0)
    image_model = nano.segment(images[0], points=[(x, y)])
    with nano.track(images, **settings(weights)) as session:
        first = session.add(frame=0, points=[(x, y)])
        assert (first.mask == image_model.mask).all()
        list(session.propagate())
        session.add(frame=2, mask=SCENE.mask(2, 2))
        assert (session.result(2).masks[1] == SCENE.mask(2, 2)).all()
        list(session.propagate())
        state = session.state_of(1, backward=False)
        assert isinstance(state, ObjectMemory)
        assert [one.number for one in state.prompted] == [0, 2]
        backward = list(session.propagate("backward"))
        assert [frame.index for frame in backward] == [2, 1, 0]


def test_the_command_tracks_and_writes(weights: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    for number, image in enumerate(SCENE.images(3)):
        Image.fromarray(image).save(clip / f"{number:05d}.png")
    y, x = np.argwhere(SCENE.mask(0)).mean(0)
    code = main([
        "track", str(clip), "--point", f"{x:.0f},{y:.0f}", "--tracker", "xmem",
        "--tracker-weights", str(weights), "-o", str(tmp_path / "masks.jsonl"),
    ])  # fmt: skip
    assert code == 0
    assert len((tmp_path / "masks.jsonl").read_text().splitlines()) >= 3


def test_missing_weights_name_the_command(
    nano: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="anymask models get xmem"):
        nano.track(list(SCENE.images(2)), tracker="xmem")
    with pytest.raises(WeightsError, match="not found"):
        nano.track(None, tracker="xmem", tracker_weights=tmp_path / "none.pth")


def test_weights_of_another_network_are_refused(
    nano: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoints, "_whose", lambda got: None)  # builds every known network
    path = tmp_path / "other.safetensors"
    save_file({"key_encoder.conv1.weight": torch.zeros(16, 3, 7, 7)}, path)
    with pytest.raises(WeightsError, match="do not fit xmem"):
        nano.track(None, tracker="xmem", tracker_weights=path)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tracker": "match", "tracker_weights": "XMem.pth"}, "tracker_weights"),
        ({"tracker": "xmem", "refine_edges": True}, "refine_edges"),
        ({"tracker": "xmem", "pool_memory": 2}, "pool_memory"),
    ],
)
def test_settings_of_other_trackers_are_refused(
    nano: Model, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        nano.track(None, **given)


def test_the_tracker_is_no_image_model() -> None:
    with pytest.raises(ModelError, match="--tracker xmem"):
        anymask.load("xmem")


def test_the_named_image_model_answers_the_prompts(weights: Path) -> None:
    small = anymask.load("small")
    with small.track(None, **settings(weights)) as session:
        assert session.tracker_id.startswith("xmem:small:")


@pytest.mark.parametrize("hw", [(48, 80), (100, 37), (31, 31), (480, 854)])
def test_a_frame_returns_from_its_area(hw: tuple[int, int]) -> None:
    area = InputArea.of(hw, 48)
    assert min(area.size) == 48
    assert all(side % 16 == 0 for side in area.padded)
    rows, columns = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    plane = rows / hw[0] + columns / hw[1]
    off = np.abs(area.take(area.fill(plane)) - plane)
    assert off.mean() < 0.01
    assert area.fill(plane[..., None].repeat(3, 2)).shape == (*area.padded, 3)


# Memories.


def made_cells(count: int, seed: int = 0) -> MemoryCells:
    torch.manual_seed(seed)
    keys, values = torch.randn(8, count), torch.randn(5, count)
    return MemoryCells.new(keys, 1 + torch.rand(1, count), torch.rand(8, count), values)


def test_reading_is_a_softmax_over_the_nearest_cells() -> None:
    cells, queries = made_cells(50), made_cells(7, seed=1)
    reading = read_cells(cells, queries.keys, queries.selection, 4)
    found = reading.of(cells.values)
    for place in range(7):
        apart = (cells.keys - queries.keys[:, place, None]).square()
        alike = -(queries.selection[:, place, None] * apart).sum(0)
        alike = alike * cells.shrinkage[0] / 8**0.5
        best = alike.topk(4)
        weights = best.values.softmax(0)
        expected = (cells.values[:, best.indices] * weights).sum(1)
        torch.testing.assert_close(found[:, place], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reading.usage.sum(), torch.tensor(7.0))


def test_prototypes_are_the_most_used_cells() -> None:
    cells = made_cells(20)
    usage = torch.zeros(20)
    usage[[3, 11]] = torch.tensor([2.0, 1.0])
    found = prototypes(cells.read(usage), 2)
    torch.testing.assert_close(found.keys, cells.keys[:, [3, 11]])
    assert (found.used == 0).all()
    lone = prototypes(cells.at(slice(1)), 2)
    torch.testing.assert_close(lone.values, cells.values[:, :1])


def test_the_memory_is_bounded_and_keeps_the_first_frame() -> None:
    torch.manual_seed(0)
    limits = XMemSettings(every=1, most_frames=4, kept_frames=2, prototypes=4, most_cells=14)
    steps = XMemSteps(XMem(16).eval(), limits)
    frames = [
        steps.encode_frame(np.random.default_rng(n).random((3, 32, 48), np.float32))
        for n in range(12)
    ]
    mask = np.zeros((32, 48), np.float32)
    mask[8:24, 8:24] = 1
    memory, cells = steps.begin(frames[0], 0, mask, None), 2 * 3
    for number, frame in enumerate(frames[1:], 1):
        (answer,) = steps.step(frame, [memory])
        memory = steps.remember(frame, number, answer, add=True)
        assert memory.work is not None
        assert len(memory.work) < limits.most_frames * cells
        torch.testing.assert_close(memory.work.keys[:, :cells], frames[0].keys)
        assert memory.long is None or len(memory.long) <= limits.most_cells
    assert memory.long is not None
    assert memory.history
