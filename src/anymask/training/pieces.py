"""Files in pieces: FILE in; FILE.000, FILE.001, ... of bounded size out, and back.

    FILE.pieces  {"pieces": N, "bytes": of the whole, "sha256": of the whole}, written last

Pieces without their list, or that are not its own, count as absent.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import write_json, write_whole

LIST = ".pieces"


def split_file(path: Path, part_bytes: int) -> None:
    """Write a file once more, in pieces; those of an earlier file are removed."""
    remove_pieces(path)
    whole = path.read_bytes()
    starts = range(0, len(whole), part_bytes)
    for number, start in enumerate(starts):
        write_whole(_piece(path, number), whole[start : start + part_bytes])
    write_json(
        _list(path),
        {
            "pieces": len(starts),
            "bytes": len(whole),
            "sha256": hashlib.sha256(whole).hexdigest(),
        },
    )


def remove_pieces(path: Path) -> None:
    """Remove a file's pieces, their list first; the file itself stays."""
    _list(path).unlink(missing_ok=True)
    for piece in path.parent.glob(f"{path.name}.[0-9][0-9][0-9]"):
        piece.unlink()


def join_pieces(path: Path) -> bytes | None:
    """The bytes of the file that the pieces beside `path` hold; None where they are not whole."""
    try:
        said = parse_json(_list(path).read_bytes(), path)
        pieces = [_piece(path, number).read_bytes() for number in range(int(said["pieces"]))]
    except (OSError, DataError, KeyError, TypeError, ValueError):
        return None
    whole = b"".join(pieces)
    return whole if hashlib.sha256(whole).hexdigest() == said.get("sha256") else None


def _list(path: Path) -> Path:
    return path.with_name(path.name + LIST)


def _piece(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number:03}")
