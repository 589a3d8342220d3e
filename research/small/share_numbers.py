"""Graphs that read their numbers from one file: a bundle's graphs in, small ones out.

    python research/small/share_numbers.py FOLDER weights.safetensors

Every initialiser of a graph that equals a tensor of the file (as float32, transposed or not) is
replaced by a reference to the tensor's bytes there (ONNX external data) and the operators that make
it float32 again. ONNX Runtime folds those away when it opens the graph.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 256  # numbers; what is smaller stays in the graph
TYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT, "I8": TensorProto.INT8}
DTYPES = {"F16": np.float16, "F32": np.float32, "I8": np.int8}
SCALE = "_scale"  # after the name of an 8-bit tensor


@dataclass(frozen=True)
class Stored:
    """A tensor of the file: where its bytes lie, and what they are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True)
class View:
    """A stored tensor as a graph may have it: with another shape, then its axes in another order
    (empty: as they are)."""

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()


def float_value(index: dict[str, Stored], data: bytes, name: str) -> NDArray[np.float32]:
    """A tensor as the model reads it."""
    stored = index[name]
    raw = data[stored.offset : stored.offset + stored.length]
    value = np.frombuffer(raw, DTYPES[stored.dtype]).reshape(stored.shape).astype(np.float32)
    if name + SCALE in index:
        value = value * float_value(index, data, name + SCALE)[:, None]
    return value


def views(name: str, shape: tuple[int, ...]) -> list[View]:
    """The ways in which a graph may have a tensor."""
    out = [View(name, shape)]
    if len(shape) == 2:
        out.append(View(name, shape, (1, 0)))
    if len(shape) == 3:
        out.append(View(name, shape, (0, 2, 1)))
        out.append(View(name, (shape[0] * shape[1], shape[2]), (1, 0)))
    return out


def digest(value: NDArray[np.float32]) -> bytes:
    """Names the numbers of an array, whatever its shape."""
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()


class Sharing:
    """One graph whose initialisers become references."""

    def __init__(self, graph: onnx.GraphProto, location: str, index: dict[str, Stored]) -> None:
        self.graph, self.location, self.index = graph, location, index
        self.before: list[onnx.NodeProto] = []
        self.known: set[str] = set()

    def reference(self, stored: Stored, shape: tuple[int, ...]) -> str:
        """An initialiser whose bytes lie in the file."""
        name = f"{stored.name}:{'x'.join(map(str, shape))}"
        if name not in self.known:
            self.known.add(name)
            tensor = TensorProto(name=name, data_type=TYPES[stored.dtype], dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            places = {
                "location": self.location,
                "offset": str(stored.offset),
                "length": str(stored.length),
            }
            for key, value in places.items():
                tensor.external_data.add(key=key, value=value)
            self.graph.initializer.append(tensor)
        return name

    def replace(self, target: onnx.TensorProto, found: View) -> None:
        """Make one initialiser the result of operators on a stored tensor."""
        stored, goal = self.index[found.name], target.name
        scaled = found.name + SCALE in self.index
        shape = found.shape if found.order or scaled else tuple(target.dims)
        value = self.reference(stored, shape)
        steps: list[tuple[str, list[str], dict[str, object]]] = [
            ("Cast", [], {"to": TensorProto.FLOAT})
        ]
        if scaled:
            scale = self.index[found.name + SCALE]
            steps.append(("Mul", [self.reference(scale, (*scale.shape, 1))], {}))
        if found.order:
            steps.append(("Transpose", [], {"perm": found.order}))
            if tuple(found.shape[axis] for axis in found.order) != tuple(target.dims):
                sides = numpy_helper.from_array(np.array(target.dims, np.int64), f"{goal}:sides")
                self.graph.initializer.append(sides)
                steps.append(("Reshape", [sides.name], {}))
        for n, (operator, further, attributes) in enumerate(steps):
            output = goal if n == len(steps) - 1 else f"{goal}:{operator}"
            node = helper.make_node(operator, [value, *further], [output], **attributes)
            self.before.append(node)
            value = output


def share(path: Path, numbers: Path) -> tuple[int, int]:
    """Rewrite a graph file; how many bytes it had and has."""
    # The tensors of a safetensors file by name.
    with numbers.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    index, data = (
        {
            name: Stored(name, one["dtype"], tuple(one["shape"]), 8 + size + first, last - first)
            for name, one in header.items()
            for first, last in [one["data_offsets"]]
        },
        numbers.read_bytes(),
    )
    where: dict[bytes, View] = {}
    for name in index:
        if not name.endswith(SCALE):
            value = float_value(index, data, name)
            for view in views(name, value.shape):
                seen = value.reshape(view.shape)
                where.setdefault(digest(seen.transpose(view.order) if view.order else seen), view)
    model, before = onnx.load(path), path.stat().st_size
    held = len(model.graph.initializer)
    sharing = Sharing(model.graph, numbers.name, index)
    kept: list[onnx.TensorProto] = []
    for one in list(model.graph.initializer):
        value = numpy_helper.to_array(one)
        found = where.get(digest(value)) if value.dtype == np.float32 else None
        if found is None or value.size < SMALLEST:
            kept.append(one)
            if value.size >= SMALLEST:
                print(f"  stays in {path.name}: {one.name} {list(one.dims)}")
            continue
        sharing.replace(one, found)
    added = list(model.graph.initializer)[held:]
    nodes = [*sharing.before, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend([*kept, *added])
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
    return before, path.stat().st_size


if __name__ == "__main__":
    folder, numbers = Path(sys.argv[1]), Path(sys.argv[2])
    for graph in ("encoder.onnx", "decoder.onnx"):
        before, after = share(folder / graph, numbers)
        print(f"{graph}: {before / 1e6:.2f} -> {after / 1e6:.2f} MB")
