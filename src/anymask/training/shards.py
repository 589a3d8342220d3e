"""Tar shards of training images: index, random access by position, and writing.

The layout is that of SA-1B: each image NAME.jpg (.png, .webp, ...) has a NAME.json with its masks.
The tar headers are indexed once; after that an image takes two reads. The n-th image of a
run depends only on seed and n, so a run can be resumed in the middle of an epoch with any number of
processes. Each epoch shuffles the shards, and the images inside a window of `WINDOW` shards, so
that reads stay local.

    shards.json  {"format": 1, "shards": {file: bytes}, "counts": [images of each]}
    shards.npy   (N, 4) int64: offset and size of the image, offset and size of its JSON
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anymask.base import DataError, brief, parse_json, staged, whole_file, write_json
from anymask.formats import AnnotatedImage, document_to_image, image_to_document, located
from anymask.images import load_image

FORMAT = 1
SHARD_INDEX, SAMPLE_OFFSETS = "shards.json", "shards.npy"
WINDOW = 8  # shards whose images are shuffled together


@brief
@dataclass(frozen=True, eq=False)
class ShardImages:
    """Images of a folder of shards, by their position in a run."""

    folder: Path  # Folder of the .tar files
    seed: int  # Seed of the order
    names: tuple[str, ...]  # File names of the shards, in order
    counts: NDArray[np.int64]  # (S,) number of images in each shard
    places: NDArray[np.int64] = field(repr=False)  # (N, 4) offsets and sizes, as in shards.npy
    # Keys of excluded images, SHARD/NUMBER; the next image is used instead
    without: frozenset[str] = frozenset()

    @classmethod
    def open(
        cls, folder: Path, index: Path, seed: int, without: frozenset[str] = frozenset()
    ) -> ShardImages:
        """Open the shards of a folder with the index that `index_shards` wrote."""
        shards, counts, places = _read_index(index)
        return cls(folder, seed, tuple(shards), counts, places, without)

    def sample(self, rng: Generator, place: int) -> AnnotatedImage:
        """Return the image at a position, over all epochs. Raises DataError or ImageError."""
        while True:
            shard, number = self.which(place)
            if f"{self.names[shard]}/{number}" not in self.without:
                return self.at(shard, number)
            place += 1

    def keys(self) -> list[str]:
        """Return the keys of all images."""
        counted = zip(self.names, self.counts.tolist(), strict=True)
        return [f"{name}/{number}" for name, count in counted for number in range(count)]

    def of_key(self, key: str) -> AnnotatedImage:
        """Return an image by key. Raises DataError or ImageError."""
        name, _, number = key.rpartition("/")
        if name not in self.names or int(number) >= self.counts[self.names.index(name)]:
            raise DataError(
                f"The image {key} is missing from the shards in {self.folder}. Restore the shards."
            )
        return self.at(self.names.index(name), int(number))

    def at(self, shard: int, number: int) -> AnnotatedImage:
        """Return an image by shard and number in it. Raises DataError or ImageError."""
        row = self.counts[:shard].sum() + number
        offset, size, json_offset, json_size = self.places[row].tolist()
        path = self.folder / self.names[shard]
        with path.open("rb") as file:
            file.seek(offset)
            pixels = file.read(size)
            file.seek(json_offset)
            text = file.read(json_size)
        with located(f"{path}, picture {number}"):
            return replace(document_to_image(parse_json(text, path)), source=load_image(pixels))

    def which(self, place: int) -> tuple[int, int]:
        """Return the shard and the number in it for a position in the run."""
        epoch, place = divmod(place, int(self.counts.sum()))
        shards = _shards_of(self.seed, epoch, len(self.names))
        ends = self.counts[shards].cumsum()
        first = int(np.searchsorted(ends, place, side="right")) // WINDOW * WINDOW
        window = shards[first : first + WINDOW]
        begin = int(ends[first - 1]) if first else 0
        sizes = self.counts[window]
        chosen = int(_mixed(self.seed, epoch, first, int(sizes.sum()))[place - begin])
        inside = int(np.searchsorted(sizes.cumsum(), chosen, side="right"))
        return int(window[inside]), chosen - int(sizes[:inside].sum())


@lru_cache(maxsize=2)
def _shards_of(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return the order of the shards in an epoch."""
    return np.random.default_rng([seed, epoch, 3]).permutation(count)


@lru_cache(maxsize=4)
def _mixed(seed: int, epoch: int, first: int, count: int) -> NDArray[np.int64]:
    """Return the order of the images in the window that starts with shard `first`."""
    return np.random.default_rng([seed, epoch, 4, first]).permutation(count)


