"""Networks that the package has beside a family's own weights: a new bundle of it gets them, too.

The network of edges and that of names look at the photo and at a mask, whatever weights drew it: so
they serve every model of the family. What reads a video's earlier frames was learned with certain
maps, and stays behind.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from anymask.export.added_graph import enter_graph
from anymask.primitives.spec import ModelSpec
from anymask.runtimes.manifest import (
    NAME_VECTORS,
    NAMES,
    REFINER,
    REFINER_WEIGHTS,
    Manifest,
    read_manifest,
)
from anymask.runtimes.open import shared_folder

FILES = {REFINER: REFINER_WEIGHTS, NAMES: NAME_VECTORS}  # beside each graph


def add_shared_networks(folder: Path, spec: ModelSpec) -> Manifest:
    """Give a bundle the networks that the package has for its family, if any; its manifest then."""
    source = shared_folder(spec)
    if source is not None:
        for info in read_manifest(source).graphs:
            if info.name in FILES:
                further = FILES[info.name]
                for file in (info.file, further):
                    shutil.copyfile(source / file, folder / file)
                enter_graph(folder, info, further)
    return read_manifest(folder)
