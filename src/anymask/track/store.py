"""Session storage: prompts, masks and tracker states in one SQLite file.

`commit` writes pending changes together with the tracker states. After a crash, masks and states in
the file belong to the same frame.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, InputError, parse_json, read_arrays
from anymask.masks import Prompt, Rle, rle_to_string, string_to_rle
from anymask.track.confidence import TrackMonitor
from anymask.track.records import ObjectMask

SESSION_FORMAT = "anymask video session 1"
SESSION_TABLES = """
create table if not exists about (name text primary key, value text);
create table if not exists objects (object integer primary key);
create table if not exists prompts (
    object integer, frame integer, prompt text, earlier text, primary key (object, frame));
create table if not exists masks (
    object integer, frame integer, mask text, score real, quality real, state text, doubts text,
    prompted integer, primary key (object, frame)) without rowid;
create index if not exists masks_of_a_frame on masks (frame);
create table if not exists states (
    object integer, backward integer, frame integer, arrays blob, watch text,
    primary key (object, backward));
create table if not exists looks (frame integer primary key, size text, cells blob);
"""


@dataclass(frozen=True, eq=False)
class StoredState:
    """Tracker state after a frame, in the store as arrays, and the history of the object."""

    frame: int
    state: Any
    monitor: TrackMonitor


class SessionStore:
    """Session file, or without a path a temporary SQLite file.

    Any thread may use it, but only one at a time. Raises DataError if the file is not a session.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._closed = False
        try:
            self._base = sqlite3.connect("" if path is None else str(path), check_same_thread=False)
            self._base.executescript(SESSION_TABLES)
        except sqlite3.OperationalError as error:  # the file could not be opened
            raise DataError(
                f"Cannot open the session {str(path)!r}. Check the folder and its permissions, or "
                "choose another session file."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path} is not a session file of anymask. Choose another session file."
            ) from error
        if (held := self.about("format")) not in (None, SESSION_FORMAT):
            raise DataError(
                f"{path} has the format {held[:60]!r}, but this version reads {SESSION_FORMAT!r}. "
                "Choose another session file."
            )
        self.tell("format", SESSION_FORMAT)

    def _execute(self, words: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement with NumPy scalars converted to Python numbers, and return its rows.

        Raises InputError after `close`, DataError if SQLite fails.
        """
        if self._closed:
            raise InputError(
                "This session is closed. Use it inside its `with` block, or store it in a file "
                "(model.track(source, session=FILE)) and open it again."
            )
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        try:
            return self._base.execute(words, plain).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _read(
        self,
        words: str,
        values: Sequence[object],
        kinds: Sequence[Any],
        make: Callable[..., Any] = lambda value: value,
    ) -> list[Any]:
        """Results of `make` for the rows of a query.

        Raises DataError if a value is not of its type in `kinds`, or `make` fails.
        """
        rows = self._execute(words, values)
        try:
            if not all(all(map(isinstance, row, kinds)) for row in rows):
                raise TypeError("a value has another type")
            return [make(*row) for row in rows]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"The session {str(self.path)!r} is corrupted. Choose another session file, or "
                "delete this one."
            ) from error

    def _failed(self, error: sqlite3.Error) -> DataError:
        return DataError(
            f"Cannot read or write the session {str(self.path or 'in a temporary file')!r}. Check "
            "that no other process uses it, that the file is whole, and that the disk is not full."
        )

    def about(self, name: str) -> str | None:
        """Value written by `tell`, or None."""
        return next(
            iter(self._read("select value from about where name = ?", (name,), [str])), None
        )

    def tell(self, name: str, value: str) -> None:
        """Write a named value of the session."""
        self._execute("insert or replace into about values (?, ?)", (name, value))

    def check_tracker(self, name: str) -> None:
        """Store the tracker's name. Raises InputError if another tracker created the session."""
        if (held := self.about("tracker")) not in (None, name):
            raise InputError(
                f"{self.path} was created with {held}, which is not compatible with {name}. Load "
                "the same model, or choose another session file."
            )
        self.tell("tracker", name)

    # ---------------------------------------------------------------------------------- objects

    def objects(self) -> list[int]:
        """Numbers of the objects, in order."""
        return self._read("select object from objects order by object", (), [int])

    def remove_object(self, number: int) -> None:
        """Delete an object with its prompts, masks and states."""
        for table in ("objects", "prompts", "masks", "states"):
            self._execute(f"delete from {table} where object = ?", (number,))

    # ---------------------------------------------------------------------------------- prompts

    def write_prompt(self, number: int, frame: int, prompt: Prompt, earlier: Rle | None) -> None:
        """Write a prompt. Replaces an earlier prompt of the object on this frame.

        Args:
            earlier: Mask of the object on the frame before the prompt.
        """
        self._execute("insert or ignore into objects values (?)", (number,))
        before = None if earlier is None else _rle_text(earlier)
        self._execute(
            "insert or replace into prompts values (?, ?, ?, ?)",
            (number, frame, json.dumps(prompt.to_json()), before),
        )

    def prompt(self, number: int, frame: int) -> tuple[Prompt, Rle | None] | None:
        """Prompt of an object on a frame, and its mask before the prompt, or None."""
        rows = self._read(
            "select prompt, earlier from prompts where object = ? and frame = ?",
            (number, frame),
            [str, str | None],
            lambda prompt, earlier: (
                Prompt.from_json(parse_json(prompt, "a prompt")),
                None if earlier is None else _text_rle(earlier),
            ),
        )
        return rows[0] if rows else None

    def drop_prompt(self, number: int, frame: int) -> None:
        """Delete a prompt."""
        self._execute("delete from prompts where object = ? and frame = ?", (number, frame))

    def prompted_frames(self, number: int | None = None) -> list[int]:
        """Frames with prompts of an object, or of any object, in order."""
        return self._read(
            "select distinct frame from prompts where ? is null or object = ? order by frame",
            (number, number),
            [int],
        )

    # ------------------------------------------------------------------------------------ masks

    def write_mask(self, number: int, frame: int, one: ObjectMask) -> None:
        """Write the mask of an object on a frame."""
        self._execute(
            "insert or replace into masks values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number, frame, _rle_text(one.rle), one.score, one.quality, one.state,
                " ".join(one.doubts), int(one.prompted),
            ),
        )  # fmt: skip

    def masks(self, frame: int) -> dict[int, ObjectMask]:
        """Stored masks of a frame by object number."""
        return dict(
            self._read(
                "select object, mask, score, quality, state, doubts, prompted from masks "
                "where frame = ? order by object",
                (frame,),
                [int, str, float, float, str, str, int],
                _masked,
            )
        )

    def followed(self, frame: int) -> set[int]:
        """Numbers of the objects with a stored mask on a frame."""
        return set(self._read("select object from masks where frame = ?", (frame,), [int]))

    def stretches(self, number: int) -> list[tuple[int, int]]:
        """Contiguous frame ranges with masks of an object, as (first, last)."""
        return self._read(
            "select min(frame), max(frame) from (select frame, frame - row_number() over "
            "(order by frame) as place from masks where object = ?) group by place order by 1",
            (number,),
            [int, int],
            lambda first, last: (first, last),
        )

    def drop_masks(self, number: int, first: int, last: int | None) -> None:
        """Delete the masks of an object on a range of frames. `last` None: to the end."""
        self._execute(
            "delete from masks where object = ? and frame >= ? and (? is null or frame <= ?)",
            (number, first, last, last),
        )

    def frames_to_review(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """Low-confidence masks to review, as (frame, object, doubts), in order."""
        return self._read(
            "select frame, object, doubts from masks where doubts != '' and not prompted "
            "order by frame, object",
            (),
            [int, int, str],
            lambda frame, number, doubts: (frame, number, tuple(doubts.split())),
        )

    def frames(self) -> list[int]:
        """Frames with masks, in order."""
        return self._read("select distinct frame from masks order by frame", (), [int])

    # ------------------------------------------------------------------------------------ looks

    def write_fingerprint(self, frame: int, size: str, cells: bytes) -> None:
        """Write the fingerprint of a frame: its size, and gray cells."""
        self._execute("insert or replace into looks values (?, ?, ?)", (frame, size, cells))

    def looks(self) -> list[tuple[int, str, bytes]]:
        """Fingerprints of frames as (frame, size, cells); -1 for the first readable frame."""
        first = self._read(
            "select value from about where name = 'look'", (), [str], _first_fingerprint
        )
        words = "select frame, size, cells from looks order by frame"
        return first + self._read(words, (), [int, str, bytes], lambda *row: row)

    # ----------------------------------------------------------------------------------- states

    def write_state(self, number: int, backward: bool, state: StoredState) -> None:
        """Write the state of an object after a frame."""
        held = io.BytesIO()
        np.savez(held, **state.state)
        past = state.monitor
        monitor = json.dumps([past.areas, past.center, past.missing])
        self._execute(
            "insert or replace into states values (?, ?, ?, ?, ?)",
            (number, int(backward), state.frame, held.getvalue(), monitor),
        )

    def states(self) -> list[tuple[int, bool, StoredState]]:
        """All stored states as (object, backward, state)."""
        words = "select object, backward, frame, arrays, watch from states"
        return self._read(words, (), [int, int, int, bytes, str], _stated)

    def drop_states(self) -> None:
        """Delete all states."""
        self._execute("delete from states")

    def commit(self) -> None:
        """Commit all changes."""
        try:
            self._base.commit()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file. Changes that are not committed are lost."""
        self._closed = True
        self._base.close()


def _first_fingerprint(text: str) -> tuple[int, str, bytes]:
    """Fingerprint that version 0.1 stored."""
    height, width, *cells = parse_json(text, "a look")
    return -1, f"{height} {width}", bytes(cells)


def _masked(
    number: int, mask: str, score: float, quality: float, state: Any, doubts: Any, prompted: int
) -> tuple[int, ObjectMask]:
    return number, ObjectMask(
        _text_rle(mask), score, quality, state, tuple(doubts.split()), bool(prompted)
    )


def _stated(
    number: int, backward: int, frame: int, held: bytes, monitor: str
) -> tuple[int, bool, StoredState]:
    areas, center, missing = parse_json(monitor, "a state")
    past = TrackMonitor(tuple(areas), tuple(center), missing)
    return number, bool(backward), StoredState(frame, read_arrays(io.BytesIO(held)), past)


def _rle_text(rle: Rle) -> str:
    return f"{rle.size[0]} {rle.size[1]} {rle_to_string(rle)}"


def _text_rle(text: str) -> Rle:
    height, width, counts = text.split(" ", 2)
    return string_to_rle(counts, (int(height), int(width)))
