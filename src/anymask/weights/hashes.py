"""File hashes: a path in, its sha256 out; cached by path, size and time of change.

The cache lies in the store's folder. Where it cannot be written, digests are computed again; where
it is broken, it is replaced. It saves time and is never proof: `anymask models verify` reads the
file itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from anymask.primitives.errors import DataError, InputError, WeightsError
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import write_json
from anymask.weights.folders import home

BLOCK = 1 << 20
CACHE = "hashes.json"


def file_hash(path: str | Path, *, fresh: bool = False) -> str:
    """The sha256 of a file, as 64 hexadecimal digits.

    fresh  read the file even if its digest is remembered
    Raises WeightsError when the file cannot be read.
    """
    path = Path(path)
    try:
        facts = path.stat()
        key = str(path.resolve())
        stamp = [facts.st_size, facts.st_mtime_ns]
        remembered = {} if fresh else read_json(home() / CACHE)
        match remembered.get(key):
            case [size, mtime, str() as digest] if [size, mtime] == stamp:
                return digest
        digest = digests(path, "sha256")["sha256"]
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path}: {error.strerror or error}; check the path and "
            "its permissions"
        ) from error
    remember(key, [*stamp, digest])
    return digest


def learn(path: Path, sha256: str) -> None:
    """Remember a digest that was just computed, so that nobody computes it again."""
    facts = path.stat()
    remember(str(path.resolve()), [facts.st_size, facts.st_mtime_ns, sha256])


def digests(path: Path, *algorithms: str) -> dict[str, str]:
    """Digests of a file by algorithm ("sha256", "md5"), in one pass over it."""
    running = {name: hashlib.new(name, usedforsecurity=name != "md5") for name in algorithms}
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for digest in running.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in running.items()}


def remember(key: str, value: list[Any]) -> None:
    """Add one digest to the cache; a cache that cannot be written is no error."""
    path = home() / CACHE
    known = {name: old for name, old in read_json(path).items() if os.path.exists(name)}  # noqa: PTH110 - names, no Paths
    known[key] = value
    with contextlib.suppress(OSError, InputError):
        write_json(path, known, indent=1)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; {} when it is absent or broken."""
    try:
        value = parse_json(path.read_bytes(), path)
    except (OSError, DataError):
        return {}
    return value if isinstance(value, dict) else {}
