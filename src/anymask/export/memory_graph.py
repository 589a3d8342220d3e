"""The network of memory of a bundle: a trained `MemoryReader` in, one more graph out.

memory.onnx  keys (1, K, h, w), middle (1, C, 2h, 2w), fine (1, C, 4h, 4w), hints (1, 5, 4h, 4w),
             memory_keys (1, M, K), memory_labels (1, M, 16), memory_kinds (1, M)
             -> logits (1, 1, 4h, 4w), seen (1, 1)
"""

from __future__ import annotations

from pathlib import Path

import torch

from anymask.export.added_graph import enter_graph
from anymask.export.graphs import describe_tensors, write_graph
from anymask.export.halves import round_to_half, store_half
from anymask.models.memory_reader import LABELS, MemoryReader
from anymask.primitives.memory_question import HINTS, PARTS
from anymask.runtimes.manifest import MEMORY, GraphInfo, read_manifest

INPUTS = (
    "keys", "middle", "fine", "hints", "memory_keys", "memory_labels", "memory_kinds",
)  # fmt: skip
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


def _write(network: MemoryReader, folder: Path) -> GraphInfo:
    sizes, high, wide, cells = network.sizes, 3, 5, 30
    given = (
        torch.zeros(1, sizes.keys, high, wide),
        torch.zeros(1, sizes.middle, 2 * high, 2 * wide),
        torch.zeros(1, sizes.fine, PARTS * high, PARTS * wide),
        torch.zeros(1, len(HINTS), PARTS * high, PARTS * wide),
        torch.zeros(1, cells, sizes.keys),
        torch.zeros(1, cells, LABELS),
        torch.zeros(1, cells),
    )
    letters = (
        (1, sizes.keys, "h", "w"),
        (1, sizes.middle, "2h", "2w"),
        (1, sizes.fine, "4h", "4w"),
        (1, len(HINTS), "4h", "4w"),
        (1, "M"),
        (1, "M"),
        (1, "M"),
    )
    inputs = tuple(
        describe_tensors([name], [one], shape)[0]
        for name, one, shape in zip(INPUTS, given, letters, strict=True)
    )
    logits, seen = network(*given)
    outputs = (
        *describe_tensors(OUTPUTS[:1], [logits], (1, 1, "4h", "4w")),
        *describe_tensors(OUTPUTS[1:], [seen], (1,)),
    )
    info = GraphInfo(MEMORY, inputs, outputs)
    h, w = (torch.export.Dim(name, min=2, max=MOST_SIDE) for name in "hw")
    m = torch.export.Dim("M", min=2, max=MOST_CELLS)
    planes = {2: PARTS * h, 3: PARTS * w}
    varying = ({2: h, 3: w}, {2: 2 * h, 3: 2 * w}, planes, planes, {1: m}, {1: m}, {1: m})
    write_graph(network, given, info, varying, folder, int8=False)
    return info
