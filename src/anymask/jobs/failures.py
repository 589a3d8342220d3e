"""The error log of a folder job: failures in, one line of JSON for each out, written at once.

The file also says that somebody is at work: two runs of the same part would do everything twice.
Several machines may share an output folder, each with its `--shard` and a file of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anymask.base import ON_WINDOWS, InputError, lock_file
from anymask.jobs.photos import Division


@dataclass(frozen=True)
class PhotoFailure:
    """A photo, or a folder, that failed.

    photo   its path
    reason  for people: what was wanted, what came, the remedy
    kind    the error's class, for programs
    trace   the traceback where the error is nobody's fault but ours
    """

    photo: Path
    reason: str
    kind: str
    trace: str = ""

    def to_json(self) -> dict[str, str]:
        """A line of the log."""
        line = {"file": str(self.photo), "reason": self.reason, "kind": self.kind}
        return line | ({"traceback": self.trace} if self.trace else {})


def failures_name(division: Division) -> str:
    """`errors.jsonl`, or `errors-2-of-4.jsonl` for one machine of several."""
    middle = f"-{division.part}-of-{division.parts}" if division.parts > 1 else ""
    return f"errors{middle}.jsonl"


class FailureLog:
    """An open error log; `add` writes one line."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.count = 0

    def add(self, failure: PhotoFailure) -> None:
        """One photo (or folder) that failed."""
        self._file.write(json.dumps(failure.to_json()).encode() + b"\n")
        self._file.flush()
        self.count += 1


@contextlib.contextmanager
def failure_log(out: Path, division: Division) -> Iterator[FailureLog]:
    """The error log of one run, which replaces that of the last one; gone where nothing failed.

    Raises InputError where the folder cannot be made, or another run is at work in it.
    """
    path = out / failures_name(division)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"wanted a folder for the results, but {str(out)!r} or a part of it is a file; "
            "choose another output"
        ) from None
    with _open_itself(path) as file:
        # On Windows a lock would keep people from reading the file meanwhile.
        if not ON_WINDOWS and lock_file(file.fileno(), wait=False) == "taken":
            raise InputError(
                f"another run is at work in {str(out)!r}; wait for it, choose another output, or "
                "share the work: one machine with --shard 1/2, the other with --shard 2/2 (in "
                "Python shard=(1, 2) and shard=(2, 2))"
            )
        file.truncate(0)
        log = FailureLog(path, file)
        try:
            yield log
        finally:
            if not log.count:
                path.unlink(missing_ok=True)


def _open_itself(path: Path) -> BinaryIO:
    """To add to a file; a link in its place is taken away, and what it leads to left alone."""
    if path.is_symlink():
        path.unlink()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "ab")
