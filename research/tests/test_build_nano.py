"""The graphs of `nano` in the package, made of weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anymask
from anymask import models
from anymask.runtime import ASSETS, load_official, read_checkpoint, read_manifest
from anymask.runtime.manifest import GRAPH_WEIGHTS
from anymask.runtime.torch import TorchRuntime
from research.nano.build import build


@pytest.mark.slow
def test_graphs_index_and_manifest_are_of_the_weights(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ASSETS / "nano", tmp_path / "nano"))
    shipped = read_checkpoint(ASSETS / "nano" / GRAPH_WEIGHTS)
    noise = torch.Generator().manual_seed(3)
    other = {
        name: one * (1 + 0.02 * torch.randn(one.shape, generator=noise))
        for name, one in shipped.items()
    }
    save_file(other | {"task_head.bias": torch.ones(2)}, tmp_path / "w.safetensors")
    build(folder, tmp_path / "w.safetensors", ASSETS / "nano" / GRAPH_WEIGHTS)
    found = read_checkpoint(folder / GRAPH_WEIGHTS)
    for name, one in other.items():
        torch.testing.assert_close(found[name], (one + shipped[name]) / 2, rtol=1e-3, atol=1e-6)
    before, after = read_manifest(ASSETS / "nano"), read_manifest(folder)
    assert after.weights_hash != before.weights_hash
    assert [one.name for one in after.graphs] == [one.name for one in before.graphs]
    changed = {name for name, value in after.sha256.items() if before.sha256[name] != value}
    assert changed == {"encoder.onnx", "decoder.onnx"}
    module = models.build("nano")
    load_official(module, found)
    image = np.random.default_rng(4).integers(0, 255, (96, 128, 3), np.uint8)
    graphs, torches = (
        anymask.Model(one).segment(image, points=[(60, 40)]).logits
        for one in (anymask.load(folder).runtime, TorchRuntime(module.eval(), device="cpu"))
    )
    assert np.abs(graphs - torches).max() < 1e-3 * np.abs(torches).max()
