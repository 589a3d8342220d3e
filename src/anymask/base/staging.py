"""Write several files atomically: all are staged first and moved into place at the end.

An error or an interrupt leaves the output unchanged. A new folder appears in one move. Files are
staged in .OUTPUT.parts beside OUTPUT, or inside it if it is an existing folder, because it may be a
mounted disk. A killed run leaves .OUTPUT.parts, which the next run removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from anymask.base.errors import InputError
from anymask.base.locks import LOCK, claimed
from anymask.base.storage import make_room, write_whole

_WHOLE = "whole"


class StagedFiles:
    """Staged files; `places` lists their final paths."""

    def __init__(self, stage: Path) -> None:
        self.places: list[Path] = []
        self._stage = stage

    def draft(self, path: Path) -> Path:
        """Return the temporary path for the file that will be moved to `path`."""
        self.places.append(path)
        return self._stage / str(len(self.places) - 1)

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """Open a staged file that will be moved to `path`."""
        with self.draft(path).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a power failure can leave an empty file


@contextlib.contextmanager
def staged(target: str | Path) -> Iterator[StagedFiles]:
    """Write files that appear together when the `with` block ends without an error.

    Args:
        target: Output file or folder; all files lie inside or beside it.

    Raises:
        InputError: A folder exists at the path of a file or vice versa, or another run writes to
            the same output.
    """
    target = Path(target).absolute()
    anchor = next(path for path in (target, *target.parents) if path.is_dir())
    stage = anchor / f".{target.name}.parts"
    with claimed(target, stage / LOCK):
        _clear(stage)
        files = StagedFiles(stage)
        try:
            yield files
            places = [path.absolute() for path in files.places]
            _check_places(places)
            _move(stage, places, target)
        finally:
            _clear(stage)
    with contextlib.suppress(OSError):  # the folder is not empty
        stage.rmdir()


def _clear(stage: Path) -> None:
    for path in stage.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _check_places(places: Sequence[Path]) -> None:
    """Raise InputError if a file cannot be moved to its path, before any is moved."""
    files = frozenset(places)
    for path in files:
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder. Choose another output.")
        for folder in path.parents:
            if folder in files or (not folder.is_dir() and os.path.lexists(folder)):
                raise InputError(
                    f"Cannot create the output folder of {path.name!r}, because a part of the path "
                    f"{str(path.parent)!r} is a file. Choose another output."
                )


def _move(stage: Path, places: Sequence[Path], target: Path) -> None:
    is_new = not os.path.lexists(target)
    if is_new and all(target in path.parents for path in places) and places:
        whole = stage / _WHOLE
        for number, path in enumerate(places):
            inside = whole / path.relative_to(target)
            inside.parent.mkdir(parents=True, exist_ok=True)
            (stage / str(number)).replace(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        whole.rename(target)
        return
    for number, path in enumerate(places):
        make_room(path)
        draft = stage / str(number)
        try:
            draft.replace(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            write_whole(path, draft.read_bytes())  # a subfolder on another disk
