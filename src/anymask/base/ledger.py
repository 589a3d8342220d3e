"""Records of finished work: whether something is done already, and from where a run resumes.

A `Ledger` is a file of JSON lines, a row for each finished part of a run. A `Stamp` is a small file
beside an output that tells what the output was made of. Runs whose records are queried (sessions of
videos, windows of maps) keep them in SQLite, and files that name their own source need no record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anymask.base.parsing import parse_json
from anymask.base.storage import write_whole


class Ledger:
    """Rows of finished work, from which an interrupted run resumes.

    The first line says what the rows depend on. A line that a kill has cut off is ignored, and
    replaced by the next row.

    Args:
        path: File, which is made with its folder when the first row is added.

    Attributes:
        head: The first line; empty where there is none.
        rows: The other lines.

    Raises:
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        written = path.read_bytes() if path.is_file() else b""
        self._end = written.rfind(b"\n") + 1
        self.head, *self.rows = written[: self._end].splitlines() or [b""]

    def restart(self) -> None:
        """Forget all rows; the next one begins a new file."""
        self._end, self.head, self.rows = 0, b"", []

    def add(self, row: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        """Append a row, in a new file behind this head; it is on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row] if self._end else [head, row]
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(data)
        self._end += len(data)


class Stamp:
    """A file that tells what an output was made of, as a hash that reveals nothing else.

    Args:
        path: Of the stamp, usually a hidden file beside the output.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def notes(self, facts: Sequence[Any]) -> list[Any] | None:
        """The notes of an output that was made of these facts; None of any other, or of none."""
        if not self.path.is_file():
            return None
        digest, _, notes = self.path.read_text("utf-8").partition("\n")
        return list(parse_json(notes or "[]", self.path)) if digest == facts_hash(facts) else None

    def begin(self) -> None:
        """The output is being written, and not whole."""
        write_whole(self.path, "begun")

    def end(self, facts: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        """The output is whole."""
        write_whole(self.path, f"{facts_hash(facts)}\n{json.dumps(notes)}")


def facts_hash(facts: Sequence[Any]) -> str:
    """The sha256 of facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """The sha256 of a file's bytes; empty where there is no file. Raises OSError."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
