"""Graph files: an ONNX file in, one with fused operators, or with 8-bit or 16-bit weights, out.

Optimised once here, a graph opens in half the time and the browser, which optimises little, gets
the fused operators too. The level is ONNX Runtime's "extended": its fusions are ordinary operators
of every build of ONNX Runtime. The next level would bake the blocked layout of this machine's
processor into the file; ONNX Runtime does that anew wherever the graph is opened.

Weights in 16 bits are the same graph in half the bytes: a `Cast` brings each back to float32, which
ONNX Runtime folds away when it opens the graph. Exact where the weights were rounded to float16
before (`round_to_half`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from anymask.runtime import DISABLED_OPTIMISERS

BIG = 1_500_000_000  # bytes; larger weights lie beside the graph, as protobuf ends at 2 GB
SMALLEST = 256  # numbers; what is smaller is not stored in 16 bits
LARGEST = 65504.0  # of float16


def optimise(source: Path, target: Path, *, level: str = "extended") -> None:
    """Write `source` to `target` with constants folded and operators fused.

    level  "extended", or "basic": only what is standard ONNX, for tools that read the graph
    """
    levels = {
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    }
    options = ort.SessionOptions()
    options.graph_optimization_level = levels[level]
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    if weight_bytes(source) > BIG:
        entry = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{entry}file_name", f"{target.name}.data")
        options.add_session_config_entry(f"{entry}min_size_in_bytes", "1024")
    ort.InferenceSession(
        str(source),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMISERS),
    )
    _drop_unused_domains(target)


def quantise(source: Path, target: Path) -> None:
    """Write `source` to `target` with the weights of its matrix products in 8 bits.

    Activations are measured at run time ("dynamic"), so no photos are needed. Convolutions stay
    in float32: ONNX Runtime's integer convolution is slower than its float one on a CPU.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        standard = Path(scratch) / source.name
        optimise(source, standard, level="basic")
        quantize_dynamic(
            standard,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=weight_bytes(standard) > BIG,
            extra_options={"MatMulConstBOnly": True},
        )


def round_to_half(module: nn.Module) -> None:
    """Round every float weight to what float16 can hold, in place; the type stays float32."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.half().to(tensor.dtype)


def store_half(path: Path) -> None:
    """Rewrite a graph file with its float32 weights in float16 behind a `Cast` each."""
    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < SMALLEST or np.abs(values).max() > LARGEST:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    path.write_bytes(model.SerializeToString())


def weight_bytes(path: Path) -> int:
    """The bytes of a graph file and of the weights beside it."""
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


def _drop_unused_domains(path: Path) -> None:
    """ONNX Runtime declares every operator set it knows; a reader may refuse a strange one."""
    model = onnx.load(path, load_external_data=False)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    path.write_bytes(model.SerializeToString())
