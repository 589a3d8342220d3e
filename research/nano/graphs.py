"""Graphs of the networks beside a model: a bundle and a network of edges, names or memory in.

refiner.onnx         edges: photo (1, 3, W, W) 0..255, logits (1, 1, n, n), prompt (1, 2, W, W)
                     -> change (1, 1, W, W); W is `EDGE_SIDE`
refiner.safetensors  the same weights, for torch
names.onnx           photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1 -> vector (B, D); S is
                     `close_up.SIDE`; convolutions in 8 bits, a scale each output channel
names.npz            the names and their vectors, see `runtime.onnx`
memory.onnx          keys (1, K, h, w), middle (1, C, 2h, 2w), fine (1, C, 4h, 4w), hints
                     (N, 5, 4h, 4w), anchor_keys (1, A, K), anchor_labels (N, A, 16), recent_keys
                     (1, R, K), recent_labels (N, R, 16), recent_there (1, R) 1 or 0
                     -> logits (N, 1, 4h, 4w), seen (N, 1), of N objects on one frame

Where nothing recent is remembered, one cell that is not there stands for it. Weights are stored in
16 bits, rounded to them in a copy of the given network. Every function raises WeightsError for a
folder that is no bundle.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import Tensor, nn

from anymask.base import whole_file, write_whole
from anymask.masks import EDGE_SIDE
from anymask.models.edge_refiner import EdgeRefiner
from anymask.models.memory_reader import LABELS_PER_CELL, Cells, MemoryReader
from anymask.models.rules import FINE_CELLS, HINTS, NameTable
from anymask.models.rules import crops as close_up
from anymask.runtime import NAME_VECTORS, REFINER_WEIGHTS, GraphInfo, GraphNames, read_manifest
from anymask.runtime.onnx import OnnxMemory
from anymask.segment.prediction import MIN_WINDOW_CELLS
from anymask.training.export_folder import enter_graphs
from anymask.training.export_graphs import Letters, round_to_half, store_half, write_graph
from research.shared import table_to_arrays

MIN_SCALE = 2.0**-14  # of weights in 8 bits: some channels are empty
CONVOLUTIONS = ("Conv", "FusedConv")  # the latter with what follows, by ONNX Runtime
MAX_BATCH, MAX_GRID, MAX_CELLS = 1024, 256, 1 << 20  # masks; a grid's side; remembered cells


@torch.no_grad()
def add_refiner(folder: Path, refiner: EdgeRefiner) -> None:
    """Give a bundle a network of edges, or another one."""
    network, side, fewest = EdgeRefiner(), EDGE_SIDE, MIN_WINDOW_CELLS
    network.load_state_dict(refiner.state_dict())
    round_to_half(network)
    given = (
        torch.zeros(1, 3, side, side),
        torch.zeros(1, 1, 2 * fewest, 2 * fewest),
        torch.zeros(1, 2, side, side),
    )
    takes: dict[str, Letters] = {"photo": (1,), "logits": (1, 1, "n", "n"), "prompt": (1,)}
    n = torch.export.Dim("n", min=fewest, max=MAX_BATCH)
    info = _write_half(
        folder, GraphNames.REFINER, network, given, takes, {"change": (1,)}, {"n": n}
    )
    halves = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    write_whole(folder / REFINER_WEIGHTS, save(halves))
    enter_graphs(folder, info, further=(REFINER_WEIGHTS,))


@torch.no_grad()
def add_names(folder: Path, namer: nn.Module, table: NameTable) -> None:
    """Give a bundle a network of names with its table, or another one."""
    network, side = copy.deepcopy(namer), close_up.CROP_SIDE
    round_to_half(network)
    round_to_bytes(network)
    given = (torch.zeros(2, 3, side, side), torch.zeros(2, 1, side, side))
    dims = {"B": torch.export.Dim("B", min=1, max=MAX_BATCH)}
    takes = dict.fromkeys(("photo", "mask"), "B")
    info = write_graph(
        GraphNames.NAMES, network.eval(), given, takes, {"vector": "B"}, folder, dims
    )
    # Store the weights of convolutions, which `round_to_bytes` rounded, in 8 bits.
    path = folder / info.file
    model = onnx.load(path)
    convolved = {node.input[1] for node in model.graph.node if node.op_type in CONVOLUTIONS}
    nodes = []
    for weight in [one for one in model.graph.initializer if one.name in convolved]:
        name, values = weight.name, numpy_helper.to_array(weight)
        most = np.abs(values).max((1, 2, 3), keepdims=True)
        scale = np.maximum(most / 127, MIN_SCALE).astype(np.float16)
        weight.CopyFrom(
            numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}_bytes")
        )
        model.graph.initializer.append(
            numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale")
        )
        nodes += [
            helper.make_node("Cast", [f"{name}_bytes"], [f"{name}_whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]),
        ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    path.write_bytes(model.SerializeToString())
    store_half(folder / info.file)
    with whole_file(folder / NAME_VECTORS) as file:
        arrays = table_to_arrays(table)
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # stub mixes up allow_pickle
    enter_graphs(folder, info, further=(NAME_VECTORS,))


@torch.no_grad()
def round_to_bytes(network: nn.Module) -> None:
    """Round the weights of convolutions to 8 bits, a scale of 16 bits each output channel."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            most = layer.weight.abs().amax((1, 2, 3), keepdim=True)
            scale = (most / 127).clamp(min=MIN_SCALE).half().float()
            layer.weight.copy_((layer.weight / scale).round().clamp(-127, 127) * scale)


