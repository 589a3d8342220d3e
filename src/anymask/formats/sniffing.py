"""What formats look at to recognise a file or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from anymask.formats.documents import read_json, read_xml


class Fit(IntEnum):
    """How well a file or folder fits a format; MAYBE yields to any SURE and to published sets."""

    NO = 0
    MAYBE = 1
    SURE = 2

    @classmethod
    def sure(cls, found: bool) -> Fit:
        """SURE or NO."""
        return cls.SURE if found else cls.NO


@dataclass(frozen=True)
class Sniffed:
    """A file or a folder, whose contents are read once, when a format asks."""

    path: Path

    @cached_property
    def suffix(self) -> str:
        """In lower case, with its dot; "" of a folder."""
        return "" if self.path.is_dir() else self.path.suffix.lower()

    @cached_property
    def document(self) -> Any:
        """Of a JSON file; None of any other. Raises DataError."""
        return read_json(self.path) if self.suffix == ".json" else None

    @property
    def keys(self) -> frozenset[str]:
        """Of a JSON file that is one object; none of any other."""
        return frozenset(self.document if isinstance(self.document, dict) else ())

    @cached_property
    def first(self) -> dict[str, Any] | None:
        """The first record of a JSON file that is a list of objects; {} where the list is empty."""
        if not isinstance(self.document, list):
            return None
        first = self.document[0] if self.document else {}
        return first if isinstance(first, dict) else None

    @cached_property
    def root_tag(self) -> str:
        """Of an XML file; "" of any other. Raises DataError."""
        return str(read_xml(self.path).tag) if self.suffix == ".xml" else ""
