"""Traced graphs of the bundled models, without weights.

`torch.onnx.export` takes 40 to 70 s to trace `nano` or `small` on two cores, although fine-tuning
changes only their weights. The package therefore contains what torch traced
(`python -m research.write_traces`), and an export of the same network fills in its weights in less
than a second. Weights are inputs of the stored graphs, so that they are never folded into
constants; each has the name of its tensor in the module. A network that differs in anything but
weights is traced by torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from torch import Tensor, nn

from anymask.masks import ModelSpec
from anymask.runtime.manifest import ASSETS

TRACES = ASSETS / "traces"


def fill_trace(
    graph: nn.Module,
    inputs: Sequence[Tensor],
    options: Mapping[str, Any],
    target: Path,
    traces: Path = TRACES,
) -> bool:
    """Write the stored trace of a network with its weights, instead of `torch.onnx.export`.

    Args:
        graph: The network.
        inputs: Example inputs.
        options: Keyword arguments of `torch.onnx.export`.
        target: ONNX file to write.
        traces: Folder of stored traces.

    Returns:
        Whether there is a trace of this network; nothing is written otherwise.
    """
    path = traces / f"{signature(graph, inputs, options)}.onnx"
    if not path.is_file():
        return False
    model = onnx.load(path)
    tensors, given = tensors_of(graph), list(model.graph.input)
    del model.graph.input[:]
    for one in given:
        if one.name in options["input_names"]:
            model.graph.input.append(one)
        else:
            values = tensors[one.name].detach().numpy()
            model.graph.initializer.append(numpy_helper.from_array(values, one.name))
    target.write_bytes(model.SerializeToString())
    return True


def signature(graph: nn.Module, inputs: Sequence[Tensor], options: Mapping[str, Any]) -> str:
    """Hash of everything that decides a trace: modules, settings and shapes, but not weights."""
    digest = hashlib.sha256(repr([[(x.shape, x.dtype) for x in inputs], options]).encode())
    for name, module in graph.named_modules():
        plain = {k: _general(v) for k, v in vars(module).items() if not k.startswith("_")}
        digest.update(repr((name, type(module), module.extra_repr(), plain)).encode())
    for name, tensor in tensors_of(graph).items():
        digest.update(repr((name, tensor.shape, tensor.dtype)).encode())
    return digest.hexdigest()[:16]


def tensors_of(graph: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, buffers outside `state_dict` included."""
    return dict(chain(graph.named_parameters(), graph.named_buffers()))


def _general(value: Any) -> Any:
    """A spec without what no graph contains."""
    if isinstance(value, ModelSpec):
        return replace(value, name="", channels=None, classes=())
    return value
