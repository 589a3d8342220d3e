"""Files of video sessions: a body in, a file in a folder of this server's own out.

Each server has one folder among the machine's temporary ones, and holds a lock in it. A folder
whose lock is free belongs to a server that was killed: the next one to start deletes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool

from anymask.base import lock_file

PREFIX = "anymask-videos-"
LOCK = "lock"
_PIECE = 1_000_000  # bytes that are written at once


class VideoFiles:
    """The folder of one server: `open` it, ask for folders of sessions, `close` it.

    place  where it lies; None: where the system has temporary files
    """

    def __init__(self, place: Path | None = None) -> None:
        self.place = Path(tempfile.gettempdir()) if place is None else place
        self._lock: IO[bytes] | None = None
        self._folder: Path | None = None

    def open(self) -> None:
        """Delete what killed servers have left, and make the folder."""
        delete_abandoned(self.place)
        while self._lock is None:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.place))
            lock = (self._folder / LOCK).open("a+b")
            lock_file(lock.fileno(), wait=False)
            if (self._folder / LOCK).exists():  # else another server took it for abandoned
                self._lock = lock
            else:
                lock.close()

    def session_folder(self) -> tempfile.TemporaryDirectory[str]:
        """A folder of one session, which goes with it."""
        return tempfile.TemporaryDirectory(prefix="session-", dir=self._folder)

    def close(self) -> None:
        """Delete the folder and all that is in it."""
        if self._lock is None or self._folder is None:
            return
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock = self._folder = None


def delete_abandoned(place: Path) -> None:
    """Delete the folders of servers that do not live any more; those of others stay."""
    for folder in place.glob(f"{PREFIX}*"):
        if not folder.is_symlink() and _is_ours(folder) and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        return not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
    except OSError:  # it goes away just now
        return False


def _is_abandoned(folder: Path) -> bool:
    with contextlib.suppress(OSError), (folder / LOCK).open("r+b") as lock:
        return lock_file(lock.fileno(), wait=False) == "held"
    return False


async def write_stream(stream: AsyncIterator[bytes], path: Path) -> int:
    """Write a body to a file as it comes in, and count its bytes; a piece of it is held."""
    size, held = 0, bytearray()
    file = await run_in_threadpool(path.open, "wb")
    try:
        async for part in stream:
            held += part
            if len(held) >= _PIECE:
                size += await run_in_threadpool(file.write, bytes(held))
                held.clear()
        return size + await run_in_threadpool(file.write, bytes(held))
    finally:
        await run_in_threadpool(file.close)
