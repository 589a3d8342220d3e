"""Stored traces give the graphs that torch would trace, with the weights of today."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from anymask import models
from anymask.models.class_head import add_class_head
from anymask.models.fast import fuse
from anymask.models.nano import Nano
from anymask.models.rules import BUNDLED_MODELS
from anymask.training import export_graphs
from anymask.training.export_graphs import example_prompts, export_bundle


def randomize(module: nn.Module) -> None:
    """Change each weight, so that no constant of the trace can stand for one."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn_like(parameter)
            parameter.mul_(1 + 0.1 * noise).add_(0.01 * noise.flip(0))


def off(ours: np.ndarray, theirs: torch.Tensor) -> float:
    return float(np.abs(ours - theirs.numpy()).max() / np.abs(ours).max())


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("torch traced a network that has a stored trace")


@pytest.mark.parametrize("name", BUNDLED_MODELS)
@torch.no_grad()
def test_a_bundled_model_is_exported_without_tracing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch is the oracle, for new weights, three image shapes and three numbers of prompts."""
    monkeypatch.setattr(torch.onnx, "export", refuse)
    torch.manual_seed(0)
    module = models.build(name)
    assert isinstance(module, Nano)
    randomize(module)
    spec, side = module.spec, module.spec.image_side
    export_bundle(module, spec, tmp_path / "bundle", licence="", weights_hash="0" * 64)
    eager = fuse(module)
    encoder, decoder = (
        ort.InferenceSession(tmp_path / "bundle" / f"{graph}.onnx")
        for graph in ("encoder", "decoder")
    )
    for shape in ((side, side), (side - 64, side), (side, side - 96)):
        images = torch.randn(1, 3, *shape)
        maps = encoder.run(None, {"images": images.numpy()})
        for ours, theirs in zip(maps, eager.encode(images), strict=True):
            assert off(ours, theirs) < 1e-5
    for prompts, points in ((1, 1), (3, 4), (2, 2)):
        coords, labels, masks, has_mask = example_prompts(spec, prompts, points)
        labels[-1, -1], masks, has_mask = 0, torch.randn_like(masks), has_mask + 1
        given = (*map(torch.from_numpy, maps), coords, labels, masks, has_mask)
        names = [one.name for one in decoder.get_inputs()]
        answer = decoder.run(None, {k: v.numpy() for k, v in zip(names, given, strict=True)})
        expected = eager.decode(given[:-4], *given[-4:])
        for ours, theirs in zip(answer, expected, strict=True):
            assert off(ours, theirs) < 1e-5


def test_only_the_class_graph_of_a_tuned_model_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, trace = [], torch.onnx.export
    monkeypatch.setattr(
        torch.onnx, "export", lambda graph, *a, **k: traced.append(graph) or trace(graph, *a, **k)
    )
    module = models.build("nano")
    add_class_head(module, 2)
    export_bundle(module, module.spec, tmp_path / "bundle", licence="", weights_hash="0" * 64)
    assert [type(one) for one in traced] == [export_graphs.ClassGraph]
