"""The network of names of a bundle: a trained `NamingNetwork` in, one more graph and its names out.

names.onnx  photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1 -> vector (B, D), logit (B,)
names.npz   the names and their vectors, see `runtimes.onnx_names`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anymask.export.added_graph import enter_graph
from anymask.export.graphs import describe_tensors, write_graph
from anymask.export.halves import round_to_half, store_half
from anymask.models.namer import Namer, NameVectors
from anymask.primitives.close_up import SIDE
from anymask.primitives.name_table import NameTable
from anymask.primitives.storage import whole_file
from anymask.runtimes.manifest import NAME_VECTORS, NAMES, GraphInfo, read_manifest
from anymask.runtimes.onnx_names import table_to_arrays

INPUTS, OUTPUTS = ("photo", "mask"), ("vector", "logit")


@torch.no_grad()
def add_names(folder: Path, namer: Namer, table: NameTable) -> None:
    """Give a bundle a network of names, or another one. Raises WeightsError for no bundle."""
    read_manifest(folder)
    network = Namer(namer.vector.out_features)
    network.load_state_dict(namer.state_dict())
    round_to_half(network)
    info = _write(network.eval(), folder)
    store_half(folder / info.file)
    with whole_file(folder / NAME_VECTORS) as file:
        arrays = table_to_arrays(table)
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # stub mixes up allow_pickle
    enter_graph(folder, info, NAME_VECTORS)


@torch.no_grad()
def table_of(
    names: tuple[tuple[str, ...], dict[str, int]],
    vectors: NameVectors,
    learned: Tensor,
    temperature: float,
) -> NameTable:
    """What ships beside the graph.

    names        words, and other spellings
    learned      (N,) names that training pictures showed
    temperature  of the names' logits
    """
    words, also = names
    scale = float(vectors.scale.exp()) / temperature
    return NameTable(words, vectors().numpy(), learned.numpy(), also, scale)


def _write(network: Namer, folder: Path) -> GraphInfo:
    given = (torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE))
    inputs = describe_tensors(INPUTS, given, "B")
    info = GraphInfo(NAMES, inputs, describe_tensors(OUTPUTS, network(*given), "B"))
    batch = torch.export.Dim("B", min=1, max=1024)
    write_graph(network, given, info, ({0: batch}, {0: batch}), folder, int8=False)
    return info
