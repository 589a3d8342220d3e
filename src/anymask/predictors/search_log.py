"""The log of an automatic search: batches of clicks in, a file that a killed search resumes from.

The file has a line of JSON that says what is searched, how and by which model, then a line for each
batch: the masks that passed, and what adaptive mode learned of its grid. It is removed when the
search is done. A line that was cut off by the kill is asked again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.records import MaskRecord
from anymask.primitives.tiles import Window
from anymask.primitives.types import BoolArray

FORMAT = 1
KEY_DIGITS = 32


@dataclass(frozen=True)
class Lesson:
    """What adaptive mode learns from one mask.

    on      (N,) which clicks of the grid lie on it
    place   of the click that found it
    value   0..1, how much of what is wanted it has
    area    of the picture, 0..1
    """

    on: BoolArray
    place: int
    value: float
    area: float


@dataclass(frozen=True)
class LoggedBatch:
    """What the clicks of one batch led to."""

    records: list[MaskRecord]
    lessons: list[Lesson]


class SearchLog:
    """The batches of one search, in memory and in a file.

    path   of the file, which appears with the first batch
    about  what the search depends on; a file of another search is begun anew
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self._head = json.dumps({"format": FORMAT, **about}, sort_keys=True).encode() + b"\n"
        self._file: BinaryIO | None = None
        self._known = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            head, *lines = self.path.read_bytes().splitlines(keepends=True)
        except (OSError, ValueError):
            return {}
        if head != self._head:
            return {}
        known: dict[str, dict[str, Any]] = {}
        for line in lines:
            with contextlib.suppress(DataError, LookupError, TypeError):
                row = parse_json(line, self.path)
                known[str(row["key"])] = row
        return known

    def recall(self, key: str) -> LoggedBatch | None:
        """A batch that was kept; None for one that was not, or that cannot be read."""
        if key not in self._known:
            return None
        row = self._known[key]
        try:
            records = [MaskRecord.from_sa1b(record) for record in row["records"]]
            return LoggedBatch(records, [_read_lesson(lesson) for lesson in row["lessons"]])
        except (DataError, ValueError, LookupError, TypeError):
            return None

    def keep(self, key: str, batch: LoggedBatch) -> None:
        """Write a batch down. Raises OSError."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab" if self._known else "wb")
            self._file.write(b"\n" if self._known else self._head)  # behind a line that was cut off
        row = {
            "key": key,
            "records": [record.to_sa1b() for record in batch.records],
            "lessons": [_lesson_to_json(lesson) for lesson in batch.lessons],
        }
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def close(self, *, done: bool) -> None:
        """Let go of the file, and remove it where the search is done."""
        if self._file is not None:
            self._file.close()
        if done:
            self.path.unlink(missing_ok=True)


def batch_key(image_hash: str, window: Window, clicks: NDArray[np.float64]) -> str:
    """Names the clicks (N, 2) of a batch and the pixels that they are about."""
    digest = hashlib.sha256(f"{image_hash} {window}".encode())
    digest.update(np.ascontiguousarray(clicks).tobytes())
    return digest.hexdigest()[:KEY_DIGITS]


def _lesson_to_json(lesson: Lesson) -> dict[str, Any]:
    bits = base64.b64encode(np.packbits(lesson.on).tobytes()).decode()
    about = {"place": lesson.place, "value": lesson.value, "area": lesson.area}
    return {"on": bits, "count": len(lesson.on), **about}


def _read_lesson(row: Mapping[str, Any]) -> Lesson:
    bits = np.frombuffer(base64.b64decode(row["on"]), np.uint8)
    on = np.unpackbits(bits, count=int(row["count"])).astype(np.bool_)
    return Lesson(on, int(row["place"]), float(row["value"]), float(row["area"]))
