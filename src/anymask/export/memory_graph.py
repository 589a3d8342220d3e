"""The network of memory of a bundle: a trained `MemoryReader` in, one more graph out.

memory.onnx  keys (1, K, h, w), middle (1, C, 2h, 2w), fine (1, C, 4h, 4w), hints (N, 5, 4h, 4w),
             anchor_keys (1, A, K), anchor_labels (N, A, 16), recent_keys (1, R, K),
             recent_labels (N, R, 16), recent_there (1, R) 1 or 0
             -> logits (N, 1, 4h, 4w), seen (N, 1), of N objects on one frame

Where nothing recent is remembered, one cell that is not there stands for it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from anymask.export.added_graph import enter_graph
from anymask.export.graphs import describe_tensors, write_graph
from anymask.export.halves import round_to_half, store_half
from anymask.models.memory_reader import LABELS, Cells, MemoryReader
from anymask.primitives.memory_question import HINTS, PARTS
from anymask.runtimes.manifest import MEMORY, GraphInfo, read_manifest
from anymask.runtimes.onnx_memory import INPUTS

OUTPUTS = ("logits", "seen")
MOST_SIDE, MOST_CELLS = 256, 1 << 20  # of the grid, remembered


@torch.no_grad()
def add_memory(folder: Path, reader: MemoryReader) -> None:
    """Give a bundle a network of memory, or another one. Raises WeightsError for no bundle."""
    read_manifest(folder)
    network = MemoryReader(reader.sizes)
    network.load_state_dict(reader.state_dict())
    round_to_half(network)
    info = _write(network.eval(), folder)
    store_half(folder / info.file)
    enter_graph(folder, info)


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


def _write(network: MemoryReader, folder: Path) -> GraphInfo:
    sizes, high, wide, cells = network.sizes, 3, 5, (15, 30)
    given = (
        torch.zeros(1, sizes.keys, high, wide),
        torch.zeros(1, sizes.middle, 2 * high, 2 * wide),
        torch.zeros(1, sizes.fine, PARTS * high, PARTS * wide),
        torch.zeros(2, len(HINTS), PARTS * high, PARTS * wide),
        *(torch.zeros(1, cells[0], sizes.keys), torch.zeros(2, cells[0], LABELS)),
        *(torch.zeros(1, cells[1], sizes.keys), torch.zeros(2, cells[1], LABELS)),
        torch.ones(1, cells[1]),
    )
    planes: tuple[tuple[int | str, ...], ...] = (
        (1, sizes.keys, "h", "w"),
        (1, sizes.middle, "2h", "2w"),
        (1, sizes.fine, "4h", "4w"),
        ("N", len(HINTS), "4h", "4w"),
    )
    letters = (*planes, (1, "A"), ("N", "A"), (1, "R"), ("N", "R"), (1, "R"))
    inputs = tuple(
        describe_tensors([name], [one], shape)[0]
        for name, one, shape in zip(INPUTS, given, letters, strict=True)
    )
    graph = MemoryGraph(network)
    logits, seen = graph(*given)
    outputs = (
        *describe_tensors(OUTPUTS[:1], [logits], ("N", 1, "4h", "4w")),
        *describe_tensors(OUTPUTS[1:], [seen], ("N",)),
    )
    info = GraphInfo(MEMORY, inputs, outputs)
    h, w = (torch.export.Dim(name, min=2, max=MOST_SIDE) for name in "hw")
    n, a, r = (torch.export.Dim(name, min=1, max=MOST_CELLS) for name in "NAR")
    whole = {2: PARTS * h, 3: PARTS * w}
    varying = (
        {2: h, 3: w}, {2: 2 * h, 3: 2 * w}, whole, {0: n, **whole},
        {1: a}, {0: n, 1: a}, {1: r}, {0: n, 1: r}, {1: r},
    )  # fmt: skip
    write_graph(graph, given, info, (varying,), folder, int8=False)
    return info
