"""A cache of scores of methods that never change, on disk: content and code in, kept values out.

A line of `<method>.jsonl` is [key, values]; the key hashes the photo, the mask, the ignored pixels,
the method, the code and the versions behind it and what was measured. A cut last line is skipped
when read. What a measure of a whole set found is `sets/<key>.json`; its key hashes code, settings,
and all that the set says of the photos that count. Code is hashed with the modules that it imports;
what only hands sets, questions and answers around is left out: it is edited often, and what it
hands around is hashed as content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from anymask.data.annotations import AnnotatedImage
from anymask.evaluation.baselines import REGION_METHODS
from anymask.evaluation.instance_ap import DETECTIONS_FILE as DETECTIONS
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.evaluation.set_results import MethodResult, result_from_json, result_to_json
from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.rle import rle_to_string
from anymask.primitives.storage import write_json
from anymask.primitives.types import Floats, IntArray

_IMPORT = re.compile(r"^\s*from (anymask\.(?:evaluation|primitives)\.\w+) import", re.MULTILINE)
_CARRIERS = {
    f"anymask.evaluation.{name}"
    for name in (
        "adapters",
        "hard_scenes",
        "measures",
        "report",
        "selection",
        "set_results",
        "suite",
    )
}

Reader = Callable[[str], str]  # a module's name -> its source


class ScoreCache:
    """Scores under a folder, one file a method; lines are only ever added."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._known: dict[str, dict[str, Floats]] = {}

    def keys(
        self, method: str, names: Sequence[str], code: str, sample: AnnotatedImage, masks: IntArray
    ) -> list[str]:
        """A key for each mask of a photo; `code` is that of `score_code`."""
        start = hashlib.sha256(sample.content())
        ignore = rle_to_string(sample.ignore) if sample.ignore is not None else ""
        words = [code, cv2.__version__, *_versions(method), method, *names, ignore]
        start.update("\n".join(words).encode())
        keys = []
        for mask in masks:
            key = start.copy()
            key.update(rle_to_string(sample.rles[int(mask)]).encode())
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

    def set_key(self, what: str, code: str, one: EvalSet, settings: EvalSettings) -> str:
        """The key of a measure (`what` names method and measure) of a set."""
        chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
        key = hashlib.sha256()
        groups = Path(settings.groups).read_text("utf-8") if settings.groups else ""
        words = [code, cv2.__version__, *_versions(what), what, repr(settings), groups]
        words.append(_hash_detections(one))
        key.update("\n".join(words).encode())
        for place in np.unique(chosen.image):
            key.update(one.samples[int(place)].content())
            key.update(_truth_to_bytes(one.samples[int(place)], chosen.mask[chosen.image == place]))
        return key.hexdigest()[:32]

    def get_found(self, key: str) -> MethodResult | None:
        """What was kept under a key, or None."""
        path = self._folder / "sets" / f"{key}.json"
        try:
            return result_from_json(parse_json(path.read_bytes(), path))
        except (OSError, DataError, ValueError, KeyError, TypeError):  # absent, or cut
            return None

    def put_found(self, key: str, found: MethodResult) -> None:
        """Keep a result under a key, whole or not at all."""
        path = self._folder / "sets" / f"{key}.json"
        write_json(path, result_to_json(found))

    def _of(self, method: str) -> dict[str, Floats]:
        if method not in self._known:
            self._known[method] = dict(_read_lines(self._path(method)))
        return self._known[method]

    def _path(self, method: str) -> Path:
        return self._folder / f"{method.replace(' ', '_')}.jsonl"


def _truth_to_bytes(sample: AnnotatedImage, chosen: IntArray) -> bytes:
    """All that a set says of a photo: measures look at more than the chosen masks."""
    federated = sample.benchmark.federated
    words = [
        repr(chosen.tolist()),
        *(
            repr((rle_to_string(mask.rle), mask.label, mask.annotator, mask.drawn_box, mask.crowd))
            for mask in sample.masks
        ),
        *map(rle_to_string, sample.benchmark.boundaries),
        repr(federated and (sorted(federated.absent), sorted(federated.partial))),
    ]
    return "\n".join(words).encode()


def _hash_detections(one: EvalSet) -> str:
    """The boxes of a detector, which lie beside a set."""
    path = one.info.folder / DETECTIONS
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _versions(method: str) -> list[str]:
    """Of the packages besides OpenCV that a method computes with."""
    if not method.startswith(REGION_METHODS):
        return []
    return [metadata.version("scikit-image")]


def _read_lines(path: Path) -> list[tuple[str, Floats]]:
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, values = parse_json(line, path)
            rows.append((str(key), np.array(values, np.float64)))
        except (DataError, ValueError, TypeError):  # the run was stopped in the middle of a line
            continue
    return rows


# The code behind a score: the module of a measure, those that it imports, and so on.


def score_code(method: object, measure: str) -> str:
    """The hash of the code behind a baseline's scores by a measure.

    method  with `function` and perhaps `prepare`, as every baseline has
    """
    functions = [getattr(method, name, None) for name in ("function", "prepare")]
    own = sorted({str(one.__module__) for one in functions if hasattr(one, "__module__")})
    function = MEASURES[measure].function
    root = "anymask.evaluation.mask_measures" if function is None else function.__module__
    return code_hash(root, *own)


def code_hash(root: str, *others: str, read: Reader | None = None) -> str:
    """The hash of a module with all that it computes with, and of other modules alone."""
    read = read or module_source
    texts = {name: read(name) for name in (root, *others)}
    waiting = [root]
    while waiting:
        for name in _IMPORT.findall(texts[waiting.pop()]):
            if name not in texts and name not in _CARRIERS:
                texts[name] = read(name)
                waiting.append(name)
    key = hashlib.sha256()
    for name in sorted(texts):
        key.update(f"{name}\n{texts[name]}\n".encode())
    return key.hexdigest()[:16]


@cache
def module_source(name: str) -> str:
    """A module's source; "" where it has none, as in an interpreter's prompt."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # __main__
        return ""
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return Path(spec.origin).read_text(encoding="utf-8", errors="replace")
