"""Scores of methods that never change, kept by content: GrabCut takes minutes, once is enough.

A line of `<method>.jsonl` is [key, values]; the key hashes the photo, the mask, the ignored pixels,
the method, the versions behind it and what was measured. A cut last line is skipped when read.
What a measure of a whole set found is `sets/<key>.json`; its key hashes all of the set's photos and
masks that count, and the settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from anymask.data.sets import Sample
from anymask.evaluation.baselines import REGION_METHODS
from anymask.evaluation.findings import Found, found_from_json, found_to_json
from anymask.evaluation.metrics import Floats, Ints
from anymask.evaluation.suite import EvalSet, Settings, choose_masks
from anymask.primitives.rle import rle_to_string

VERSION = 1  # of the baselines and protocols together; raise it when either changes its answers


class ScoreCache:
    """Scores under a folder, one file a method; lines are only ever added."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._known: dict[str, dict[str, Floats]] = {}

    def keys(self, method: str, names: Sequence[str], sample: Sample, masks: Ints) -> list[str]:
        """A key for each mask of a photo."""
        start = hashlib.sha256(sample.content())
        ignore = rle_to_string(sample.ignore) if sample.ignore is not None else ""
        words = [str(VERSION), cv2.__version__, *_versions(method), method, *names, ignore]
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

    def set_key(self, what: str, one: EvalSet, settings: Settings) -> str:
        """The key of a measure (`what` names method and measure) of a set."""
        chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
        key = hashlib.sha256()
        groups = Path(settings.groups).read_text("utf-8") if settings.groups else ""
        words = [str(VERSION), cv2.__version__, *_versions(what), what, repr(settings), groups]
        key.update("\n".join(words).encode())
        for place in np.unique(chosen.image):
            sample = one.samples[int(place)]
            key.update(sample.content())
            if sample.ignore is not None:
                key.update(rle_to_string(sample.ignore).encode())
            for mask in chosen.mask[chosen.image == place]:
                label = sample.labels[int(mask)] or ""
                key.update(f"{rle_to_string(sample.masks[int(mask)])} {label}\n".encode())
        return key.hexdigest()[:32]

    def get_found(self, key: str) -> Found | None:
        """What was kept under a key, or None."""
        path = self._folder / "sets" / f"{key}.json"
        try:
            return found_from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):  # absent, or cut
            return None

    def put_found(self, key: str, found: Found) -> None:
        """Keep a finding under a key, whole or not at all."""
        path = self._folder / "sets" / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(found_to_json(found)), encoding="utf-8")
        part.replace(path)

    def _of(self, method: str) -> dict[str, Floats]:
        if method not in self._known:
            self._known[method] = dict(_lines(self._path(method)))
        return self._known[method]

    def _path(self, method: str) -> Path:
        return self._folder / f"{method.replace(' ', '_')}.jsonl"


def _versions(method: str) -> list[str]:
    """Of the packages besides OpenCV that a method computes with."""
    if not method.startswith(REGION_METHODS):
        return []
    return [metadata.version("scikit-image")]


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
