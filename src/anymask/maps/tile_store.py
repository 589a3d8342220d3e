"""Work file of a run next to its output: results of each window of a map, saved continuously.

SQLite with one transaction per window, so that a killed process loses only the current window.
All outlines are in the file, only those of a few windows in memory. A run with other settings,
another model or another map restarts.

Outlines are in scene pixels. Tables: fragments are results of one window, objects are merged
fragments.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import shapely

from anymask.base import DataError, InputError
from anymask.formats import located
from anymask.masks import Window

Bounds = tuple[float, float, float, float]

_TABLES = """
CREATE TABLE about (text TEXT);
CREATE TABLE looked (look TEXT PRIMARY KEY);
CREATE TABLE fragment (id INTEGER PRIMARY KEY, window TEXT, outline BLOB, cut INTEGER, score REAL,
  rank REAL, label TEXT, prompt TEXT, x REAL, y REAL, parent INTEGER);
CREATE INDEX fragment_window ON fragment (window);
CREATE TABLE object (id INTEGER PRIMARY KEY, outline BLOB, score REAL, rank REAL, label TEXT,
  prompt TEXT, windows TEXT, shape BLOB, area REAL, number INTEGER);
CREATE INDEX object_number ON object (number);
CREATE VIRTUAL TABLE place USING rtree (id, x0, x1, y0, y1);
"""
_FIELDS = "id, window, outline, cut, score, rank, label, prompt, x, y, parent"


@dataclass(frozen=True, eq=False)
class Fragment:
    """Object in one window, or the part of it inside the window."""

    window: Window
    outline: shapely.Geometry
    cut: bool  # Whether it touches a window border inside the map
    score: float
    rank: float
    label: str | None
    prompt: str
    click: tuple[float, float]  # Point (x, y) inside the object
    # Cut fragment that this one replaces; None for results of the first pass
    parent: int | None = None
    id: int = 0

    @property
    def bounds(self) -> Bounds:
        """Bounding box in scene pixels, along pixel borders."""
        return bounds_of(self.outline)


@dataclass(frozen=True, eq=False)
class MapObject:
    """One object of a map."""

    outline: shapely.Geometry
    score: float
    rank: float
    label: str | None
    prompt: str
    windows: frozenset[str] = frozenset()  # Windows that contain it
    shape: shapely.Geometry | None = None  # Outline to write, simplified or right-angled
    area: float = 0.0  # Area of the shape in square meters
    number: int = 0  # Number from 1, in output order
    id: int = 0


def bounds_of(outline: shapely.Geometry) -> Bounds:
    """Bounding box x0, y0, x1, y1."""
    x0, y0, x1, y1 = shapely.bounds(outline).tolist()
    return x0, y0, x1, y1


class TileStore:
    """Open work file. Created by `open_worksheet`."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self.base = base
        self.fragments = lru_cache(64)(self._fragments)

    def is_finished(self, step: str) -> bool:
        """Whether a step is finished."""
        return (
            self.base.execute("SELECT 1 FROM looked WHERE look = ?", [step]).fetchone() is not None
        )

    def keep(self, step: str, found: Sequence[Fragment]) -> None:
        """Write the results of a finished step."""
        rows = [
            (
                key_of(fragment.window),
                shapely.to_wkb(fragment.outline),
                fragment.cut,
                fragment.score,
                fragment.rank,
                fragment.label,
                fragment.prompt,
                *fragment.click,
                fragment.parent,
            )
            for fragment in found
        ]
        with self.base:
            self.base.executemany(f"INSERT INTO fragment VALUES (NULL{', ?' * 10})", rows)
            self.base.execute("INSERT INTO looked VALUES (?)", [step])

    def _fragments(self, window: Window) -> list[Fragment]:
        """Fragments of a window from the first pass."""
        text = f"SELECT {_FIELDS} FROM fragment WHERE window = ? AND parent IS NULL ORDER BY id"
        return [_fragment(row) for row in self.base.execute(text, [key_of(window)])]

    def fragment(self, number: int) -> Fragment:
        """Read one fragment by ID."""
        text = f"SELECT {_FIELDS} FROM fragment WHERE id = ?"
        return _fragment(self.base.execute(text, [number]).fetchone())

    def reprompted(self) -> Iterator[Fragment]:
        """Fragments that replace cut ones, from the second pass."""
        text = f"SELECT {_FIELDS} FROM fragment WHERE parent IS NOT NULL ORDER BY id"
        return map(_fragment, self.base.execute(text))

    def prompts_of(self, table: Literal["fragment", "object"]) -> Counter[str]:
        """Number of rows per prompt text. For objects, only those that are written."""
        where = " WHERE number IS NOT NULL" if table == "object" else ""
        rows = self.base.execute(f"SELECT prompt, COUNT(*) FROM {table}{where} GROUP BY prompt")
        return Counter(dict(rows))

    # Objects.

    def clear_objects(self) -> None:
        """Delete all objects, before they are computed again from the fragments."""
        with self.base:
            self.base.execute("DELETE FROM object")
            self.base.execute("DELETE FROM place")

    def add_objects(self, objects: Iterable[MapObject]) -> None:
        """Add candidate objects."""
        rows = (
            (
                shapely.to_wkb(map_object.outline),
                map_object.score,
                map_object.rank,
                map_object.label,
                map_object.prompt,
                " ".join(sorted(map_object.windows)),
            )
            for map_object in objects
        )
        with self.base:
            self.base.executemany(
                "INSERT INTO object (outline, score, rank, label, prompt, windows) "
                "VALUES (?, ?, ?, ?, ?, ?)", rows,
            )  # fmt: skip

    def best_first(self) -> Iterator[MapObject]:
        """All objects, highest rank first."""
        return self._objects("SELECT id FROM object ORDER BY rank DESC, id")

    def kept_within(self, bounds: Bounds) -> Iterator[MapObject]:
        """Kept objects whose boxes intersect these bounds."""
        x0, y0, x1, y1 = bounds
        text = "SELECT id FROM place WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ?"
        return self._objects(text, x0, x1, y0, y1)

    def mark_kept(self, map_object: MapObject) -> None:
        """Mark an object as kept."""
        x0, y0, x1, y1 = bounds_of(map_object.outline)
        self.base.execute(
            "INSERT INTO place VALUES (?, ?, ?, ?, ?)", [map_object.id, x0, x1, y0, y1]
        )

    def finish(self, map_object: MapObject) -> None:
        """Write the final shape, area and number of an object."""
        row = [
            shapely.to_wkb(map_object.shape), map_object.area, map_object.number, map_object.id,
        ]  # fmt: skip
        self.base.execute("UPDATE object SET shape = ?, area = ?, number = ? WHERE id = ?", row)

    def in_reading_order(self) -> Iterator[MapObject]:
        """Kept objects, from top to bottom."""
        return self._objects("SELECT id FROM place ORDER BY y0, x0, id")

    def finished(self) -> Iterator[MapObject]:
        """Objects to write, by number."""
        return self._objects("SELECT id FROM object WHERE number IS NOT NULL ORDER BY number")

    def in_rows(self, top: float, bottom: float) -> Iterator[MapObject]:
        """Objects in a range of scene rows, largest first."""
        order = (
            "SELECT object.id FROM place JOIN object USING (id) WHERE y1 >= ? AND y0 <= ? "
            "AND number IS NOT NULL ORDER BY area DESC"
        )
        margin = 64  # pixels; right-angled shapes may extend beyond the outline
        return self._objects(order, top - margin, bottom + margin)

    def _objects(self, query: str, *values: float) -> Iterator[MapObject]:
        """Read the objects whose IDs a query selects, one at a time."""
        text = (
            "SELECT outline, score, rank, label, prompt, windows, shape, area, number, id "
            "FROM object WHERE id = ?"
        )
        for selected in self.base.execute(query, values).fetchall():
            row = self.base.execute(text, selected).fetchone()
            with located("The work file of this map is corrupted. Delete it"):
                outline, score, rank, label, prompt, windows, shape, area, number, key = row
                keys = frozenset(windows.split())
                drawn = None if shape is None else _outline(shape)
                map_object = MapObject(
                    _outline(outline), float(score), float(rank), label, prompt, keys, drawn,
                    float(area or 0), int(number or 0), key,
                )  # fmt: skip
            yield map_object


