"""Cache of embeddings: bounded in memory, then on disk; the least recently used go first.

The least recently used one goes first. Files are written by a thread, so that no answer waits for
a slow disk. The key is the model, the hash of its weights and the hash
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

from anymask.primitives.errors import DataError
from anymask.primitives.types import Embedding
from anymask.serving.priority import step_back

_MOST_WRITING = 32  # embeddings that wait for a slow disk; further ones stay in memory alone

Key = tuple[str, str, str]  # model, weights hash, image hash


def key_of(embedding: Embedding) -> Key:
    """Under which an embedding is kept."""
    return (embedding.model, embedding.model_hash, embedding.image_hash)


def size_of(embedding: Embedding) -> int:
    """Bytes of its maps."""
    return embedding.nbytes


class EmbeddingCache:
    """Any number of threads may use it.

    memory_bytes  of the maps kept in memory
    folder        for those on disk; None: memory alone
    disk_bytes    of the files
    """

    def __init__(
        self, memory_bytes: int, folder: Path | None = None, disk_bytes: int = 2_000_000_000
    ) -> None:
        self.memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Embedding] = OrderedDict()
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

    def remembered(self, key: Key) -> Embedding | None:
        """What memory holds; never touches the disk."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: Key) -> Embedding | None:
        """What memory or the disk holds."""
        found = self.remembered(key)
        if found is None and self._disk is not None:
            found = self._disk.get(key)
            if found is not None:
                self._remember(key, found)
        return found

    def put(self, embedding: Embedding) -> None:
        """Keep it, and let go of what was not used for longest."""
        key = key_of(embedding)
        self._remember(key, embedding)
        if self._disk is not None and self._writing.acquire(blocking=False):
            self._writer.submit(self._write, self._disk, key, embedding)

    def _write(self, disk: _Disk, key: Key, embedding: Embedding) -> None:
        try:
            disk.put(key, embedding)
        finally:
            self._writing.release()

    def close(self) -> None:
        """Wait until everything is on disk; nothing is kept after it."""
        self._writer.shutdown()

    def _remember(self, key: Key, embedding: Embedding) -> None:
        size = size_of(embedding)
        with self._lock:
            if size > self.memory_bytes or key in self._kept:
                return
            self._kept[key] = embedding
            self._used += size
            while self._used > self.memory_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._used -= size_of(dropped)


class _Disk:
    """Files `HASH.npz` in a folder of our own; what is damaged there counts as absent."""

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        found = [(path, path.stat()) for path in folder.glob("*.npz")]
        found.sort(key=lambda entry: entry[1].st_mtime)
        self._sizes = OrderedDict((path.name, state.st_size) for path, state in found)
        self._make_room()

    def get(self, key: Key) -> Embedding | None:
        name = _file_name(key)
        path = self._folder / name
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            found = Embedding.load(path)
            os.utime(path)
        except (DataError, OSError):
            found = None
        if found is not None and key_of(found) == key:
            return found
        with self._lock:
            self._sizes.pop(name, None)
            path.unlink(missing_ok=True)
        return None

    def put(self, key: Key, embedding: Embedding) -> None:
        name = _file_name(key)
        if name in self._sizes or size_of(embedding) > self._most:
            return
        with contextlib.suppress(OSError):  # a full disk costs a later encoding, nothing else
            embedding.save(self._folder / name)
            with self._lock:
                self._sizes[name] = (self._folder / name).stat().st_size
                self._make_room()

    def _make_room(self) -> None:
        while sum(self._sizes.values()) > self._most:
            name, _ = self._sizes.popitem(last=False)
            (self._folder / name).unlink(missing_ok=True)


def _file_name(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:40] + ".npz"