class MemoryGraph(nn.Module):
    """The network's `answer` as a module's `forward`, which is what torch exports."""

    def __init__(self, network: MemoryReader) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        keys, middle, fine, hints, *memory = given
        return self.network.answer(
            keys, middle, fine, hints, Cells(*memory[:2]), Cells(*memory[2:])
        )


@torch.no_grad()
def add_memory(folder: Path, reader: MemoryReader) -> None:
    """Give a bundle a network of memory, or another one."""
    network, sizes = MemoryReader(reader.sizes), reader.sizes
    network.load_state_dict(reader.state_dict())
    round_to_half(network)
    high, wide, anchors, recent = 3, 5, 15, 30
    given = (
        torch.zeros(1, sizes.keys, high, wide),
        torch.zeros(1, sizes.middle, 2 * high, 2 * wide),
        torch.zeros(1, sizes.fine, FINE_CELLS * high, FINE_CELLS * wide),
        torch.zeros(2, len(HINTS), FINE_CELLS * high, FINE_CELLS * wide),
        *(torch.zeros(1, anchors, sizes.keys), torch.zeros(2, anchors, LABELS_PER_CELL)),
        *(torch.zeros(1, recent, sizes.keys), torch.zeros(2, recent, LABELS_PER_CELL)),
        torch.ones(1, recent),
    )
    shapes: tuple[Letters, ...] = (
        (1, sizes.keys, "h", "w"),
        (1, sizes.middle, "2h", "2w"),
        (1, sizes.fine, "4h", "4w"),
        ("N", len(HINTS), "4h", "4w"),
        *((1, "A"), ("N", "A"), (1, "R"), ("N", "R"), (1, "R")),
    )
    h, w = (torch.export.Dim(name, min=2, max=MAX_GRID) for name in "hw")
    n, a, r = (torch.export.Dim(name, min=1, max=MAX_CELLS) for name in "NAR")
    dims = {"h": h, "w": w, "2h": 2 * h, "2w": 2 * w, "4h": FINE_CELLS * h, "4w": FINE_CELLS * w}
    dims |= {"N": n, "A": a, "R": r}
    takes = dict(zip(OnnxMemory.INPUTS, shapes, strict=True))
    gives: dict[str, Letters] = {"logits": ("N", 1, "4h", "4w"), "seen": ("N",)}
    info = _write_half(folder, GraphNames.MEMORY, MemoryGraph(network), given, takes, gives, dims)
    enter_graphs(folder, info)


def _write_half(folder: Path, name: str, network: nn.Module, *about: Any) -> GraphInfo:
    """A graph (`write_graph`) with weights of 16 bits, in a folder that is a bundle."""
    read_manifest(folder)
    given, takes, gives, dims = about
    info = write_graph(name, network.eval(), given, takes, gives, folder, dims)
    store_half(folder / info.file)
    return info
