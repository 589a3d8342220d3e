"""Whole-file writing: bytes go in, a file comes out that is complete or not there.

One rule for all: the bytes of FOLDER/NAME go into the hidden draft FOLDER/.NAME.part, which is
locked, synced and then moved to its name. A process that dies leaves its draft without a lock: the
next write of the same name removes it. Where that cannot be known (a draft of another user, a
network file system without locks, Windows), the draft is called .NAME.HEX.part instead.

Names of outputs: whether one means a file or a folder, by its end; never by a guess.

A folder is one that is there, or a name without a suffix, or with a slash at its end. A page of a
picture file is a picture of its own in files of masks: page 3 of stack.tif is stack.tif.page3.png.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from anymask.base.errors import InputError
from anymask.base.locks import ON_WINDOWS, is_at, lock_file
from anymask.base.parsing import to_utf8


def make_room(path: Path) -> None:
    """Make the folder of a file that will be written. Raises InputError, OSError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"Cannot create the folder of {path.name!r}, because part of "
            f"{str(path.parent)!r} is a file. Choose another output."
        ) from None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete; parent folders are made.

    Of two who write the same name at once, the second waits for the first. Raises InputError where
    the folder cannot be made, OSError from the disk.
    """
    make_room(path)
    draft, file = _create_draft(path)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
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
    """Write a file whole or not at all; text in UTF-8."""
    with whole_file(path) as file:
        file.write(to_utf8(data) if isinstance(data, str) else data)


def write_json(path: Path, document: Any, indent: int | None = None) -> None:
    """Write a document as JSON, whole or not at all."""
    write_whole(path, json_bytes(document, indent))


def json_bytes(document: Any, indent: int | None = None) -> bytes:
    """A document as JSON, in one line where no indent is given."""
    return json.dumps(document, indent=indent).encode() + b"\n"


def _create_draft(path: Path) -> tuple[Path, BinaryIO]:
    """A new and empty draft, which nobody else writes or removes."""
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
        file.close()  # somebody took it for a leftover before it was locked


def _remove_leftover(draft: Path) -> bool:
    """Wait for who writes this draft, or remove it where nobody does; False where none can tell."""
    if ON_WINDOWS:
        return False
    try:
        if draft.is_symlink():
            draft.unlink(missing_ok=True)  # nobody writes through a link
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


_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,11}")  # run.5 and v1.5 have none
_PAGE = re.compile(r"(?P<photo>.+)\.page(?P<page>[0-9]{1,7})\.png", re.DOTALL)
_NEAR = 0.7  # .jsn is near .json, .xml is near none


def is_folder(output: str | Path) -> bool:
    """Whether an output names a folder for sure: it is there, or ends in a slash."""
    return str(output).endswith(("/", os.sep)) or Path(output).is_dir()


def file_suffix(output: str | Path) -> str:
    """What makes it the name of a file, in small letters with its dot; empty for a folder."""
    suffix = Path(output).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) and not is_folder(output) else ""


def near_suffix(suffix: str, known: Sequence[str]) -> str | None:
    """The suffix that was probably meant."""
    near = difflib.get_close_matches(suffix, known, 1, _NEAR)
    return near[0] if near else None


def page_name(name: str, page: int) -> str:
    """What a page of a photo is called outside of its file; pages are counted from 0."""
    return f"{name}.page{page}.png"


def split_page_name(name: str) -> tuple[str, int] | None:
    """The photo that a page's name is of, and the page; None for other names."""
    found = _PAGE.fullmatch(name)
    return (found["photo"], int(found["page"])) if found else None


def disk_message(error: OSError, place: Path | None = None) -> str:
    """What the system refused: the file as the user knows it, the reason, and the remedy.

    Args:
        error: Its file may be a draft of this module or of `base.staging`.
        place: Where the work was done, for an error that names no file.
    """
    reason = error.strerror or str(error) or type(error).__name__
    remedy = {
        errno.ENOSPC: "Free some space and run the same command again.",
        errno.EDQUOT: "Free some space and run the same command again.",
        errno.EFBIG: "Choose a location that supports larger files, or raise the limit: ulimit -f",
    }.get(error.errno or 0, "Check the path and its permissions, or choose another location.")
    if error.filename is None and place is None:
        return f"System error: {reason}. {remedy}"
    path = place if error.filename is None else Path(os.fsdecode(error.filename))
    assert path is not None
    for part in (path, path.parent):
        draft = re.fullmatch(r"\.(.+?)(?:(\.[0-9a-f]{8})?\.part|\.parts)", part.name)
        path = part.with_name(draft[1]) if draft else path
    return f"{reason}: {str(path)!r}. {remedy}"
