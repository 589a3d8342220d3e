"""The graphs of `nano` in the package: weights in, graphs, index of their numbers and manifest out.

    python -m research.nano.build src/anymask/assets/nano a.safetensors [b.safetensors ...]

weights  names and tensors, a run's checkpoint, of which the averaged weights count, or the
         `weights.json` of a bundle; of several files the mean, which is better than each where one
         run went on from the other (Wortsman et al. 2022, arXiv 2109.01903)

Tables and the networks of edges, memory and names stay. A table that was learned with other
weights and says so is not used until it is learned anew (`models/rules/registry.py`).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from anymask import models
from anymask.base import file_sha256
from anymask.runtime import (
    MANIFEST,
    GraphNames,
    load_official,
    manifest_to_json,
    read_checkpoint,
    read_manifest,
)
from anymask.runtime.manifest import GRAPH_WEIGHTS
from anymask.training.run_folder import write_module
from research.nano.number_index import write_index


def build(target: Path, *weights: Path) -> None:
    """Replace encoder and decoder of a bundle."""
    torch.set_num_threads(1)
    module, before = models.build("nano"), read_manifest(target)
    learned = [read_checkpoint(path) for path in weights]
    load_official(
        module,
        {name: torch.stack([one[name].float() for one in learned]).mean(0)
         for name in module.state_dict()},
    )  # fmt: skip
    graphs = (GraphNames.ENCODER, GraphNames.DECODER)
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "nano"
        write_module(module, stage, before.licence)  # rounds the network, too
        write_index({name: one.numpy() for name, one in module.state_dict().items()}, stage)
        new, files = read_manifest(stage), [f"{name}.onnx" for name in graphs]
        for name in (*files, GRAPH_WEIGHTS):
            shutil.copyfile(stage / name, target / name)
    kept = tuple(one for one in before.graphs if one.name not in graphs)
    manifest = replace(
        before,
        weights_hash=new.weights_hash,
        graphs=(*(new.graph(name) for name in graphs), *kept),
        sha256=before.sha256 | {name: file_sha256(target / name) for name in files},
    )
    (target / MANIFEST).write_text(manifest_to_json(manifest), encoding="utf-8")
    for other in target.parent.glob(f"*/{MANIFEST}"):  # models of one field use these graphs
        if (field := read_manifest(other.parent)).base == target.name:
            hashes = field.sha256 | {name: manifest.sha256[name] for name in files}
            other.write_text(manifest_to_json(replace(field, sha256=hashes)), encoding="utf-8")


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:]))
