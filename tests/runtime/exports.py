"""Bundles that many tests read: exported once in a run, because torch takes seconds for each."""

import hashlib
import os
import shutil
import tempfile
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anymask import models
from anymask.base import exclusive
from anymask.models.variants import TINY_EDGE, TINY_VIDEO, VideoVariant
from anymask.models.video_model import VideoModel
from anymask.training.export_graphs import export_bundle, signature
from tests.runtime.stand_in import build

META = {"licence": "Apache-2.0", "weights_hash": "f" * 64}


# Everything in which the families differ, in one: SAM 2.1's marks and ages, EdgeTAM's perceiver.
BOTH = replace(TINY_VIDEO, config=replace(TINY_VIDEO.config, perceiver=TINY_EDGE.config.perceiver))


@cache
def network(name: str) -> nn.Module:
    """ "stand_in", "video", or a tiny model of the registry; its weights stay through a run."""
    if name == "video":
        return random_network(BOTH)
    torch.manual_seed(0)  # the same weights in each process: the traces are shared
    return build() if name == "stand_in" else models.build(name)


def random_network(variant: VideoVariant) -> VideoModel:
    """All of its weights count."""
    torch.manual_seed(0)
    module = variant.build()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.05)
    return module


@cache
def read_operators_once() -> None:
    """For each graph torch reads the source of its five hundred operators: a second.

    Each export has a copy, because a translation table of one graph changes its operators.
    """
    from torch.onnx._internal.exporter import _registration

    registry = _registration.ONNXRegistry
    once = cache(registry.from_torchlib)

    def copied(**options: int) -> _registration.ONNXRegistry:
        found = copy(once(**options))
        found.functions = {target: list(known) for target, known in found.functions.items()}
        return found

    registry.from_torchlib = staticmethod(copied)  # type: ignore[assignment, method-assign]


def exported(name: str, factory: pytest.TempPathFactory) -> Path:
    """The bundle of `network(name)`; copy it before you break it."""
    folder = factory.getbasetemp() / "bundles" / name
    if not folder.exists():
        module = network(name)
        with pytest.MonkeyPatch.context() as patch:
            export_once(patch, factory)
            export_bundle(module, module.spec, folder, **META)
    return folder


def export_once(monkeypatch: pytest.MonkeyPatch, factory: pytest.TempPathFactory) -> None:
    """Let torch trace a network only once in a run; the same network again is a copy of the file.

    What anymask does before and after `torch.onnx.export` happens every time. The environment
    variable names a folder that several runs share; a run that requires a network that another run
    is tracing waits for it.
    """
    read_operators_once()
    kept = Path(os.environ.get("ANYMASK_TEST_TRACES") or factory.getbasetemp() / "traced")
    kept.mkdir(exist_ok=True)
    export = getattr(torch.onnx.export, "exporting", torch.onnx.export)

    def once(
        graph: nn.Module, inputs: tuple[Tensor, ...], target: Path | None = None, **options: Any
    ) -> Any:
        nested = any(not isinstance(one, Tensor) for one in inputs)
        if target is None or nested or options.get("external_data"):
            return export(graph, inputs, target, **options)
        file = kept / _digest(graph, inputs, options)
        with exclusive(file.with_suffix(".lock")):
            if not file.exists():
                _ = export(graph, inputs, target, **options)
                with tempfile.NamedTemporaryFile(dir=kept, delete=False) as whole:
                    shutil.copy2(target, whole.name)
                Path(whole.name).replace(file)
        return shutil.copy2(file, target)

    once.exporting = export  # type: ignore[attr-defined]  # the original, for a second patch
    monkeypatch.setattr(torch.onnx, "export", once)


def _digest(graph: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> str:
    """Of everything that decides what torch writes, within one process."""
    digest = hashlib.sha256(signature(graph, inputs, options).encode())
    for name, tensor in graph.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
