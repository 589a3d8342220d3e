"""16-bit storage of weights: an ONNX graph in, one of half the size and the same operators out.

A `Cast` brings each weight back to float32; ONNX Runtime folds it away when the graph is opened, so
that nothing is slower. Exact where the weights were rounded to float16 before (`round_to_half`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

SMALLEST = 256  # numbers; what is smaller stays as it is
LARGEST = 65504.0  # of float16


def round_to_half(module: nn.Module) -> None:
    """Round every float weight to what float16 can hold, in place; the type stays float32."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.half().to(tensor.dtype)


def store_half(path: Path) -> None:
    """Rewrite a graph file with its float32 weights in float16 behind a `Cast` each."""
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < SMALLEST or np.abs(values).max() > LARGEST:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    path.write_bytes(model.SerializeToString())
