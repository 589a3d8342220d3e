"""Atomic file writing, and the naming rules of outputs.

The content of FOLDER/NAME is written to the hidden draft FOLDER/.NAME.part, which is locked, synced
and then moved to its name. If a process dies, its draft remains without a lock, and the next write
of the same name removes it. If the lock state is unknown (a draft of another user, a network file
system without locks, Windows), the draft is named .NAME.HEX.part instead.

An output is a folder if it exists as one, has no suffix, or ends in a slash. Each page of a
multi-page image has its own mask file: page 3 of stack.tif is stack.tif.page3.png.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from anymask.base.errors import InputError
from anymask.base.parsing import to_utf8


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_room(path: Path) -> None:
    """Create the parent folder of a file. Raises InputError if part of the path is a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"Cannot create the output folder of {path.name!r}, because a part of the path "
            f"{str(path.parent)!r} is a file. Choose another output."
        ) from None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` only once it is complete; parent folders are created.

    Of two concurrent writers of one path, the second waits for the first.

    Raises:
        InputError: The folder cannot be created.
        OSError: Writing failed.
    """
    make_room(path)
    draft, file = _create_draft(path)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())  # otherwise a power failure can leave an empty file
        if ON_WINDOWS:
            file.close()
        draft.replace(path)
    except BaseException:
        if ON_WINDOWS:
            file.close()
        draft.unlink(missing_ok=True)  # while the lock is held
        raise
    finally:
        file.close()


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file atomically; text is encoded as UTF-8."""
    with whole_file(path) as file:
        file.write(to_utf8(data) if isinstance(data, str) else data)


def write_json(path: Path, document: Any, indent: int | None = None) -> None:
    """Write a document as JSON, atomically."""
    write_whole(path, json_bytes(document, indent))


def json_bytes(document: Any, indent: int | None = None) -> bytes:
    """Serialize a document as JSON, in one line unless an indent is given."""
    return json.dumps(document, indent=indent).encode() + b"\n"


def refuse_inputs(target: Path, *inputs: Path | None) -> None:
    """Raise InputError for an output that is the same file or folder as an input."""
    for path in inputs:
        if path is not None and target.exists() and path.exists() and target.samefile(path):
            raise InputError(f"The output {str(target)!r} is also an input. Choose another name.")


def _create_draft(path: Path) -> tuple[Path, BinaryIO]:
    """Create an empty, locked draft file."""
    draft = path.with_name(f".{path.name}.part")
    while True:
        try:
            file = draft.open("xb")
        except FileExistsError:
            if not _remove_leftover(draft):
                draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
            continue
        if ON_WINDOWS or lock_file(file.fileno()) != "held" or is_at(file.fileno(), draft):
            return draft, file
        file.close()  # another process removed it before it was locked


def _remove_leftover(draft: Path) -> bool:
    """Wait for the writer of a draft, or remove an abandoned one; False if its state is unknown."""
    if ON_WINDOWS:
        return False
    try:
        if draft.is_symlink():
            draft.unlink(missing_ok=True)  # drafts are never symlinks
            return True
        handle = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if lock_file(handle) != "held":
                return False
            if is_at(handle, draft):
                draft.unlink()
        finally:
            os.close(handle)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,11}")  # not the ".5" of run.5 and v1.5
_PAGE = re.compile(r"(?P<photo>.+)\.page(?P<page>[0-9]{1,7})\.png", re.DOTALL)
_NEAR = 0.7  # similarity: .jsn matches .json, .xml matches nothing


def is_folder(output: str | Path) -> bool:
    """Return whether an output is certainly a folder: it exists as one, or ends in a slash."""
    return str(output).endswith(("/", os.sep)) or Path(output).is_dir()


def file_suffix(output: str | Path) -> str:
    """Return the lower-case suffix of a file name, with its dot; "" for a folder."""
    suffix = Path(output).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) and not is_folder(output) else ""


def near_suffix(suffix: str, known: Sequence[str]) -> str | None:
    """Return the closest known suffix, or None."""
    import difflib

    near = difflib.get_close_matches(suffix, known, 1, _NEAR)
    return near[0] if near else None


def page_name(name: str, page: int) -> str:
    """Name of the mask file of one page of an image; pages are counted from 0."""
    return f"{name}.page{page}.png"


def split_page_name(name: str) -> tuple[str, int] | None:
    """Split a page's name into image name and page; None for other names."""
    match = _PAGE.fullmatch(name)
    return (match["photo"], int(match["page"])) if match else None


def disk_message(error: OSError, place: Path | None = None) -> str:
    """Describe an OSError: the file, the reason and the fix.

    Args:
        error: Exception, whose file may be a draft of this module or of `base.staging`.
        place: Path to report if the error names no file.
    """
    reason = error.strerror or str(error) or type(error).__name__
    remedy = {
        errno.ENOSPC: "Free some space and run the same command again.",
        errno.EDQUOT: "Free some space and run the same command again.",
        errno.EFBIG: "Choose a location that supports larger files, or raise the limit: ulimit -f",
    }.get(error.errno or 0, "Check the path and its permissions, or choose another location.")
    name = error.filename2 or error.filename  # a copy or move: its target
    if name is None and place is None:
        return f"System error: {reason}. {remedy}"
    path = place if name is None else Path(os.fsdecode(name))
    assert path is not None
    for part in (path, *path.parents):
        draft = re.fullmatch(r"\.(.+?)(?:(\.[0-9a-f]{8})?\.part|\.parts)", part.name)
        path = part.with_name(draft[1]) if draft else path
    return f"{reason}: {str(path)!r}. {remedy}"


# Lock files, so that two runs do not write to the same output.
#
# The operating system releases the lock of a process that has died. On file systems without locks
# (some network file systems), the process ID and host in the lock file decide whether its run is
# still active.

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
        pid, host = 0, ""  # unknown, if the lock file names no owner
        with contextlib.suppress(OSError, ValueError):
            file.seek(1)
            number, host = file.read(1000).decode().split()
            pid = int(number)
        if state == "held" or (state == "unsupported" and _is_gone(pid, host)):
            return file
        file.close()
        who = f"process {pid} on {host}" if pid else "another process"
        stale = "" if state == "taken" else f" If that run has ended, delete {str(path)!r}."
        raise InputError(
            f"{str(output)!r} is in use by another run ({who}). Wait until it ends, or choose "
            f"another output.{stale}"
        )


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


# Write several files atomically: all are staged first and moved into place at the end.
#
# An error or an interrupt leaves the output unchanged. A new folder appears in one move. Files are
# staged in .OUTPUT.parts beside OUTPUT, or inside it if it is an existing folder, because it may be
# a mounted disk. A killed run leaves .OUTPUT.parts, which the next run removes.

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
    """Write the files of a target, which appear together when the `with` block succeeds.

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
    if (not os.path.lexists(target)) and all(target in path.parents for path in places) and places:
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
