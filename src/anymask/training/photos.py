"""Photos that are larger than training can use: sizes in, smaller photos and masks out.

The smallest part of a photo that a training picture shows decides: where even that is made smaller,
it can be as well in a smaller photo, which is cut, turned and coloured in a fraction of the time. A
photo of a telephone has ten times the pixels that `nano` learns from.

Letters: H W the photo, h w what is kept of it.

Decoded training photos in one memory-mapped file.

Compressed photos (AVIF above all) decode slower than a training step can wait for.
`PhotoStore.build` decodes each photo once; reading one afterwards is a copy out of the page cache.

    photos.bin   the pixels of all photos behind each other, uint8 RGB, row by row
    photos.json  {"format": 2, "shorter": N, "photos": {path: [offset, H, W, bytes, time]}}

Bytes and time are the file's own: its size, and its last change in nanoseconds.

Of large photos what is kept has N pixels along its shorter side (`photo_size`). Pictures of other
channels are (H, W, C) uint8 on the scale of their mix (`training.channels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from anymask.base import DataError, UintImage, parse_json, whole_file, write_json
from anymask.formats import AnnotatedImage, other_size
from anymask.images import load_image
from anymask.masks import ChannelMix, ModelSpec, Rle, mask_to_rle, rle_area, rle_merge, rle_to_mask
from anymask.training.augment import FINEST_AT_SCALE, FINEST_CROP, resize_planes
from anymask.training.channels import load_scaled
from anymask.training.recipe import Recipe

SMALLEST = 16  # pixels of a mask, at the training size, that is worth a prompt


def largest_side(recipe: Recipe) -> int:
    """Pixels of the recipe's largest training pictures; 0 where it has no stages, as where its
    photos are not learned from by clicks."""
    return max((side for stage in recipe.stages for side in (stage.side, *stage.sides)), default=0)


def enough(recipe: Recipe) -> int:
    """Pixels of a photo's shorter side that training can use, at most; 0: any number."""
    return math.ceil(largest_side(recipe) / FINEST_CROP)


