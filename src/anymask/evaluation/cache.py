"""Scores of methods that never change, kept by content: GrabCut takes minutes, once is enough.

A line of `<method>.jsonl` is [key, values]; the key hashes the photo's bytes, the mask, the ignored
pixels, the method, its version and what was measured. A cut last line is skipped when read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from anymask.data.sets import Sample
from anymask.evaluation.metrics import Floats, Ints
from anymask.primitives.rle import rle_to_string

VERSION = 1  # of the baselines and protocols together; raise it when either changes its answers


class ScoreCache:
    """Scores under a folder, one file a method; lines are only ever added."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._known: dict[str, dict[str, Floats]] = {}

    def keys(self, method: str, names: Sequence[str], sample: Sample, masks: Ints) -> list[str]:
        """A key for each mask of a photo."""
        start = hashlib.sha256(sample.image_path.read_bytes())
        ignore = rle_to_string(sample.ignore) if sample.ignore is not None else ""
        words = [str(VERSION), cv2.__version__, method, *names, ignore]
        start.update("\n".join(words).encode())
        keys = []
        for mask in masks:
            key = start.copy()
            key.update(rle_to_string(sample.masks[int(mask)]).encode())
            keys.append(key.hexdigest()[:32])
        return keys

    def get(self, method: str, key: str) -> Floats | None:
        """The values kept under a key, or None."""
        return self._of(method).get(key)

    def put(self, method: str, key: str, values: Floats) -> None:
        """Keep values under a key, on disk at once."""
        self._of(method)[key] = values
        self._folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps([key, [round(float(value), 6) for value in values]])
        with self._path(method).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _of(self, method: str) -> dict[str, Floats]:
        if method not in self._known:
            self._known[method] = dict(_lines(self._path(method)))
        return self._known[method]

    def _path(self, method: str) -> Path:
        return self._folder / f"{method.replace(' ', '_')}.jsonl"


def _lines(path: Path) -> list[tuple[str, Floats]]:
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, values = json.loads(line)
            rows.append((str(key), np.array(values, np.float64)))
        except (ValueError, TypeError):  # the run was stopped in the middle of a line
            continue
    return rows
