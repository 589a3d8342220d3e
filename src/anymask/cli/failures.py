"""What went wrong in a folder: one line of JSON for each photo, written at once.

The file also says that somebody is at work: two runs of the same part would do everything twice.
Several machines may share an output folder, each with its `--shard` and a file of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from anymask.cli.photos import Division, Job
from anymask.primitives.errors import InputError

_DRAFT = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part")  # as whole_file and Embedding.save do


def failures_name(division: Division) -> str:
    """`errors.jsonl`, or `errors-2-of-4.jsonl` for one machine of several."""
    middle = f"-{division.part}-of-{division.parts}" if division.parts > 1 else ""
    return f"errors{middle}.jsonl"


class FailureLog:
    """An open error log; `add` writes one line."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.count = 0

    def add(self, photo: Path, reason: str, kind: str, trace: str = "") -> None:
        """One photo (or folder) that failed."""
        line: dict[str, Any] = {"file": str(photo), "reason": reason, "kind": kind}
        if trace:
            line["traceback"] = trace
        self._file.write(json.dumps(line).encode() + b"\n")
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
        if not _lock(file):
            raise InputError(
                f"another run is at work in {str(out)!r}; wait for it, choose another output, or "
                "share the work: one machine with --shard 1/2, the other with --shard 2/2"
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


if sys.platform == "win32":

    def _lock(file: BinaryIO) -> bool:
        return True  # a lock there would keep people from reading the file meanwhile

else:

    def _lock(file: BinaryIO) -> bool:
        """Keep others off until the file is closed or its process dies; False if they are first."""
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network file system without locks
            return True
        return True


def remove_drafts(jobs: Sequence[Job]) -> None:
    """Remove the unfinished files of a run that was killed, for these photos only."""
    stems: defaultdict[Path, set[str]] = defaultdict(set)
    for job in jobs:
        stems[job.stem.parent].add(job.stem.name)
    for folder, ours in stems.items():
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for name in [entry.name for entry in entries]:
                draft = _DRAFT.fullmatch(name)
                if draft and Path(draft["name"]).stem in ours:
                    Path(folder, name).unlink(missing_ok=True)
