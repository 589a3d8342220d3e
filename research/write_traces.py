"""Traces of the bundled models for the package (`anymask.training.export_graphs`).

    python -m research.write_traces [src/anymask/assets/traces]

Run it after a change of a network's code, before its graphs are built. Weights do not matter.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx_ir
import torch
from onnxscript import optimizer
from onnxscript.rewriter import onnx_fusions
from torch import Tensor, nn

from anymask import models
from anymask.models.rules import BUNDLED_MODELS
from anymask.training import export_graphs
from anymask.training.export_graphs import TRACES, fill_trace, signature, tensors_of


def store_trace(
    graph: nn.Module, inputs: tuple[Tensor, ...], options: Mapping[str, Any], traces: Path
) -> Path:
    """Trace a network with torch and store the graph without weights.

    Weights become inputs, so that they are not folded into constants. Raises SystemExit if the
    network has a tensor without a name, whose values may depend on the weights.
    """
    program = torch.onnx.export(graph, inputs, **options, optimize=False)
    assert program is not None
    model, tensors = program.model, tensors_of(graph)
    if unknown := set(model.graph.initializers) - set(tensors):
        raise SystemExit(f"neither parameter nor buffer: {', '.join(sorted(unknown))}")
    for weight in model.graph.initializers.values():
        weight.const_value = None
        model.graph.inputs.append(weight)
    model.graph.initializers.clear()
    optimizer.optimize_ir(model)
    onnx_fusions.fuse(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # paths of this machine, among others
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    stored = onnx_ir.to_proto(model)
    del stored.graph.value_info[:]
    path = traces / f"{signature(graph, inputs, options)}.onnx"
    path.write_bytes(stored.SerializeToString(deterministic=True))
    return path


def write_traces(folder: Path, *names: str) -> None:
    """Replace the traces in a folder by those of the named models."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        old.unlink()
    trace = torch.onnx.export

    def keep(graph: nn.Module, inputs: tuple[Tensor, ...], raw: Path, **options: Any) -> None:
        with patch.object(torch.onnx, "export", trace):
            path = store_trace(graph, inputs, options, folder)
        print(path.name, path.stat().st_size, flush=True)
        assert fill_trace(graph, inputs, options, raw, folder)

    for name in names:
        with (
            tempfile.TemporaryDirectory() as stage,
            patch.object(torch.onnx, "export", keep),
            patch.object(export_graphs, "fill_trace", lambda *_: False),
        ):
            target, spec = Path(stage) / name, models.spec(name)
            export_graphs.export_bundle(
                models.build(name), spec, target, licence="", weights_hash="0" * 64
            )


if __name__ == "__main__":
    write_traces(Path(sys.argv[1]) if sys.argv[1:] else TRACES, *BUNDLED_MODELS)
