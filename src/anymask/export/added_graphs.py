"""Networks that were trained beside a bundle's model: each becomes one more graph of the bundle.

refiner.onnx         edges: photo (1, 3, W, W) 0..255, logits (1, 1, n, n), prompt (1, 2, W, W)
                     -> change (1, 1, W, W); W is `edge_window.SIDE`
refiner.safetensors  the same weights, for torch
names.onnx           photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1 -> vector (B, D), logit (B,);
                     S is `close_up.SIDE`
names.npz            the names and their vectors, see `runtimes.onnx_names`
memory.onnx          keys (1, K, h, w), middle (1, C, 2h, 2w), fine (1, C, 4h, 4w), hints
                     (N, 5, 4h, 4w), anchor_keys (1, A, K), anchor_labels (N, A, 16), recent_keys
                     (1, R, K), recent_labels (N, R, 16), recent_there (1, R) 1 or 0
                     -> logits (N, 1, 4h, 4w), seen (N, 1), of N objects on one frame

Where nothing recent is remembered, one cell that is not there stands for it. Weights are stored in
16 bits, rounded to them in a copy of the given network. Every function raises WeightsError for a
folder that is no bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anymask.export.folder import enter_graphs
from anymask.export.graphs import describe_tensors, write_graph
from anymask.export.optimise import round_to_half, store_half
from anymask.models.edge_refiner import EdgeRefiner
from anymask.models.memory_reader import LABELS, Cells, MemoryReader
from anymask.models.namer import Namer, NameVectors
from anymask.primitives import close_up, edge_window
from anymask.primitives.memory_question import HINTS, PARTS
from anymask.primitives.name_table import NameTable
from anymask.primitives.storage import whole_file, write_whole
from anymask.runtimes import onnx_memory
from anymask.runtimes.manifest import (
    MEMORY,
    NAME_VECTORS,
    NAMES,
    REFINER,
    REFINER_WEIGHTS,
    GraphInfo,
    read_manifest,
)
from anymask.runtimes.onnx_names import table_to_arrays

MOST_BATCH, MOST_SIDE, MOST_CELLS = 1024, 256, 1 << 20  # masks; sides of a grid; remembered cells
Letters = tuple[int | str, ...]


@torch.no_grad()
def add_refiner(folder: Path, refiner: EdgeRefiner) -> None:
    """Give a bundle a network of edges, or another one."""
    from safetensors.torch import save

    network, side, fewest = EdgeRefiner(), edge_window.SIDE, edge_window.FEWEST
    network.load_state_dict(refiner.state_dict())
    round_to_half(network)
    given = (
        torch.zeros(1, 3, side, side),
        torch.zeros(1, 1, 2 * fewest, 2 * fewest),
        torch.zeros(1, 2, side, side),
    )
    n = torch.export.Dim("n", min=fewest, max=1024)
    letters: tuple[Letters, ...] = ((1,), (1, 1, "n", "n"), (1,))
    named = dict(zip(("photo", "logits", "prompt"), letters, strict=True))
    varying = ({}, {2: n, 3: n}, {})
    info = _write(folder, REFINER, network, given, named, {"change": (1,)}, varying)
    halves = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    write_whole(folder / REFINER_WEIGHTS, save(halves))
    enter_graphs(folder, info, further=(REFINER_WEIGHTS,))


@torch.no_grad()
def add_names(folder: Path, namer: Namer, table: NameTable) -> None:
    """Give a bundle a network of names with its table, or another one."""
    network, side = Namer(namer.vector.out_features), close_up.SIDE
    network.load_state_dict(namer.state_dict())
    round_to_half(network)
    given = (torch.zeros(2, 3, side, side), torch.zeros(2, 1, side, side))
    batch = {0: torch.export.Dim("B", min=1, max=MOST_BATCH)}
    named: dict[str, Letters] = {"photo": ("B",), "mask": ("B",)}
    answers: dict[str, Letters] = {"vector": ("B",), "logit": ("B",)}
    info = _write(folder, NAMES, network, given, named, answers, (batch, batch))
    with whole_file(folder / NAME_VECTORS) as file:
        arrays = table_to_arrays(table)
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # stub mixes up allow_pickle
    enter_graphs(folder, info, further=(NAME_VECTORS,))


@torch.no_grad()
def table_of(
    names: tuple[tuple[str, ...], dict[str, int]],
    vectors: NameVectors,
    learned: Tensor,
    temperature: float,
) -> NameTable:
    """What ships beside the graph of names.

    names        words, and other spellings
    learned      (N,) names that training pictures showed
    temperature  of the names' logits
    """
    words, also = names
    scale = float(vectors.scale.exp()) / temperature
    return NameTable(words, vectors().numpy(), learned.numpy(), also, scale)


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
        torch.zeros(1, sizes.fine, PARTS * high, PARTS * wide),
        torch.zeros(2, len(HINTS), PARTS * high, PARTS * wide),
        *(torch.zeros(1, anchors, sizes.keys), torch.zeros(2, anchors, LABELS)),
        *(torch.zeros(1, recent, sizes.keys), torch.zeros(2, recent, LABELS)),
        torch.ones(1, recent),
    )
    letters: tuple[Letters, ...] = (
        (1, sizes.keys, "h", "w"),
        (1, sizes.middle, "2h", "2w"),
        (1, sizes.fine, "4h", "4w"),
        ("N", len(HINTS), "4h", "4w"),
        *((1, "A"), ("N", "A"), (1, "R"), ("N", "R"), (1, "R")),
    )
    h, w = (torch.export.Dim(name, min=2, max=MOST_SIDE) for name in "hw")
    n, a, r = (torch.export.Dim(name, min=1, max=MOST_CELLS) for name in "NAR")
    whole = {2: PARTS * h, 3: PARTS * w}
    varying = (
        {2: h, 3: w}, {2: 2 * h, 3: 2 * w}, whole, {0: n, **whole},
        {1: a}, {0: n, 1: a}, {1: r}, {0: n, 1: r}, {1: r},
    )  # fmt: skip
    named = dict(zip(onnx_memory.INPUTS, letters, strict=True))
    answers: dict[str, Letters] = {"logits": ("N", 1, "4h", "4w"), "seen": ("N",)}
    graph = MemoryGraph(network)
    enter_graphs(folder, _write(folder, MEMORY, graph, given, named, answers, (varying,)))


def _write(
    folder: Path,
    name: str,
    network: nn.Module,
    given: tuple[Tensor, ...],
    inputs: dict[str, Letters],
    outputs: dict[str, Letters],
    varying: tuple[Any, ...],
) -> GraphInfo:
    """Write the graph of a network; `inputs` and `outputs` are names and shapes in letters."""
    read_manifest(folder)
    answers = network.eval()(*given)
    answers = answers if isinstance(answers, tuple) else (answers,)
    told, said = (
        tuple(
            describe_tensors([one], [tensor], letters)[0]
            for (one, letters), tensor in zip(named.items(), tensors, strict=True)
        )
        for named, tensors in ((inputs, given), (outputs, answers))
    )
    info = GraphInfo(name, told, said)
    write_graph(network, given, info, varying, folder, int8=False)
    store_half(folder / info.file)
    return info
