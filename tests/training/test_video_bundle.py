"""A video model as a folder of graphs: a whole video without torch gives torch's masks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import WeightsError
from anymask.models.variants import TINY_EDGE, TINY_VIDEO, VideoVariant
from anymask.models.video_model import VideoModel
from anymask.runtime import (
    GraphNames,
    OnnxRuntime,
    TorchRuntime,
    VideoOutput,
    VideoRuntime,
    read_manifest,
)
from anymask.runtime.onnx_video import OnnxVideo, read_constants, to_bfloat16
from anymask.runtime.torch import map_names
from anymask.training.export_graphs import (
    AttentionGraph,
    TrackDecoderGraph,
    TrackMemoryGraph,
    add_video_graphs,
    video_constants,
)
from tests.runtime import exports
from tests.track.clips import moving_discs

IMAGES, _ = moving_discs(6)
LOGIT_ERROR = 2e-3  # of the largest: memories are kept in 16 bits, which doubles a last bit's flip


@pytest.fixture(scope="module")
def network() -> VideoModel:
    module = exports.network("video")
    assert isinstance(module, VideoModel)
    return module


@pytest.fixture(scope="module")
def bundle(network: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / network.spec.name
    shutil.copytree(exports.exported("video", tmp_path_factory), folder)
    add_video_graphs(network, folder)
    return folder


def steps_of(runtime: TorchRuntime | OnnxRuntime) -> VideoRuntime:
    steps = runtime.video
    assert steps is not None
    return steps


def steps_of_frame(
    steps: VideoRuntime, image: np.ndarray, number: int, banks: list[object]
) -> tuple[list[VideoOutput], list[object]]:
    """Two objects: on frame 0 by a point and by a mask; on frame 4 the first one is corrected."""
    frame, prompted = steps.encode_frame(image), [False, False]
    if number == 0:
        mask = np.zeros(image.shape[1:], np.float32)
        mask[10:40, 20:50] = 1
        point = np.array([[30.0, 20.0]], np.float32)
        answers = [
            steps.answer_points(frame, point, np.array([1]), None), steps.answer_mask(frame, mask)
        ]  # fmt: skip
        handles, prompted = [answer.handles[0] for answer in answers], [True, True]
    elif number == 4:
        coords = np.array([[5.0, 9.0], [50.0, 60.0]], np.float32)
        earlier = np.full((image.shape[1] // 4,) * 2, 40, np.float32)
        found = steps.answer_points(frame, coords, np.array([1, 0]), earlier)
        answers = [found, steps.step_video(frame, banks[1:], number, False)]
        handles, prompted = [answer.handles[0] for answer in answers], [True, False]
    else:
        answers = [steps.step_video(frame, banks, number, False)]
        handles = list(answers[0].handles)
    rows = zip(banks, handles, prompted, strict=True)
    return answers, [steps.remember(frame, b, h, (number, False), said) for b, h, said in rows]


def assert_alike(sides: list[VideoRuntime], side: int) -> None:
    """Seven frames of both, step by step, and the banks in the end."""
    chance = np.random.default_rng(0)
    banks: list[list[object]] = [[None, None], [None, None]]
    for number in range(7):
        image, told = chance.standard_normal((3, side, side)).astype(np.float32), []
        for place, steps in enumerate(sides):
            answers, banks[place] = steps_of_frame(steps, image, number, banks[place])
            told.append(answers)
        for one, other in zip(*told, strict=True):
            largest = np.abs(one.logits).max()
            assert np.abs(one.logits - other.logits).max() <= LOGIT_ERROR * largest, number
            np.testing.assert_allclose(one.quality, other.quality, atol=2e-3)
            np.testing.assert_allclose(one.score, other.score, atol=2e-2)
    for mine, theirs in zip(banks[1], banks[0], strict=True):
        kept = sides[1].bank_to_arrays(mine)
        assert set(kept) == set(sides[0].bank_to_arrays(theirs))
        again = sides[1].bank_to_arrays(sides[1].arrays_to_bank(kept))
        assert all(np.array_equal(kept[name], again[name]) for name in kept)


@pytest.mark.parametrize("variant", [TINY_VIDEO, TINY_EDGE], ids=lambda one: one.spec.name)
def test_what_lies_between_the_graphs_is_what_the_model_does(
    variant: VideoVariant, tmp_path: Path
) -> None:
    """The runner in numpy with torch's own modules in the place of the graphs."""
    module = exports.random_network(variant)
    with (tmp_path / "video.npz").open("wb") as file:
        np.savez(file, **video_constants(module))
    graphs = {
        GraphNames.ATTENTION: AttentionGraph(module),
        GraphNames.TRACK_DECODER: TrackDecoderGraph(module),
        GraphNames.TRACK_MEMORY: TrackMemoryGraph(module),
    }

    @torch.no_grad()
    def run(name: str, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found = graphs[name](*(torch.from_numpy(np.array(one)) for one in given.values()))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

    @torch.no_grad()
    def see(image: np.ndarray) -> dict[str, np.ndarray]:
        maps = module.encode(torch.from_numpy(image[None]))
        return {name: one.numpy() for name, one in zip(map_names(len(maps)), maps, strict=True)}

    plain = OnnxVideo(see, run, read_constants(tmp_path / "video.npz"))
    sides = [steps_of(TorchRuntime(module, "f" * 64, device="cpu")), plain]
    assert_alike(sides, module.spec.image_side)


def test_every_graph_does_what_its_module_does(network: VideoModel, bundle: Path) -> None:
    sides = [steps_of(TorchRuntime(network, "f" * 64, device="cpu")), steps_of(OnnxRuntime(bundle))]
    assert_alike(sides, network.spec.image_side)


def test_a_video_is_followed_where_torch_cannot_be_imported(bundle: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, anymask\n"
        "model = anymask.load(sys.argv[1])\n"
        "frames = [np.full((60, 80, 3), 40 * n, np.uint8) for n in range(4)]\n"
        "with model.track(frames, tracker='memory') as session:\n"
        "    session.add(frame=0, points=[(30, 30)])\n"
        "    print(len(list(session)))\n"
    )
    paths = os.pathsep.join(sys.path)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(bundle)],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.strip()) == (0, "4"), ran.stderr


def test_the_bundle_says_what_it_holds(bundle: Path) -> None:
    names = {f"video_{part}.onnx" for part in ("attention", "decoder", "memory")}
    names |= {f"sweep_{part}.onnx" for part in ("image", "clicks", "masks", "prompt")}
    assert names | {"video.npz", "encoder.onnx", "decoder.onnx"} == set(
        read_manifest(bundle).sha256
    )
    readme = (bundle / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in names)
    assert "| in | tokens | float32 | (N, K, 64) |" in readme


def test_damaged_constants_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "video.npz"
    np.savez(path, settings=np.zeros(3, np.uint8))
    with pytest.raises(WeightsError, match=r"video\.npz is corrupted. Export the model again"):
        read_constants(path)


def test_sixteen_bits_are_torchs() -> None:
    values = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    values[:4] = (0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8)  # the last two are ties
    expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(to_bfloat16(values), expected)
