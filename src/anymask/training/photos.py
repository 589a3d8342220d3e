"""Decoded training photos in one memory-mapped file: photo paths in, uint8 arrays out.

Compressed photos (AVIF above all) decode slower than a training step can wait for.
`PhotoStore.build` decodes each photo once; reading one afterwards is a copy out of the page cache.

    photos.bin   the pixels of all photos behind each other, uint8 RGB, row by row
    photos.json  {"format": 1, "photos": {path: [offset, H, W, bytes of the file]}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from anymask.data.images import load_image
from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import whole_file, write_json
from anymask.primitives.types import UintImage

FORMAT = 1
PIXELS, INDEX = "photos.bin", "photos.json"
DECODERS = 2  # threads; Pillow's decoders release the interpreter lock
BLOCK = 64  # photos decoded before they are written

Entry = tuple[int, int, int, int]  # offset, H, W, bytes of the file


class PhotoStore:
    """Photos that were decoded before, by path; others are decoded when asked for.

    folder  where `build` wrote
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = _read_index(folder / INDEX)
        self._pixels: np.memmap | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_pixels": None}  # another process maps the file itself

    def image(self, path: Path) -> UintImage:  # (H, W, 3), read-only
        """One photo's pixels. Raises ImageError as `load_image` does."""
        entry = self.entries.get(str(path))
        if entry is None:
            return load_image(path)
        if self._pixels is None:
            self._pixels = np.memmap(self.folder / PIXELS, np.uint8, mode="r")
        offset, height, width, _ = entry
        flat = self._pixels[offset : offset + 3 * height * width]
        return np.asarray(flat).reshape(height, width, 3)

    @classmethod
    def build(
        cls, paths: Iterable[Path], folder: Path, told: Callable[[int, int], None] | None = None
    ) -> PhotoStore:
        """Decode all photos into `folder`, unless it holds just these already.

        told  is called with (photos done, photos in all) now and then

        Raises ImageError for a photo that cannot be read, OSError from the disk.
        """
        wanted = sorted(set(paths))
        sizes = {str(path): path.stat().st_size for path in wanted}
        entries = _read_index(folder / INDEX)
        same = sizes == {path: entry[3] for path, entry in entries.items()}
        if same and _is_whole(folder / PIXELS, entries):
            return cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INDEX).unlink(missing_ok=True)
        entries, offset = {}, 0
        with whole_file(folder / PIXELS) as file, ThreadPoolExecutor(DECODERS) as pool:
            for number, (path, image) in enumerate(_decoded(pool, wanted)):
                height, width = image.shape[:2]
                entries[str(path)] = (offset, height, width, sizes[str(path)])
                file.write(np.ascontiguousarray(image).data)
                offset += image.size
                if told is not None and number % 200 == 0:
                    told(number, len(wanted))
        write_json(folder / INDEX, {"format": FORMAT, "photos": entries})
        return cls(folder)


def _decoded(pool: ThreadPoolExecutor, paths: list[Path]) -> Iterator[tuple[Path, UintImage]]:
    """The photos in order, a few of them decoded ahead."""
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        yield from zip(block, pool.map(load_image, block), strict=True)


def _is_whole(path: Path, entries: dict[str, Entry]) -> bool:
    """Whether the pixels' file has the length that the index tells."""
    told = sum(3 * height * width for _, height, width, _ in entries.values())
    return path.is_file() and path.stat().st_size == told


def _read_index(path: Path) -> dict[str, Entry]:
    """What the store holds; nothing where there is no index. Raises DataError for another file."""
    try:
        raw = parse_json(path.read_bytes(), path)
        if raw["format"] != FORMAT:
            return {}
        return {
            str(name): (int(o), int(h), int(w), int(n))
            for name, (o, h, w, n) in raw["photos"].items()
        }
    except FileNotFoundError:
        return {}
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not an index of decoded photos ({error}); delete its folder"
        ) from error
