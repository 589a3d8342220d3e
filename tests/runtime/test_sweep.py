"""Sweeps of runtimes: their own, or one that decodes everything."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.masks import Geometry, ModelPrompts
from anymask.models.variants import TINY, TINY_HQ, Variant
from anymask.runtime import GraphNames, OnnxRuntime, TorchRuntime, open_sweep, read_manifest
from anymask.runtime.manifest import MANIFEST, manifest_to_json
from anymask.runtime.onnx import PROMPT_INPUTS, OnnxSweep
from anymask.runtime.protocol import DecodingSweep
from anymask.runtime.torch import TorchSweep
from tests.runtime.exports import exported

N = 3
GEOMETRY = Geometry((64, 64), (64, 64), 64)  # a photo that fills the model's input


def prompts(side: int) -> ModelPrompts:
    coords = np.random.default_rng(0).uniform(0, 64, (N, 2, 2)).astype(np.float32)
    labels = np.tile([1, -1], (N, 1))
    return ModelPrompts(coords, labels, np.zeros((N, 1, side, side), np.float32), np.zeros(N, "f4"))


@pytest.mark.parametrize(("variant", "kind"), [(TINY, TorchSweep), (TINY_HQ, DecodingSweep)])
def test_a_sweep_answers_as_decoding_and_choosing_do(variant: Variant, kind: type) -> None:
    torch.manual_seed(0)
    runtime = TorchRuntime(variant.build(), device="cpu")
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    features = runtime.encode_images(images)[0]
    sweep = open_sweep(runtime, features, GEOMETRY)
    assert isinstance(sweep, kind)
    assert sweep.bytes_per_prompt > 0
    logits, quality = runtime.family.candidates(*runtime.decode(features, prompts(32)))
    asked = sweep.decode(prompts(32))
    np.testing.assert_allclose(asked.quality, quality, rtol=0, atol=1e-5)
    chosen = np.random.default_rng(2).uniform(size=quality.shape) < 0.6
    drawn = list(asked.logits(chosen))
    assert len(drawn) == chosen.sum() > 0
    np.testing.assert_allclose(np.stack(drawn), logits[chosen], rtol=0, atol=1e-4)
    assert list(asked.logits(np.zeros_like(chosen))) == []


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_answers_alike_and_torch_keeps_its_own(threads: int) -> None:
    torch.manual_seed(0)
    runtime = TorchRuntime(TINY.build(), device="cpu")
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    features = runtime.encode_images(images)[0]
    _, quality = runtime.family.candidates(*runtime.decode(features, prompts(32)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sweep = open_sweep(runtime, features, GEOMETRY)
        for _ in range(2):
            np.testing.assert_allclose(
                sweep.decode(prompts(32)).quality, quality, rtol=0, atol=1e-5
            )
        assert torch.get_num_threads() == threads
        assert isinstance(sweep, TorchSweep)
        assert sweep._pool.submit(torch.get_num_threads).result() == 1  # each computes alone
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["tiny", "video"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_graphs_of_a_bundle_answer_as_decoding_and_choosing_do(
    name: str, threads: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runtime = OnnxRuntime(exported(name, tmp_path_factory), threads=threads, device="cpu")
    side, m = runtime.spec.image_side, runtime.spec.mask_side
    images = np.random.default_rng(1).standard_normal((1, 3, side, side)).astype(np.float32)
    features = runtime.encode_images(images)[0]
    rows, columns = side - 24, side - 8
    sweep = open_sweep(runtime, features, Geometry((rows, columns), (rows, columns), side))
    assert isinstance(sweep, OnnxSweep)
    assert sweep.bytes_per_prompt > 0
    for points in (2, 3):  # what the graphs are for, and what is decoded
        count, rng = 6, np.random.default_rng(points)
        given = ModelPrompts(
            rng.uniform(0, side, (count, points, 2)).astype(np.float32),
            np.tile([1, -1, 0][:points], (count, 1)),
            np.zeros((count, 1, m, m), np.float32),
            np.zeros(count, np.float32),
        )
        logits, quality = runtime.family.candidates(*runtime.decode(features, given))
        asked = sweep.decode(given)
        np.testing.assert_allclose(asked.quality, quality, rtol=0, atol=1e-4)
        chosen = rng.uniform(size=quality.shape) < 0.6
        drawn = np.stack(list(asked.logits(chosen)))
        used = slice(rows * m // side), slice(columns * m // side)
        bound = 1e-4 * np.abs(logits).max()
        np.testing.assert_allclose(drawn[:, *used], logits[chosen][:, *used], rtol=0, atol=bound)
        assert list(asked.logits(np.zeros_like(chosen))) == []


@pytest.mark.parametrize("name", ["tiny", "video"])
def test_prompts_without_masks_are_decoded_as_the_decoder_does(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = OnnxRuntime(exported(name, tmp_path_factory), threads=2, device="cpu")
    side, m = runtime.spec.image_side, runtime.spec.mask_side
    rng, graphs = np.random.default_rng(1), []
    images = rng.standard_normal((3, 3, side, side)).astype(np.float32)
    features = runtime.encode_images(images)
    run = OnnxRuntime.run_named
    monkeypatch.setattr(
        OnnxRuntime, "run_named", lambda self, *given: graphs.append(given[0]) or run(self, *given)
    )
    for image, count, points in ((0, 1, 1), (0, 6, 2), (1, 3, 5), (0, 1, 3), (2, 1, 1), (0, 1, 1)):
        given = ModelPrompts(
            rng.uniform(0, side, (count, points, 2)).astype(np.float32),
            rng.choice([0, 1], (count, points)),
            np.zeros((count, 1, m, m), np.float32),
            np.zeros(count, np.float32),
        )
        inputs = {one: getattr(given, one) for one in PROMPT_INPUTS}
        expected = runtime.run_named(
            GraphNames.DECODER, runtime.maps_for(GraphNames.DECODER, features[image]) | inputs
        )
        for got, want in zip(runtime.decode(features[image], given), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    assert graphs.count(GraphNames.SWEEP_IMAGE) == 4  # image 0 again after two others
    graphs.clear()
    (alone,) = runtime.encode_images(images[:1])
    assert graphs == [GraphNames.ENCODER, GraphNames.SWEEP_IMAGE]
    runtime.decode(alone, given)
    assert graphs[2:] == [GraphNames.SWEEP_PROMPT]  # the first click of an image is as the next
    OnnxSweep(runtime, alone, Geometry((side, side), (side, side), side))
    assert graphs.count(GraphNames.SWEEP_IMAGE) == 1  # a sweep takes the work from there, too
    masked = replace(given, masks=given.masks + 1, has_mask=given.has_mask + 1)
    graphs.clear()
    runtime.decode(features[0], masked)
    assert graphs == [GraphNames.DECODER]


def test_a_bundle_of_an_earlier_version_decodes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(exported("tiny", tmp_path_factory), folder)
    manifest = read_manifest(folder)
    graphs = tuple(one for one in manifest.graphs if not one.name.startswith("sweep"))
    assert len(graphs) == len(manifest.graphs) - 4
    (folder / MANIFEST).write_text(manifest_to_json(replace(manifest, graphs=graphs)))
    runtime = OnnxRuntime(folder, device="cpu")
    assert not runtime.manifest.has_graph(GraphNames.SWEEP_CLICKS)
    features = runtime.encode_images(np.zeros((1, 3, 64, 64), np.float32))[0]
    assert isinstance(open_sweep(runtime, features, GEOMETRY), DecodingSweep)
