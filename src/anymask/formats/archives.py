"""Unpack archives of annotations (.zip, .tar, .tar.gz, .json.gz, ...) to temporary folders.

Archives are untrusted. Members outside the archive's own folder (absolute names, `..`), links and
devices are rejected, and so are archives that unpack to far more than their size.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO

from anymask.base import AnymaskError, DataError

MAX_RATIO = 100  # maximum ratio of unpacked to packed size,
MIN_BOUND = 256 << 20  # unless it unpacks to at most this number of bytes
MAX_MEMBERS = 2_000_000
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ENDS = (".zip", ".json.gz", ".geojson.gz", ".xml.gz", *_TARS)
_SIDE = ("__MACOSX", ".DS_Store", "Thumbs.db")  # added by file managers
_DATASET_FOLDERS = frozenset(
    [
        "annotations", "images", "labels", "masks", "train", "valid", "val", "test",
        "jpegimages", "segmentationobject", "segmentationclass",
    ]
)  # fmt: skip
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    OSError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Return whether a file has the suffix of an archive of annotations."""
    return path.name.lower().endswith(_ENDS) and path.is_file()


def bare_name(path: Path) -> str:
    """Return the name of an archive without suffix: `set` for set.tar.gz."""
    name = path.name
    end = max((end for end in _ENDS if name.lower().endswith(end)), key=len)
    return name[: -len(end)]


@dataclass(eq=False)
class Unpacked:
    """Unpacked archive; its files are removed by `close`, or at the end of the process."""

    archive: Path  # Archive file
    place: Path  # Content: its only file or folder, else the folder of all members
    folder: Path  # Temporary folder of all members

    def __post_init__(self) -> None:
        # As `_remove` always exists, its finalizer is called by `close`, or at the end.
        self.close = weakref.finalize(_remove, _remove, self.folder, os.getpid())

    @contextmanager
    def named(self) -> Iterator[None]:
        """Replace the temporary folder in errors by the name of the archive."""
        try:
            yield
        except AnymaskError as error:
            error.args = tuple(
                self.plain(text) if isinstance(text, str) else text for text in error.args
            )
            raise

    def plain(self, text: str) -> str:
        """Replace paths of the temporary folder in a text by those of the archive."""
        return text.replace(str(self.folder / bare_name(self.archive)), str(self.archive))


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process does not own it
        shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path) -> Unpacked:
    """Unpack an archive. Raises DataError if it is corrupted, encrypted or unsafe."""
    unpacked = Unpacked(archive, Path(), Path(tempfile.mkdtemp(prefix="anymask-")))
    root, bound = unpacked.folder / bare_name(archive), _Bound(archive)
    root.mkdir()
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(archive, root, bound)
        elif archive.name.lower().endswith(_TARS):
            _untar(archive, root, bound)
        else:
            with archive.open("rb") as file, gzip.open(file) as packed:
                _copy(packed, root / archive.name[: -len(".gz")], bound)
    except AnymaskError:
        unpacked.close()
        raise
    except _BROKEN as error:
        unpacked.close()
        raise DataError(
            f"{archive}: The archive is corrupted or not supported. Unpack it and pass the folder."
        ) from error
    unpacked.place = _inner(root)
    return unpacked


def unpack_images(archive: Path) -> Unpacked:
    """Unpack an archive of images; `place` is the first folder with more than a single folder in
    it. Raises DataError like `unpack`."""
    unpacked = unpack(archive)
    folder = unpacked.folder / bare_name(archive)
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        (folder,) = inside
    unpacked.place = folder
    return unpacked


class _Bound:
    """Counter of unpacked bytes. Raises DataError above the limit."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = self.most = max(MIN_BOUND, MAX_RATIO * archive.stat().st_size)

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DataError(
                f"{self.archive}: The archive unpacks to more than {self.most >> 20} MB, which is "
                f"{MAX_RATIO} times its size. If you trust it, unpack it and pass the folder."
            )


def _copy(source: IO[bytes] | BufferedIOBase, target: Path, bound: _Bound) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while piece := source.read(1 << 20):
            bound.take(len(piece))
            file.write(piece)


def _unzip(archive: Path, root: Path, bound: _Bound) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        _check_count(archive, len(members))
        for member in members:
            mode = member.external_attr >> 16
            plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            inside = _inside(archive, member.filename, plain)
            if member.flag_bits & 1:
                raise DataError(
                    f"{archive}: The archive is encrypted. Unpack it yourself, and pass the folder."
                )
            if inside is None or member.is_dir():
                continue
            with packed.open(member) as source:
                _copy(source, root / inside, bound)


def _untar(archive: Path, root: Path, bound: _Bound) -> None:
    with tarfile.open(archive) as packed:
        for number, member in enumerate(packed):
            _check_count(archive, number)
            inside = _inside(archive, member.name, member.isreg() or member.isdir())
            source = packed.extractfile(member) if inside is not None and member.isreg() else None
            if source is not None and inside is not None:
                with source:
                    _copy(source, root / inside, bound)


def _check_count(archive: Path, count: int) -> None:
    if count > MAX_MEMBERS:
        raise DataError(
            f"{archive}: More than {MAX_MEMBERS} members. Unpack it and pass the folder."
        )


def _inside(archive: Path, name: str, plain: bool) -> PurePosixPath | None:
    """Return a member's path in the folder; None for files of file managers. Raises DataError.

    Args:
        plain: Whether it is a regular file or folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts[:1] and path.parts[0][1:2] == ":"):
        raise DataError(
            f"{archive}: Its member {name[:100]!r} points outside the archive. Pack it again."
        )
    if not plain:
        raise DataError(
            f"{archive}: Its member {name[:100]!r} is a link or device. Pack the files (tar -h)."
        )
    hidden = any(part in _SIDE or part.startswith("._") for part in path.parts)
    return None if hidden or not path.name else path


def _inner(root: Path) -> Path:
    """Return the only file or folder of an archive, ignoring README files; else the folder."""
    entries = [path for path in root.iterdir() if not path.name.lower().startswith("readme")]
    if len(entries) != 1:
        return root
    (entry,) = entries
    if entry.is_dir() and entry.name.lower() not in _DATASET_FOLDERS:
        return _inner(entry)
    return entry if entry.is_file() else root
