"""Records of finished work, to resume an interrupted run.

A `Ledger` is a JSON Lines file with one row for each finished part of a run. A `Stamp` is a small
file beside an output that holds a hash of its inputs. Runs with queryable records (video sessions,
map windows) store them in SQLite; outputs that name their source need no record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anymask.base.errors import DataError
from anymask.base.parsing import parse_json, parse_text
from anymask.base.storage import file_sha256, write_whole


class Ledger:
    """Rows of finished work, from which an interrupted run resumes.

    The first line holds the inputs that the rows depend on. An incomplete last line is ignored and
    overwritten by the next row.

    Args:
        path: JSON Lines file. Created with its folder when the first row is added.

    Attributes:
        head: First line; empty if the file does not exist.
        rows: Remaining lines.

    Raises:
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        written = path.read_bytes() if path.is_file() else b""
        self._end = written.rfind(b"\n") + 1
        self.head, *self.rows = written[: self._end].splitlines() or [b""]

    def restart(self) -> None:
        """Discard all rows; the next row starts a new file."""
        self._end, self.head, self.rows = 0, b"", []

    def add(self, row: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        """Append a row and write it to disk; `head` becomes the first line of a new file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row] if self._end else [head, row]
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(data)
        self._end += len(data)


class Stamp:
    """File with a hash of the inputs of an output; the hash reveals nothing else.

    Args:
        path: Stamp file, usually a hidden file beside the output.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def notes(self, facts: Sequence[Any]) -> list[Any] | None:
        """Return the notes stored for these inputs; None if the stamp is missing or differs."""
        try:
            digest, _, text = parse_text(self.path.read_bytes(), self.path).partition("\n")
            notes = list(parse_json(text or "[]", self.path))
        except (FileNotFoundError, TypeError, DataError):  # missing or corrupted
            return None
        return notes if digest == facts_hash([*facts, *notes]) else None

    def begin(self) -> None:
        """Mark the output as incomplete."""
        write_whole(self.path, "begun")

    def end(self, facts: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        """Mark the output as complete."""
        write_whole(self.path, f"{facts_hash([*facts, *notes])}\n{json.dumps(notes)}")


def facts_hash(facts: Sequence[Any]) -> str:
    """Return the SHA-256 of JSON-serializable facts."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file; "" if it does not exist. Raises OSError."""
    return file_sha256(path) if path.is_file() else ""