def is_sharded(folder: Path) -> bool:
    """Return whether a folder contains .tar shards."""
    return folder.is_dir() and next(folder.glob("*.tar"), None) is not None


def index_shards(folder: Path, index: Path) -> None:
    """Index the headers of all shards, unless `index` is up to date.

    Raises DataError if a shard is not a tar file or has an image without a JSON file.
    """
    shards = {path.name: path.stat().st_size for path in sorted(folder.glob("*.tar"))}
    with contextlib.suppress(DataError):  # missing or corrupted
        if _read_index(index)[0] == shards:
            return
    pairs = [_pairs(folder / name) for name in shards]
    rows, counts = list(chain.from_iterable(pairs)), [len(some) for some in pairs]
    if not rows:
        raise DataError(f"The shards in {folder} contain no images. Add NAME.jpg with NAME.json.")
    with whole_file(index / SAMPLE_OFFSETS) as file:
        np.save(file, np.array(rows, np.int64))
    write_json(index / SHARD_INDEX, {"format": FORMAT, "shards": shards, "counts": counts})


def _read_index(index: Path) -> tuple[dict[str, int], NDArray[np.int64], NDArray[np.int64]]:
    """Read sizes of the shards, counts (S,) and places (N, 4). Raises DataError if corrupted."""
    with located(index / SHARD_INDEX):
        raw = parse_json((index / SHARD_INDEX).read_bytes(), index / SHARD_INDEX)
        shards, counts = raw["shards"], np.array(raw["counts"], np.int64)
        places = np.load(index / SAMPLE_OFFSETS, mmap_mode="r")
        stated = FORMAT, len(shards), np.int64, (sum(counts.tolist()), 4)
        inside = min(counts.min(), places.min()) >= 0 and places.max() <= max(shards.values())
        if (raw["format"], len(counts), places.dtype, places.shape) != stated or not inside:
            raise DataError("The index is corrupted. Remove it.")
    return shards, counts, places


def _pairs(path: Path) -> list[tuple[int, int, int, int]]:
    """Return offsets and sizes of each image and its JSON in a shard."""
    images: dict[str, tuple[int, int]] = {}
    texts: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if member.isfile() and not name.name.startswith("."):
                    where = texts if name.suffix == ".json" else images
                    where[str(name.with_suffix(""))] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path} is not a readable tar file. Decompress .gz files first."
        ) from error
    if odd := sorted(set(images) ^ set(texts)):
        raise DataError(
            f"{path} has {len(odd)} images without NAME.json, or JSON files without an image. "
            f"The first one is {odd[0]}. Add the missing files."
        )
    return [(*images[name], *texts[name]) for name in sorted(images)]


def write_shards(images: Iterable[AnnotatedImage], folder: Path, shard_bytes: int) -> int:
    """Write images and masks as shards of about `shard_bytes`; return the number of images.

    Raises DataError if the folder already contains shards, ImageError for invalid images.
    """
    if is_sharded(folder):
        raise DataError(f"{folder} already contains shards. Choose a new folder.")
    count, first = 0, 1
    with staged(folder) as shards:
        for number, group in enumerate(_grouped(images, shard_bytes)):
            with (
                shards.open(folder / f"shard-{number:06d}.tar") as file,
                tarfile.open(fileobj=file, mode="w") as tar,
            ):
                for image, pixels, suffix in group:
                    count += 1
                    name = f"{count:09d}"
                    named = replace(image, file_name=name + suffix)
                    text = json.dumps(image_to_document(named, count, first)).encode()
                    first += len(image.masks)
                    for member, content in ((named.file_name, pixels), (f"{name}.json", text)):
                        about = tarfile.TarInfo(member)
                        about.size = len(content)
                        tar.addfile(about, io.BytesIO(content))
    return count


def _grouped(
    images: Iterable[AnnotatedImage], shard_bytes: int
) -> Iterator[list[tuple[AnnotatedImage, bytes, str]]]:
    """Yield groups of images with their file contents, of about `shard_bytes` each."""
    group, size = list[tuple[AnnotatedImage, bytes, str]](), 0
    for image in images:
        if not isinstance(image.source, Path):
            raise DataError(
                f"The image file {image.file_name} is missing. Restore it, or remove its record."
            )
        pixels = image.source.read_bytes()
        group.append((image, pixels, image.source.suffix.lower()))
        size += len(pixels)
        if size >= shard_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group
