"""Lock files, so that two runs do not write to the same output.

The operating system releases the lock of a process that has died. On file systems without locks
(some network file systems), the process ID and host in the lock file decide whether its run is
still active.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from anymask.base.errors import InputError

Lock = Literal["held", "taken", "unsupported"]

ON_WINDOWS = sys.platform == "win32"  # an open file can be neither moved nor removed there
LOCK = ".lock"  # lock file in the folder of a run


def is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; other processes and threads wait until it is released.

    The operating system releases the lock of a process that has died, so locks never go stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        lock_file(file.fileno())
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def lock_file(handle: int, wait: bool = True) -> Lock:
        """Lock an open file until it is closed or the process ends."""
        while True:
            try:
                os.lseek(handle, 0, os.SEEK_SET)
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return "taken"
                time.sleep(0.2)
            else:
                return "held"

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock_file(handle: int, wait: bool = True) -> Lock:
        """Lock an open file until it is closed or the process ends."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return "taken"
        except OSError:  # a network file system without locks
            return "unsupported"
        return "held"

    def _unlock(handle: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)


# Outputs.


@contextlib.contextmanager
def claimed(output: Path, lock: Path | None = None) -> Iterator[None]:
    """Lock an output against other runs; a lock left by a killed run is taken over.

    Args:
        output: Output folder, or output file if `lock` is given.
        lock: Lock file, which stores process ID and host. Defaults to `LOCK` in the folder.

    Raises:
        InputError: Another run holds the lock, or the folder cannot be created.
    """
    path = output / LOCK if lock is None else lock
    is_new = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{str(path.parent)!r} is not a folder. Choose another output folder."
        ) from None
    with _claim(path, output) as file:
        file.truncate(0)
        # On Windows others cannot read the locked first byte, so the text starts behind it.
        file.write(f"\n{os.getpid()} {socket.gethostname()}\n".encode())
        file.flush()
        try:
            yield
        finally:
            if ON_WINDOWS:
                file.close()
            with contextlib.suppress(OSError):
                path.unlink()
                if is_new:
                    path.parent.rmdir()  # fails, and is kept, unless the folder is empty


def claimed_file(output: Path) -> contextlib.AbstractContextManager[None]:
    """Lock an output file with the hidden lock file .OUTPUT.lock beside it."""
    return claimed(output, output.parent / f".{output.name}.lock")


def _claim(path: Path, output: Path) -> BinaryIO:
    """Open and lock a lock file. Raises InputError if another run holds it."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        state = lock_file(file.fileno(), wait=False)
        if state == "held" and not is_at(file.fileno(), path):
            file.close()  # the owner has just deleted it
            continue
        pid, host = _owner(file)
        if state == "held" or (state == "unsupported" and _is_gone(pid, host)):
            return file
        file.close()
        who = f"process {pid} on {host}" if pid else "another process"
        stale = "" if state == "taken" else f" If that run has ended, delete {str(path)!r}."
        raise InputError(
            f"{str(output)!r} is in use by another run ({who}). Wait until it ends, or choose "
            f"another output.{stale}"
        )


def _owner(file: BinaryIO) -> tuple[int, str]:
    """Return process ID and host of a lock file; (0, "") if it names none."""
    try:
        file.seek(1)
        pid, host = file.read(1000).decode().split()
        return int(pid), host
    except (OSError, ValueError):
        return 0, ""


def _is_gone(pid: int, host: str) -> bool:
    """Return whether the owner of a lock file has certainly ended."""
    if not pid:
        return True
    if host != socket.gethostname() or ON_WINDOWS:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # a process of another user
        return False
    return pid == os.getpid()  # containers reuse process IDs
