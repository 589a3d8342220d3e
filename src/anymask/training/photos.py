"""Decoded training photos: each is decoded once, and made no larger than training can use.

Compressed photos (AVIF above all) decode slower than a training step can wait for, so that each is
kept as an .npy file, which is mapped into memory. A photo of a telephone has ten times the pixels
that `nano` learns from: the smallest part of a photo that a training picture shows decides how much
of it is kept. Where even that part is made smaller, it can be as well in a smaller photo, which is
cut, turned and colored in a fraction of the time.

Letters: H W the photo, h w what is kept of it, C channels (3, or those of a mix,
`training.channels`). Pixels are uint8.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from anymask.base import UintImage, whole_file
from anymask.formats import AnnotatedImage, other_size
from anymask.images import load_image
from anymask.masks import ChannelMix, ModelSpec, Rle, mask_to_rle, rle_area, rle_merge, rle_to_mask
from anymask.training.augment import FINEST_AT_SCALE, FINEST_CROP, resize_planes
from anymask.training.channels import load_scaled
from anymask.training.recipe import Recipe

SMALLEST = 16  # pixels of a mask, at the training size, that is worth a prompt
DECODERS = 2  # threads; Pillow's decoders release the interpreter lock


def enough(recipe: Recipe) -> int:
    """Pixels of a photo's shorter side that training can use, at most; 0: any number."""
    return math.ceil(recipe.largest_side / FINEST_CROP)


def kept_hw(hw: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(H, W) -> (h, w), whose shorter side is at most so many pixels; 0: any."""
    if not shorter or min(hw) <= shorter:
        return hw
    height, width = (max(1, round(side * shorter / min(hw))) for side in hw)
    return height, width


def shrunk(image: UintImage, hw: tuple[int, int]) -> UintImage:  # (H, W, C) -> (h, w, C)
    """The picture at a smaller size, or itself at its own."""
    return image if image.shape[:2] == hw else resize_planes(image, hw, cv2.INTER_AREA)


def is_seen(image: AnnotatedImage, recipe: Recipe, spec: ModelSpec) -> bool:
    """Whether some mask of a photo can be large enough in a training picture to be learned from.

    Half of what is wanted is enough: edges are rounded. Of a recipe without stages all can be.
    """
    side = recipe.largest_side
    if not side:
        return True
    scale = side / (FINEST_CROP * min(image.hw))
    if recipe.at_scale and side < spec.image_side:
        scale = max(scale, FINEST_AT_SCALE * spec.image_side / max(image.hw))
    return any(rle_area(rle) * scale**2 >= SMALLEST / 2 for rle in image.rles)


class PhotoStore:
    """Photos that `keep` has decoded into a folder; others are decoded when they are asked for.

    A file is named by the photo's path, size and time, so that an edited photo is decoded anew.

    Args:
        channels: Of pictures that are no photos.
        shorter: Pixels that larger photos are made smaller to along their shorter side; 0: none
            are.
    """

    def __init__(self, folder: Path, channels: ChannelMix | None = None, shorter: int = 0) -> None:
        self.folder, self.channels, self.shorter = folder, channels, shorter

    def keep(self, photos: Sequence[AnnotatedImage]) -> None:
        """Decode the files of all photos that are not here yet; files of other photos go.

        Raises ImageError for a photo that cannot be read, DataError for one of another size than
        its masks have, OSError from the disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = {self.place(one.source): one for one in photos if isinstance(one.source, Path)}
        for old in set(self.folder.iterdir()) - set(wanted):
            old.unlink()
        with ThreadPoolExecutor(DECODERS) as pool:
            for _ in pool.map(self._keep, wanted, wanted.values()):
                pass

    def _keep(self, place: Path, photo: AnnotatedImage) -> None:
        pixels = self.pixels(photo)
        if not isinstance(pixels, np.memmap):
            with whole_file(place) as file:
                np.save(file, pixels)

    def place(self, path: Path) -> Path:
        """The file that has a photo's pixels, or would have them."""
        stat = path.stat()
        about = f"{path} {stat.st_size} {stat.st_mtime_ns} {self.shorter} {self.channels}"
        return self.folder / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npy"

    def pixels(self, photo: AnnotatedImage) -> UintImage:  # (h, w, C), read-only where it was kept
        """One photo's pixels. Raises ImageError, InputError for other channels, DataError."""
        path = photo.source
        assert isinstance(path, Path)
        try:
            image: UintImage = np.load(self.place(path), mmap_mode="r")
        except (OSError, EOFError, ValueError):  # not kept, or cut off by a full disk
            whole = load_image(path) if self.channels is None else load_scaled(path, self.channels)
            image = shrunk(whole, kept_hw((whole.shape[0], whole.shape[1]), self.shorter))
        if image.shape[:2] != kept_hw(photo.hw, self.shorter):
            raise other_size(photo.file_name, photo.hw)
        return image


class SmallMasks:
    """Masks of photos in the size in which these are kept; each is made smaller once."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, tuple[int, ...]], Rle] = {}

    def mask(
        self, photo: AnnotatedImage, numbers: tuple[int, ...], hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """The mask of some of the photo's objects together."""
        if not numbers:
            return np.zeros(hw, np.uint8)
        rles = [photo.rles[one] for one in numbers]
        whole = rles[0] if len(rles) == 1 else None
        if rles[0].size == hw:
            return rle_to_mask(whole or rle_merge(rles)).astype(np.uint8)
        key = (str(photo.source), numbers)
        if key not in self._small:
            large = rle_to_mask(whole or rle_merge(rles)).astype(np.uint8) * np.uint8(255)
            self._small[key] = mask_to_rle(shrunk(large[..., None], hw)[..., 0] > 127)
        return rle_to_mask(self._small[key]).astype(np.uint8)
