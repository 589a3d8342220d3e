"""Cache of seen photos: bounded in memory, then on disk; the least recently used go first.

An embedding stays with its photo (`photo_for_edges`), in which edges are refined: what is known by
its hash is answered like what was just sent. Files are written by a thread,
so that no answer waits for a slow disk. The key is the model, the hash of its weights and the hash
of the pixels; the files are named by a hash of the key, so no name that a client sends becomes a
path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from anymask.base import DataError, UintImage, whole_file
from anymask.masks import Features, reduced
from anymask.segment import LONGEST, EncodedPhoto
from anymask.studio.turns import step_back

_MOST_WRITING = 32  # embeddings that wait for a slow disk; further ones stay in memory alone

Key = tuple[str, str, str]  # model, weights hash, image hash


def key_of(embedding: Features) -> Key:
    """Under which an embedding is kept."""
    return (embedding.model, embedding.model_hash, embedding.image_hash)


def size_of(seen: EncodedPhoto) -> int:
    """Bytes of its maps and its pixels."""
    return seen.embedding.nbytes + (0 if seen.photo is None else seen.photo.nbytes)


class EmbeddingCache:
    """Any number of threads may use it.

    memory_bytes  of the maps and pixels kept in memory
    folder        for those on disk; None: memory alone
    disk_bytes    of the files
    """

    def __init__(
        self, memory_bytes: int, folder: Path | None = None, disk_bytes: int = 2_000_000_000
    ) -> None:
        self.memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, EncodedPhoto] = OrderedDict()
        self._used = 0
        self._disk = None if folder is None else _Disk(folder, disk_bytes)
        self._writer = ThreadPoolExecutor(1, "anymask-disk", step_back)
        self._writing = threading.BoundedSemaphore(_MOST_WRITING)

    @property
    def used_bytes(self) -> int:
        """Of the memory."""
        return self._used

    def __len__(self) -> int:
        return len(self._kept)

    def remembered(self, key: Key) -> EncodedPhoto | None:
        """What memory holds; never touches the disk."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: Key) -> EncodedPhoto | None:
        """What memory or the disk holds."""
        found = self.remembered(key)
        if found is None and self._disk is not None:
            found = self._disk.get(key)
            if found is not None:
                self._remember(key, found)
        return found

    def put(self, seen: EncodedPhoto) -> None:
        """Keep it, and let go of what was not used for longest."""
        key = key_of(seen.embedding)
        self._remember(key, seen)
        if self._disk is not None and self._writing.acquire(blocking=False):
            self._writer.submit(self._write, self._disk, key, seen)

    def _write(self, disk: _Disk, key: Key, seen: EncodedPhoto) -> None:
        try:
            disk.put(key, seen)
        finally:
            self._writing.release()

    def close(self) -> None:
        """Wait until everything is on disk; nothing is kept after it."""
        self._writer.shutdown()

    def _remember(self, key: Key, seen: EncodedPhoto) -> None:
        size = size_of(seen)
        with self._lock:
            if size > self.memory_bytes or key in self._kept:
                return
            self._kept[key] = seen
            self._used += size
            while self._used > self.memory_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._used -= size_of(dropped)


class _Disk:
    """Files `HASH.npz` and `HASH.png` in a folder of our own; what is damaged counts as absent."""

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        found = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        self._sizes = OrderedDict((path.name, _bytes_of(path)) for path in found)
        self._make_room()

    def get(self, key: Key) -> EncodedPhoto | None:
        name = _file_name(key)
        path = self._folder / name
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            found = _read(path)
            os.utime(path)
        except (DataError, OSError):
            found = None
        if found is not None and key_of(found.embedding) == key:
            return found
        with self._lock:
            self._sizes.pop(name, None)
            _remove(path)
        return None

    def put(self, key: Key, seen: EncodedPhoto) -> None:
        name = _file_name(key)
        if name in self._sizes or size_of(seen) > self._most or seen.photo is None:
            return
        path = self._folder / name
        with contextlib.suppress(OSError):  # a full disk costs a later encoding, nothing else
            _write_photo(path.with_suffix(".png"), seen.photo)
            seen.embedding.save(path)
            with self._lock:
                self._sizes[name] = _bytes_of(path)
                self._make_room()

    def _make_room(self) -> None:
        while sum(self._sizes.values()) > self._most:
            name, _ = self._sizes.popitem(last=False)
            _remove(self._folder / name)


def _read(path: Path) -> EncodedPhoto:
    """Raises DataError, OSError for a damaged file, and for a photo of another size."""
    embedding = Features.load(path)
    bytes_ = np.fromfile(path.with_suffix(".png"), np.uint8)
    photo = cv2.imdecode(bytes_, cv2.IMREAD_COLOR_RGB) if bytes_.size else None
    if photo is None or photo.shape[:2] != reduced(embedding.geometry, LONGEST).image_hw:
        raise DataError(f"wanted the photo of {path}, got another picture or none; send it again")
    return EncodedPhoto(embedding, np.asarray(photo, np.uint8))


def _write_photo(path: Path, photo: UintImage) -> None:
    """A PNG that is written quickly, whole or not at all."""
    _, packed = cv2.imencode(".png", photo[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with whole_file(path) as file:
        file.write(packed.tobytes())


def _bytes_of(path: Path) -> int:
    """Of an embedding's file and its photo's."""
    files = (path, path.with_suffix(".png"))
    return sum(file.stat().st_size for file in files if file.is_file())


def _remove(path: Path) -> None:
    for file in (path, path.with_suffix(".png")):
        file.unlink(missing_ok=True)


def _file_name(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:40] + ".npz"
