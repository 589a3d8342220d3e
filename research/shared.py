"""Functions of several research programs: images of a set to evaluate on, tables of a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import OnProgress, file_sha256, write_whole
from anymask.evaluation.protocols import NotMeasured, Segmenter
from anymask.evaluation.selection import EvalImage, EvalSet, EvalSettings, choose_masks, mask_limit
from anymask.masks import Tables
from anymask.models.rules import NameTable
from anymask.runtime.manifest import MANIFEST, TABLES, manifest_to_json, read_manifest


def iterate_images(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress | None = None
) -> Iterator[EvalImage]:
    """Yield the images with their selected masks of at least the minimum area.

    Raises NotMeasured if no mask is left.

    Args:
        progress: Progress callback (images done, images in total).
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    keep = (chosen.area >= settings.min_area) & (chosen.rank < mask_limit(method, settings))
    places = np.unique(chosen.image[keep])
    if not len(places):
        raise NotMeasured(f"{one.plan.name} has no mask of at least {settings.min_area} pixels.")
    for done, place in enumerate(places, start=1):
        masks = chosen.mask[keep & (chosen.image == place)]
        yield EvalImage(int(place), one.samples[int(place)], masks)
        if progress:
            progress(done, len(places))


def write_tables(folder: Path, tables: Tables) -> None:
    """Replace the tables of a bundle and update its manifest. Raises WeightsError."""
    manifest = read_manifest(folder)
    path = folder / TABLES
    write_whole(path, json.dumps(tables) + "\n")
    hashes = {**manifest.sha256, TABLES: file_sha256(path)}
    changed = replace(manifest, sha256=hashes)
    write_whole(folder / MANIFEST, manifest_to_json(changed))


def table_to_arrays(table: NameTable) -> dict[str, NDArray[Any]]:
    """Arrays of `names.npz`."""
    text = json.dumps({"words": table.words, "also": dict(table.also)}, ensure_ascii=False)
    return {
        "words": np.frombuffer(text.encode(), np.uint8),
        "vectors": table.vectors.astype(np.float16),
        "learned": table.learned,
        "scale": np.array(table.scale, np.float32),
    }
