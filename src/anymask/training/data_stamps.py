"""Whether a data set is what it was: its files' sizes and times first, contents where they differ.

Reading, encoding and hashing all masks and photos says for sure whether a data set has changed, and
takes as long as preparing it. So what each file was like is kept in `stamps.json`: a data set whose
files have the same sizes and times is the same, and of the others those files are hashed that
differ. Where that does not settle it the data set is read after all, as it is for formats whose
files may lie anywhere.

    stamps.json  {option: {"place": folder, "files": {path: [bytes, nanoseconds, sha256 or ""]}}}
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anymask.base import DataError, parse_json, write_json
from anymask.formats import A_FILE_A_PICTURE, Dataset

STAMPS = "stamps.json"
WITHIN = frozenset(A_FILE_A_PICTURE) | {
    "set", "yolo", "label-png", "davis", "coco", "coco-polygon", "cvat", "label-studio",
    "label-studio-polygon",
}  # fmt: skip  # formats whose files all lie in the file or folder that is named


def keep_stamps(folder: Path, option: str, stream: Dataset, pictures: Mapping[Path, str]) -> None:
    """Write down what the files of a data set are like.

    folder    `data` of the run's folder
    option    that named the data set
    pictures  the photos with masks, and the sha256 of each
    """
    if stream.form not in WITHIN:
        return
    base = _base(stream)
    known = {_name(path, base): digest for path, digest in pictures.items()}
    own = {_name(path, base): "" for path in _files(stream.source, folder.parent)}
    few = {name: _sha256(base / name) for name in own if name not in known and _is_text(name)}
    stamps = {name: [*_stamp(base / name), sha] for name, sha in (own | few | known).items()}
    _write(folder, option, {"place": str(base), "files": stamps})


def same_as_stamped(folder: Path, option: str, stream: Dataset) -> bool:
    """Whether the files of a data set are certainly those that were stamped.

    New times of the same contents are taken over.
    """
    kept = _read(folder).get(option)
    if kept is None or stream.form not in WITHIN:
        return False
    base, files = _base(stream), kept["files"]
    inside = {_name(path, base) for path in _files(stream.source, folder.parent)}
    if not inside <= files.keys():
        return False
    moved, fresh = kept["place"] != str(base), dict(files)
    for name, (size, time, sha) in files.items():
        try:
            now = _stamp(base / name)
            if moved or now != (size, time):
                if now[0] != size or not sha or _sha256(base / name) != sha:
                    return False
                fresh[name] = [*now, sha]
        except OSError:
            return False
    if moved or fresh != files:
        _write(folder, option, {"place": str(base), "files": fresh})
    return True


def _base(stream: Dataset) -> Path:
    """The folder that names are told from."""
    place = stream.source.absolute()
    return place if place.is_dir() else place.parent


def _name(path: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(path.absolute(), base)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def _is_text(name: str) -> bool:
    """Whether a file holds annotations, not a photo that nothing is learned from."""
    return Path(name).suffix.lower() not in (".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")


def _files(source: Path, run: Path) -> Iterator[Path]:
    """The file itself, or all files in the folder and below, also behind links to folders; the
    run's own folder may lie there, and does not count."""
    if not source.is_dir():
        yield source
        return
    seen = {os.path.realpath(run)}
    for place, folders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # or links in a circle
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in names)


def _stamp(path: Path) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change. Raises OSError."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    """What was kept; nothing where it is not there or damaged: the data are then read."""
    path = folder / STAMPS
    try:
        kept = parse_json(path.read_bytes(), path) if path.is_file() else {}
    except DataError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(folder: Path, option: str, stamps: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STAMPS, _read(folder) | {option: stamps})