def kept_hw(hw: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(H, W) -> (h, w), whose shorter side is at most so many pixels; 0: any."""
    if not shorter or min(hw) <= shorter:
        return hw
    height, width = (max(1, round(side * shorter / min(hw))) for side in hw)
    return height, width


def shrunk(image: UintImage, hw: tuple[int, int]) -> UintImage:  # (H, W, C) -> (h, w, C)
    """The picture at a smaller size, or itself at its own."""
    if image.shape[:2] == hw:
        return image
    return resize_planes(image, hw, cv2.INTER_AREA)


def is_seen(image: AnnotatedImage, recipe: Recipe, spec: ModelSpec) -> bool:
    """Whether some mask of a photo can be large enough in a training picture to be learned from.

    Half of what is wanted is enough: edges are rounded. Of a recipe without stages all can be.
    """
    side = largest_side(recipe)
    if not side:
        return True
    scale = side / (FINEST_CROP * min(image.hw))
    if recipe.at_scale and side < spec.image_side:
        scale = max(scale, FINEST_AT_SCALE * spec.image_side / max(image.hw))
    return any(rle_area(rle) * scale**2 >= SMALLEST / 2 for rle in image.rles)


class SmallMasks:
    """Masks of photos in the size in which these are kept; each is made smaller once."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, int | str], Rle] = {}

    def of_object(
        self, image: AnnotatedImage, number: int, hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """The mask of one of the photo's objects."""
        return self._at(hw, (str(image.source), number), (image.rles[number],))

    def of_objects(
        self, image: AnnotatedImage, word: str, numbers: list[int], hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """The mask of several of the photo's objects together, which `word` names."""
        if not numbers:
            return np.zeros(hw, np.uint8)
        return self._at(hw, (str(image.source), word), [image.rles[one] for one in numbers])

    def _at(
        self, hw: tuple[int, int], key: tuple[str, int | str], rles: list[Rle] | tuple[Rle, ...]
    ) -> UintImage:
        if rles[0].size == hw:
            return rle_to_mask(rle_merge(rles) if len(rles) > 1 else rles[0]).astype(np.uint8)
        if key not in self._small:
            mask = rle_to_mask(rle_merge(rles)).astype(np.uint8) * np.uint8(255)
            self._small[key] = mask_to_rle(shrunk(mask[..., None], hw)[..., 0] > 127)
        return rle_to_mask(self._small[key]).astype(np.uint8)


FORMAT = 2  # 1 had no times: of pictures without compression no edit was noticed
PIXELS, INDEX = "photos.bin", "photos.json"
DECODERS = 2  # threads; Pillow's decoders release the interpreter lock
BLOCK = 64  # photos decoded before they are written

Entry = tuple[int, int, int, int, int]  # offset, H, W, bytes and time of the file


class PhotoStore:
    """Photos that were decoded before, by path; others are decoded when asked for.

    folder    where `build` wrote
    channels  of pictures that are no photos
    shorter   pixels that larger photos are made smaller to along their shorter side; 0: none are
    """

    def __init__(self, folder: Path, channels: ChannelMix | None = None, shorter: int = 0) -> None:
        self.folder, self.channels, self.shorter = folder, channels, shorter
        self.entries = _read_index(folder / INDEX, shorter)
        self._pixels: np.memmap | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_pixels": None}  # another process maps the file itself

    @property
    def depth(self) -> int:
        """C."""
        return 3 if self.channels is None else self.channels.count

    def image(self, path: Path) -> UintImage:  # (H, W, C), read-only
        """One photo's pixels. Raises ImageError as `load_image` does."""
        entry = self.entries.get(str(path))
        if entry is None:
            return self.load(path)
        if self._pixels is None:
            self._pixels = np.memmap(self.folder / PIXELS, np.uint8, mode="r")
        offset, height, width = entry[:3]
        flat = self._pixels[offset : offset + self.depth * height * width]
        return np.asarray(flat).reshape(height, width, self.depth)

    def check_size(self, photo: AnnotatedImage) -> None:
        """Raises DataError for a photo of another size than its masks have."""
        entry = self.entries.get(str(photo.source))
        if entry is not None and entry[1:3] != kept_hw(photo.hw, self.shorter):
            raise other_size(photo.file_name, photo.hw)

    def load(self, path: Path) -> UintImage:  # (H, W, C)
        """Decode one photo. Raises ImageError; InputError for other channels."""
        image = load_image(path) if self.channels is None else load_scaled(path, self.channels)
        return shrunk(image, kept_hw((image.shape[0], image.shape[1]), self.shorter))

    @classmethod
    def build(
        cls,
        paths: Iterable[Path],
        folder: Path,
        told: Callable[[int, int], None] | None = None,
        channels: ChannelMix | None = None,
        shorter: int = 0,
    ) -> PhotoStore:
        """Decode all photos into `folder`, unless it holds just these already.

        told      is called with (photos done, photos in all) now and then
        channels  of pictures that are no photos
        shorter   see the class

        Raises ImageError for a photo that cannot be read, OSError from the disk.
        """
        wanted = sorted(set(paths))
        stats = {str(path): path.stat() for path in wanted}
        stamps = {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}
        store = cls(folder, channels, shorter)
        entries = store.entries
        same = stamps == {path: entry[3:] for path, entry in entries.items()}
        if same and _is_whole(folder / PIXELS, entries, store.depth):
            return store
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INDEX).unlink(missing_ok=True)
        entries, offset = {}, 0
        with whole_file(folder / PIXELS) as file, ThreadPoolExecutor(DECODERS) as pool:
            for number, (path, image) in enumerate(_decoded(pool, store.load, wanted)):
                height, width = image.shape[:2]
                entries[str(path)] = (offset, height, width, *stamps[str(path)])
                file.write(np.ascontiguousarray(image).data)
                offset += image.size
                if told is not None and number % 200 == 0:
                    told(number, len(wanted))
        write_json(folder / INDEX, {"format": FORMAT, "shorter": shorter, "photos": entries})
        return cls(folder, channels, shorter)


def _decoded(
    pool: ThreadPoolExecutor, load: Callable[[Path], UintImage], paths: list[Path]
) -> Iterator[tuple[Path, UintImage]]:
    """The photos in order, a few of them decoded ahead."""
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        yield from zip(block, pool.map(load, block), strict=True)


def _is_whole(path: Path, entries: dict[str, Entry], depth: int) -> bool:
    """Whether the pixels' file has the length that the index tells."""
    told = sum(depth * height * width for _, height, width, *_ in entries.values())
    return path.is_file() and path.stat().st_size == told


def _read_index(path: Path, shorter: int) -> dict[str, Entry]:
    """What the store holds; nothing where there is no index, or one of photos of another size.

    Raises DataError for another file.
    """
    try:
        raw = parse_json(path.read_bytes(), path)
        if raw["format"] != FORMAT or raw.get("shorter", 0) != shorter:
            return {}
        return {
            str(name): (int(o), int(h), int(w), int(n), int(t))
            for name, (o, h, w, n, t) in raw["photos"].items()
        }
    except FileNotFoundError:
        return {}
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not an index of decoded photos ({error}); delete its folder"
        ) from error
