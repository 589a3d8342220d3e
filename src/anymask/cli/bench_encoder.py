"""Benchmark of an encoder: a model in, its times in ONNX Runtime and in torch, in turns, out.

The numbers must agree as well: a fast wrong encoder is not a faster one. Without a checkpoint the
weights are random (seed 0); an encoder's speed does not depend on them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anymask.primitives.errors import ModelError, WeightsError
from anymask.primitives.timing import Measurement, TimedCall, time_in_turns
from anymask.primitives.types import Seen

if TYPE_CHECKING:
    from torch import nn

WARM_UP = 1


def encoder_figures(
    name: str, weights: str | None, threads: int, rounds: int
) -> tuple[list[Measurement], list[str]]:
    """Medians of both, how many times faster ONNX Runtime is, and the largest relative error.

    Raises ModelError for an unknown name, MissingExtra without torch.
    """
    with torch_threads(threads):
        module, origin = open_module(name, weights)
        with tempfile.TemporaryDirectory() as folder:
            figures = _compare(module, Path(folder) / "bundle", threads, rounds)
    return figures, [f"{name}, {origin}, {threads} threads, one picture, fp32"]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of torch while something is measured. Raises MissingExtra without torch."""
    from anymask.runtimes.devices import import_torch

    torch = import_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_module(name: str, weights: str | None) -> tuple[nn.Module, str]:
    """The model with its checkpoint, or with random weights; and which of them it is."""
    import torch

    from anymask import models
    from anymask.runtimes.open import load_module

    try:
        module, weights_hash = load_module(name, weights)
        return module, f"weights {weights_hash[:12]}"
    except (ModelError, WeightsError):
        if weights is not None or name not in models.names():
            raise
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build(name).eval(), "random weights"


def _compare(module: nn.Module, folder: Path, threads: int, rounds: int) -> list[Measurement]:
    from anymask.export.graphs import export_bundle
    from anymask.runtimes.onnx import OnnxRuntime
    from anymask.runtimes.torch import TorchRuntime

    eager = TorchRuntime(module, device="cpu")
    spec = eager.spec
    export_bundle(module, spec, folder, licence="not for use", weights_hash="")
    onnx = OnnxRuntime(folder, threads=threads, device="cpu")
    shape = (1, 3, spec.image_side, spec.image_side)
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    error = _error(onnx.see(images)[0], eager.see(images)[0])
    tasks = [
        TimedCall("torch", lambda: eager.see(images)),
        TimedCall("onnx", lambda: onnx.see(images)),
    ]
    slow, fast = time_in_turns(tasks, rounds, WARM_UP)
    return [
        Measurement("encoder", "torch eager", slow.median, "s", slow.seconds),
        Measurement("encoder", "onnx", fast.median, "s", fast.seconds),
        Measurement("times as fast as torch", "onnx", slow.median / fast.median, "x"),
        Measurement("largest error / largest value", "onnx", error, ""),
    ]


def _error(got: Seen, wanted: Seen) -> float:
    """The largest difference over the largest value, of the worst map."""
    return max(
        float(np.abs(a.values - b.values).max() / max(np.abs(b.values).max(), 1e-12))
        for a, b in zip(got.maps(), wanted.maps(), strict=True)
    )
