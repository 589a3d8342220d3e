"""A graph that was trained beside a bundle's model: its files and description in, entered there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anymask.export.readme import write_readme
from anymask.primitives.storage import write_whole
from anymask.runtimes.manifest import (
    MANIFEST,
    GraphInfo,
    file_sha256,
    manifest_to_json,
    read_manifest,
)


def enter_graph(folder: Path, info: GraphInfo, *further: str) -> None:
    """Name a graph of the folder, and further files of it, in the manifest and the README.

    A graph of the same name gives way. Raises WeightsError for a folder that is no bundle.
    """
    manifest = read_manifest(folder)
    changed = replace(
        manifest,
        graphs=(*(graph for graph in manifest.graphs if graph.name != info.name), info),
        sha256={
            **manifest.sha256,
            **{name: file_sha256(folder / name) for name in (info.file, *further)},
        },
    )
    write_whole(folder / MANIFEST, manifest_to_json(changed))
    write_readme(folder, changed)
