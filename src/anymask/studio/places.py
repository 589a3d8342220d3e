"""Path checks of a project: paths in, an error out for what lies or leads outside of its folder.

A folder may come from somebody else, with links and addresses in it that were made to have other
files read or written. So they are checked when a project is opened, before anything is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from anymask.base import InputError, StoreError

ROUNDS = "rounds"
_BESIDE = ("", "-wal", "-shm", "-journal")  # files that SQLite opens by the database's name


def check_own_folder(inside: Path) -> None:
    """That our own folder is one, and that nothing which is written in it is a link.

    Raises InputError.
    """
    links = [path for path in (inside, inside / ROUNDS) if path.is_symlink()]
    for folder in (inside, inside / ROUNDS):
        if not links and folder.is_dir():
            with os.scandir(folder) as entries:
                links += [Path(entry.path) for entry in entries if entry.is_symlink()]
    if links:
        raise InputError(
            f"wanted a project whose files lie in its own folder, got the link {links[0]}; remove "
            "it, or put the file itself there"
        )


def own_place(inside: Path, place: object) -> Path:
    """A path of the database, below our own folder. Raises StoreError for one that leads out."""
    path = inside / str(place)
    if not _lies_in(path, inside):
        raise StoreError(
            f"wanted a place in {inside}, got {str(place)[:200]!r} from the project's database; "
            "was it written by another program?"
        )
    return path


def lies_in_folder(path: Path, folder: Path) -> bool:
    """Whether a file of the project is one, and no link to somewhere else."""
    return _lies_in(path, folder) and path.is_file()


def _lies_in(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, too long, links in a circle
        return False


def is_file_database(address: str | Path) -> bool:
    """Whether a database is a file, not a server."""
    return isinstance(address, Path) or "://" not in address or address.startswith("sqlite")


def check_address(address: str, folder: Path) -> None:
    """That a database which is a file lies in the project's folder. Raises InputError."""
    if not is_file_database(address):
        return
    path, options = _file_of(address)
    if options or not path or not all(_lies_in(Path(path + more), folder) for more in _BESIDE):
        raise InputError(
            f"wanted a server (postgresql://USER@HOST/NAME) or a SQLite file in {folder} for the "
            f"database, got {address[:200]!r}; leave it out for a file beside the photos"
        )


def _file_of(address: str) -> tuple[str, Any]:
    """Path and options of a SQLite address."""
    if "://" not in address:
        return address, None
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return "", None
    return url.database or "", dict(url.query)
