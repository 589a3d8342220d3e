"""Where a network's numbers lie in its graphs: a bundle and the tensors it was exported from in,
`weights.json` out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from anymask.base import write_json
from anymask.runtime import GraphNames
from anymask.runtime.manifest import GRAPH_WEIGHTS
from research.small.share_numbers import digest

Place = dict[str, Any]


def places_in(graph: onnx.GraphProto, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Place]:
    """The tensors whose numbers the graph has, whatever the order of their axes, each in a place
    of its own."""
    held: dict[bytes, list[str]] = {}
    for one in graph.initializer:
        value = numpy_helper.to_array(one)
        if value.dtype in (np.float16, np.float32):
            held.setdefault(digest(value.astype(np.float32)), []).append(one.name)
    found: dict[str, Place] = {}
    for name, tensor in tensors.items():
        value = tensor.astype(np.float32)
        for order in itertools.permutations(range(value.ndim)):
            if (names := held.get(digest(value.transpose(order)))) is not None:
                plain = order == tuple(range(value.ndim))
                own = next((one for one in names if name in one), names[0])
                found[name] = {
                    "initializer": own, "shape": list(value.shape),
                    "order": [] if plain else list(order),
                }  # fmt: skip
                break
    return found


def write_index(tensors: Mapping[str, NDArray[Any]], folder: Path) -> None:
    """Write `weights.json` into a bundle. Raises SystemExit where the graphs lack a tensor."""
    left, index = dict(sorted(tensors.items())), dict[str, dict[str, Place]]()
    for name in (GraphNames.ENCODER, GraphNames.DECODER):
        graph = onnx.load(folder / f"{name}.onnx").graph
        index[f"{name}.onnx"] = places_in(graph, left)
        left = {key: one for key, one in left.items() if key not in index[f"{name}.onnx"]}
    if left:
        raise SystemExit(f"the graphs have not the numbers of {', '.join(left)}")
    write_json(folder / GRAPH_WEIGHTS, index)
