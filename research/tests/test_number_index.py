"""Where a network's numbers lie in its graphs."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anymask.runtime.checkpoints import as_stored
from anymask.runtime.manifest import GRAPH_WEIGHTS
from research.nano.number_index import write_index


def graph(path: Path, held: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A file with these initialisers, and an operator that uses none of them."""
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    into = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    inside = [numpy_helper.from_array(value, name) for name, value in held.items()]
    model = helper.make_model(helper.make_graph([node], "g", [into], [out], inside))
    onnx.save(model, path)
    return model


def test_each_tensor_is_found_whatever_its_axes(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lin, head = rng.random((3, 4)).astype(np.float16), rng.random((2, 3, 4)).astype(np.float32)
    ones, twin = np.ones(4, np.float32), np.ones(4, np.float32)
    graphs = {
        "encoder": {"val_1_half": np.ascontiguousarray(lin.T), "norm": ones, "norm.bias": twin},
        "decoder": {"folded": np.ascontiguousarray(head.transpose(0, 2, 1))},
    }
    made = {name: graph(tmp_path / f"{name}.onnx", held) for name, held in graphs.items()}
    tensors = {"lin": lin, "head": head, "norm": ones, "norm.bias": twin}
    write_index(tensors, tmp_path)
    told = json.loads((tmp_path / GRAPH_WEIGHTS).read_text("utf-8"))
    back = {}
    for file, places in told.items():
        held = {one.name: one for one in made[file.removesuffix(".onnx")].graph.initializer}
        for name, place in places.items():
            value = numpy_helper.to_array(held[place["initializer"]])
            back[name] = as_stored(value, place["shape"], place["order"])
    assert back.keys() == tensors.keys()
    assert all(
        (back[name].numpy() == one.astype(np.float32)).all() for name, one in tensors.items()
    )
    assert told["encoder.onnx"]["norm.bias"]["initializer"] == "norm.bias"  # its own, not its twin


def test_a_tensor_that_no_graph_has_is_named(tmp_path: Path) -> None:
    for name in ("encoder", "decoder"):
        graph(tmp_path / f"{name}.onnx", {"a": np.ones(3, np.float32)})
    with pytest.raises(SystemExit, match="not the numbers of b"):
        write_index({"a": np.ones(3, np.float32), "b": np.zeros(2, np.float32)}, tmp_path)
