"""Session storage: prompts, masks and tracker states in one SQLite file.

`commit` writes pending changes together with the tracker states. After a crash, masks and states in
the file belong to the same frame.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anymask.base import DataError, InputError, parse_json, read_arrays
from anymask.masks import Prompt, Rle, rle_to_string, string_to_rle
from anymask.track.monitor import TrackMonitor
from anymask.track.records import ObjectMask, StateArrays

FORMAT = "anymask video session 1"
TABLES = """
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
"""


@dataclass(frozen=True, eq=False)
class StoredState:
    """Tracker state after a frame as arrays, and the history of the object."""

    frame: int
    arrays: StateArrays
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
            place = "" if path is None else str(path)
            self._base = sqlite3.connect(place, check_same_thread=False)
            self._base.executescript(TABLES)
            held = self.about("format")
        except sqlite3.OperationalError as error:  # the file could not be opened
            raise DataError(
                f"Cannot open the session {str(path)!r}. Check the folder and its permissions, or "
                "choose another session file."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path} is not a session file of anymask. Choose another session file."
            ) from error
        if held not in (None, FORMAT):
            raise DataError(
                f"{path} has the format {held!r}, but this version reads {FORMAT!r}. Choose "
                "another session file."
            )
        self.tell("format", FORMAT)

    def _execute(self, words: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run a statement, with NumPy scalars converted to Python numbers.

        Raises InputError after `close`, DataError if SQLite fails.
        """
        if self._closed:
            raise InputError(
                "This session is closed. Use it inside its `with` block, or store it in a file "
                "(model.track(source, session=FILE)) and open it again."
            )
        plain = [one.item() if isinstance(one, np.generic) else one for one in values]
        try:
            return self._base.execute(words, plain)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> DataError:
        return DataError(
            f"Cannot read or write the session {str(self.path or 'in a temporary file')!r}. Check "
            "that no other process uses it and that the disk is not full."
        )

    def about(self, name: str) -> str | None:
        """Value written by `tell`, or None."""
        row = self._execute("select value from about where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def tell(self, name: str, value: str) -> None:
        """Write a named value of the session."""
        self._execute("insert or replace into about values (?, ?)", (name, value))

    def check_tracker(self, name: str) -> None:
        """Store the tracker's name. Raises InputError if another tracker created the session."""
        held = self.about("tracker")
        if held is not None and held != name:
            raise InputError(
                f"{self.path} was created with {held}, which is not compatible with {name}. Load "
                "the same model, or choose another session file."
            )
        self.tell("tracker", name)

    # ---------------------------------------------------------------------------------- objects

    def objects(self) -> list[int]:
        """Numbers of the objects, in order."""
        rows = self._execute("select object from objects order by object")
        return [number for (number,) in rows]

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
        row = self._execute(
            "select prompt, earlier from prompts where object = ? and frame = ?", (number, frame)
        ).fetchone()
        if row is None:
            return None
        prompt = Prompt.from_json(parse_json(row[0], "a prompt"))
        return prompt, None if row[1] is None else _text_rle(row[1])

    def drop_prompt(self, number: int, frame: int) -> None:
        """Delete a prompt."""
        self._execute("delete from prompts where object = ? and frame = ?", (number, frame))

    def prompted_frames(self, number: int | None = None) -> list[int]:
        """Frames with prompts of an object, or of any object, in order."""
        rows = self._execute(
            "select distinct frame from prompts where ? is null or object = ? order by frame",
            (number, number),
        )
        return [frame for (frame,) in rows]

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
        rows = self._execute(
            "select object, mask, score, quality, state, doubts, prompted from masks "
            "where frame = ? order by object",
            (frame,),
        )
        return {
            number: ObjectMask(
                _text_rle(mask), score, quality, state, tuple(doubts.split()), bool(prompted)
            )
            for number, mask, score, quality, state, doubts, prompted in rows
        }

    def followed(self, frame: int) -> set[int]:
        """Numbers of the objects with a stored mask on a frame."""
        rows = self._execute("select object from masks where frame = ?", (frame,))
        return {number for (number,) in rows}

    def stretches(self, number: int) -> list[tuple[int, int]]:
        """Contiguous frame ranges with masks of an object, as (first, last)."""
        rows = self._execute(
            "select min(frame), max(frame) from (select frame, frame - row_number() over "
            "(order by frame) as place from masks where object = ?) group by place order by 1",
            (number,),
        )
        return [(first, last) for first, last in rows]

    def drop_masks(self, number: int, first: int, last: int | None) -> None:
        """Delete the masks of an object on a range of frames. `last` None: to the end."""
        self._execute(
            "delete from masks where object = ? and frame >= ? and (? is null or frame <= ?)",
            (number, first, last, last),
        )

    def doubtful(self) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Low-confidence masks to review, as (frame, object, doubts), in order."""
        rows = self._execute(
            "select frame, object, doubts from masks where doubts != '' and not prompted "
            "order by frame, object"
        )
        for frame, number, doubts in rows:
            yield frame, number, tuple(doubts.split())

    def frames(self) -> list[int]:
        """Frames with masks, in order."""
        rows = self._execute("select distinct frame from masks order by frame")
        return [frame for (frame,) in rows]

    # ----------------------------------------------------------------------------------- states

    def write_state(self, number: int, backward: bool, state: StoredState) -> None:
        """Write the state of an object after a frame."""
        held = io.BytesIO()
        np.savez(held, **dict(state.arrays))  # type: ignore[arg-type]  # stub mixes up allow_pickle
        past = state.monitor
        monitor = json.dumps([past.areas, past.centre, past.missing])
        self._execute(
            "insert or replace into states values (?, ?, ?, ?, ?)",
            (number, int(backward), state.frame, held.getvalue(), monitor),
        )

    def states(self) -> Iterator[tuple[int, bool, StoredState]]:
        """Yield all stored states as (object, backward, state)."""
        rows = self._execute("select object, backward, frame, arrays, watch from states")
        for number, backward, frame, held, monitor in rows:
            areas, centre, missing = parse_json(monitor, "a state")
            past = TrackMonitor(tuple(areas), tuple(centre), missing)
            arrays = read_arrays(io.BytesIO(held))
            yield number, bool(backward), StoredState(frame, arrays, past)

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


def _rle_text(rle: Rle) -> str:
    return f"{rle.size[0]} {rle.size[1]} {rle_to_string(rle)}"


def _text_rle(text: str) -> Rle:
    height, width, counts = text.split(" ", 2)
    return string_to_rle(counts, (int(height), int(width)))
