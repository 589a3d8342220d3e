"""Log of a search, from which an interrupted search resumes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, Floats, brief, ledger, parse_json
from anymask.masks import Mask, Window
from anymask.segment.everything.grid import Observation

FORMAT = 1


@brief
@dataclass(frozen=True)
class LoggedBatch:
    """Masks and observations of one batch of clicks."""

    records: list[Mask]
    observations: list[Observation]


class SearchLog:
    """Log of the batches of a search, from which an interrupted search resumes.

    The file has a JSON header that identifies the image, settings and model, then one line per
    batch with the accepted masks and the observations of the adaptive mode. The caller removes it
    when the masks are stored. An incomplete line is ignored, and its batch is decoded again.

    Args:
        path: File of the log, created with the first batch.
        about: Identity of the search. The file of another search is overwritten.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._ledger = ledger.Ledger(path)
        self._head = json.loads(json.dumps({"format": FORMAT, **about}, sort_keys=True))
        self._known: dict[str, dict[str, Any]] = {}
        if self._ledger.head != json.dumps(self._head).encode():
            self._ledger.restart()
        for line in self._ledger.rows:
            with contextlib.suppress(DataError, LookupError, TypeError):
                row = parse_json(line, path)
                self._known[str(row["key"])] = row

    def recall(self, key: str) -> LoggedBatch | None:
        """Return a logged batch, or None if it is missing or invalid."""
        if key not in self._known:
            return None
        row, observations = self._known[key], []
        try:
            records = [Mask.from_sa1b(record) for record in row["records"]]
            for lesson in row["lessons"]:
                bits = np.frombuffer(base64.b64decode(lesson["on"]), np.uint8)
                on = np.unpackbits(bits, count=int(lesson["count"])).astype(np.bool_)
                about = int(lesson["place"]), float(lesson["value"]), float(lesson["area"])
                observations.append(Observation(on, *about))
        except (DataError, ValueError, LookupError, TypeError):
            return None
        return LoggedBatch(records, observations)

    def keep(self, key: str, batch: LoggedBatch) -> None:
        """Append a batch to the log.

        Raises:
            OSError: The file cannot be written.
        """
        observations = [
            {
                "on": base64.b64encode(np.packbits(observation.on).tobytes()).decode(),
                "count": len(observation.on),
                "place": observation.place,
                "value": observation.value,
                "area": observation.area,
            }
            for observation in batch.observations
        ]
        records = [record.to_sa1b() for record in batch.records]
        self._ledger.add({"key": key, "records": records, "lessons": observations}, self._head)


def batch_key(image_hash: str, window: Window, clicks: Floats) -> str:
    """Hash of the clicks (N, 2) of a batch, the window and the image."""
    digest = hashlib.sha256(f"{image_hash} {window}".encode())
    digest.update(np.ascontiguousarray(clicks).tobytes())
    return digest.hexdigest()[:32]