@contextlib.contextmanager
def open_worksheet(output: Path, about: dict[str, Any]) -> Iterator[TileStore]:
    """Open the work file of an output, or start a new one. Deletes it on success.

    Raises InputError if another process uses it.

    Args:
        about: Settings that affect the fragments.
    """
    path = output.with_name(f".{output.name}.work")
    path.parent.mkdir(parents=True, exist_ok=True)
    base = sqlite3.connect(path, timeout=0)
    try:
        base.execute("PRAGMA locking_mode = EXCLUSIVE")
        text = json.dumps(about, sort_keys=True, default=str)
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
        known = (
            base.execute("SELECT text FROM about").fetchone() if "object_number" in tables else None
        )
        if known != (text,):
            # Create empty tables in one transaction.
            names = ("about", "looked", "fragment", "object", "place")
            drops = [f"DROP TABLE {name};" for name in names if name in tables]
            base.executescript(f"BEGIN EXCLUSIVE; {''.join(drops)} {_TABLES} COMMIT;")
            with base:
                base.execute("INSERT INTO about VALUES (?)", [text])
        base.execute("BEGIN EXCLUSIVE")
        base.commit()
        yield TileStore(base)
    except sqlite3.Error as error:
        if "locked" not in str(error):
            raise DataError(f"Cannot use the work file {path} ({error}). Delete it.") from error
        raise InputError(
            f"Another process is writing {str(output)!r}. Wait for it, or choose another output."
        ) from error
    finally:
        base.close()
    path.unlink()


def key_of(window: Window) -> str:
    """Text key of a window."""
    return ",".join(map(str, window))


def _fragment(row: tuple[Any, ...]) -> Fragment:
    with located("The work file of this map is corrupted. Delete it"):
        number, window, outline, cut, score, rank, label, prompt, x, y, parent = row
        x0, y0, x1, y1 = map(int, window.split(","))
        return Fragment(
            (x0, y0, x1, y1), _outline(outline), bool(cut), float(score), float(rank), label,
            prompt, (float(x), float(y)), parent, number,
        )  # fmt: skip


def _outline(data: bytes) -> shapely.Geometry:
    """Read the outline of an object. Raises DataError if it is not an area."""
    outline = shapely.from_wkb(data, on_invalid="ignore")
    if shapely.get_dimensions(outline) != 2 or not all(map(math.isfinite, bounds_of(outline))):
        raise DataError("an outline is corrupted")
    return outline
