"""Where downloaded weights lie, how files are put there whole, and one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from anymask.primitives.errors import WeightsError

HOME = "ANYMASK_HOME"


def home() -> Path:
    """The folder of everything that anymask keeps.

    `ANYMASK_HOME` if set, else the platform's cache folder: `$XDG_CACHE_HOME/anymask` or
    `~/.cache/anymask` on Linux, `~/Library/Caches/anymask` on macOS, `%LOCALAPPDATA%\\anymask` on
    Windows. It is not created by asking.
    """
    if chosen := os.environ.get(HOME):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "anymask"


def make_folder(folder: Path) -> None:
    """Make a folder of the store. Raises WeightsError where a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise WeightsError(
            f"wanted a folder for the weights, but {str(folder)!r} or a part of it is a file; set "
            f"{HOME} to a folder"
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a part."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; a second process or thread waits until the first one is done.

    The operating system frees the lock of a process that died, so none is ever stale.
    """
    make_folder(path.parent)
    with path.open("a+b") as file:
        _lock(file.fileno())
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        while True:
            try:
                os.lseek(handle, 0, os.SEEK_SET)
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except OSError:
                time.sleep(0.2)
            else:
                return

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
