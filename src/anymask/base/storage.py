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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from anymask.base.errors import InputError
from anymask.base.locks import ON_WINDOWS, is_at, lock_file
from anymask.base.parsing import to_utf8


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_room(path: Path) -> None:
    """Create the parent folder of a file.

    Raises:
        InputError: Part of the path is a file.
    """
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
    found = _PAGE.fullmatch(name)
    return (found["photo"], int(found["page"])) if found else None


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
