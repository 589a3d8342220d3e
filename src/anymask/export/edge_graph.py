"""The network of edges of a bundle: a trained `EdgeRefiner` in, one more graph and its weights out.

refiner.onnx         photo (1, 3, W, W) 0..255, logits (1, 1, n, n), prompt (1, 2, W, W)
                     -> change (1, 1, W, W); W is `edge_window.SIDE`
refiner.safetensors  the same weights, for torch
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anymask.export.added_graph import enter_graph
from anymask.export.graphs import describe_tensors, write_graph
from anymask.export.halves import round_to_half, store_half
from anymask.models.edge_refiner import EdgeRefiner
from anymask.primitives.edge_window import FEWEST, SIDE
from anymask.primitives.storage import write_whole
from anymask.runtimes.manifest import REFINER, REFINER_WEIGHTS, GraphInfo, read_manifest

INPUTS, OUTPUT = ("photo", "logits", "prompt"), "change"
MOST_CELLS = 1024


@torch.no_grad()
def add_refiner(folder: Path, refiner: EdgeRefiner) -> None:
    """Give a bundle a network of edges, or another one. Raises WeightsError for no bundle."""
    from safetensors.torch import save

    read_manifest(folder)
    network = EdgeRefiner()
    network.load_state_dict(refiner.state_dict())
    round_to_half(network)
    info = _write(network.eval(), folder)
    store_half(folder / info.file)
    halves = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    write_whole(folder / REFINER_WEIGHTS, save(halves))
    enter_graph(folder, info, REFINER_WEIGHTS)


def _write(network: EdgeRefiner, folder: Path) -> GraphInfo:
    given = (
        torch.zeros(1, 3, SIDE, SIDE),
        torch.zeros(1, 1, 2 * FEWEST, 2 * FEWEST),
        torch.zeros(1, 2, SIDE, SIDE),
    )
    cells = torch.export.Dim("n", min=FEWEST, max=MOST_CELLS)
    photo, logits, prompt = given
    inputs = (
        *describe_tensors(INPUTS[:1], [photo], (1,)),
        *describe_tensors(INPUTS[1:2], [logits], (1, 1, "n", "n")),
        *describe_tensors(INPUTS[2:], [prompt], (1,)),
    )
    info = GraphInfo(REFINER, inputs, describe_tensors([OUTPUT], [network(*given)], (1,)))
    varying: tuple[dict[int, Any], ...] = ({}, {2: cells, 3: cells}, {})
    write_graph(network, given, info, varying, folder, int8=False)
    return info
