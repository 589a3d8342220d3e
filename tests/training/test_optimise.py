"""Weights in 16 bits: half the bytes, and not one number changed once they were rounded."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn

from anymask.training.export_graphs import SMALLEST_HALF, round_to_half, store_half


def graph(path: Path, weight: np.ndarray) -> Path:
    """y = x @ weight."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    rows, columns = weight.shape
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", rows])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", columns])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(body, opset_imports=opset, ir_version=8), path)
    return path


def answer(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_rounded_weights_answer_the_same_from_half_the_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 48)).astype(np.float16).astype(np.float32)
    path, x = graph(tmp_path / "g.onnx", weight), rng.standard_normal((3, 64)).astype(np.float32)
    before, size = answer(path, x), path.stat().st_size
    store_half(path)
    assert path.stat().st_size < 0.55 * size
    np.testing.assert_array_equal(answer(path, x), before)


def test_what_is_small_or_too_large_for_16_bits_stays_as_it_is(tmp_path: Path) -> None:
    for name, weight in {
        "small": np.ones((4, SMALLEST_HALF // 4 - 1), np.float32),
        "large": np.full((32, 32), 1e5, np.float32),
    }.items():
        path = graph(tmp_path / name, weight)
        store_half(path)
        kept = onnx.load(path).graph.initializer[0]
        assert kept.data_type == onnx.TensorProto.FLOAT


def test_rounding_keeps_the_type_and_reaches_weights_and_buffers() -> None:
    module = nn.BatchNorm1d(3)
    module.weight.data = torch.tensor([1 / 3, 2.0, 70.0])
    module.running_mean = torch.tensor([1e-3, 0.1, 5.0])
    round_to_half(module)
    for tensor in (module.weight, module.running_mean):
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensor.half().float())
    assert module.weight[0] != 1 / 3
