"""Cache of decoded training images, scaled down to the size that training can use.

Decoding compressed images (AVIF above all) takes longer than a training step, so each is stored as
an .npy file, which is memory-mapped. Photos of phones have ten times the pixels that `nano` is
trained on: the smallest crop that training uses determines the stored size. If even that crop would
be scaled down, a smaller image gives the same result, and is faster to crop, rotate and recolor.

Letters: H W the image, h w its stored size, C channels (3, or those of a mix, `training.channels`).
Pixels are uint8.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError

import cv2
import numpy as np

from anymask.base import UintImage, whole_file
from anymask.formats import AnnotatedImage, size_error
from anymask.images import load_image
from anymask.masks import ChannelMix, ModelSpec, Rle, mask_to_rle, rle_area, rle_merge, rle_to_mask
from anymask.training.augment import FINEST_AT_SCALE, FINEST_CROP, resize_planes
from anymask.training.channels import load_scaled
from anymask.training.recipe import Recipe

MIN_TARGET = 16  # minimum pixels of a mask, at the training size, to be used as a target
DECODER_THREADS = 2  # threads; Pillow's decoders release the interpreter lock


def enough(recipe: Recipe) -> int:
    """Return the maximum useful pixels of an image's shorter side; 0 for no limit."""
    return math.ceil(recipe.largest_side / FINEST_CROP)


def kept_hw(hw: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return the size with at most `shorter` pixels on the shorter side; 0 for no limit."""
    if not shorter or min(hw) <= shorter:
        return hw
    height, width = (max(1, round(side * shorter / min(hw))) for side in hw)
    return height, width


def shrunk(image: UintImage, hw: tuple[int, int]) -> UintImage:  # (H, W, C) -> (h, w, C)
    """Scale an image down; return it unchanged if it has that size."""
    return image if image.shape[:2] == hw else resize_planes(image, hw, cv2.INTER_AREA)


def has_trainable_mask(image: AnnotatedImage, recipe: Recipe, spec: ModelSpec) -> bool:
    """Return whether some mask of an image can be large enough in a training crop.

    Half of the minimum area is sufficient, because edges are rounded. True for a recipe without
    stages.
    """
    side = recipe.largest_side
    if not side:
        return True
    scale = side / (FINEST_CROP * min(image.hw))
    if recipe.at_scale and side < spec.image_side:
        scale = max(scale, FINEST_AT_SCALE * spec.image_side / max(image.hw))
    return any(rle_area(rle) * scale**2 >= MIN_TARGET / 2 for rle in image.rles)


class ImageStore:
    """Cache of images that `keep` decodes to a folder; others are decoded on demand.

    A file is named by a hash of path, size and time, so edited images are decoded again.

    Args:
        folder: Cache folder.
        channels: Mix for multi-channel images. None for RGB.
        shorter: Maximum pixels of the shorter side; larger images are scaled down. 0 for no limit.
    """

    def __init__(self, folder: Path, channels: ChannelMix | None = None, shorter: int = 0) -> None:
        self.folder, self.channels, self.shorter = folder, channels, shorter

    def keep(self, images: Sequence[AnnotatedImage]) -> None:
        """Decode all images that are not cached yet, and delete files of other images.

        Raises ImageError for unreadable images, DataError if the size differs from the masks, or
        OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        expected = {
            self.place(image.source): image for image in images if isinstance(image.source, Path)
        }
        for old in set(self.folder.iterdir()) - set(expected):
            old.unlink()
        with ThreadPoolExecutor(DECODER_THREADS) as pool:
            list(pool.map(self._keep, expected, expected.values()))

    def _keep(self, place: Path, image: AnnotatedImage) -> None:
        pixels = self.pixels(image)
        if not isinstance(pixels, np.memmap):
            with whole_file(place) as file:
                np.save(file, pixels)

    def place(self, path: Path) -> Path:
        """Return the path of the cached pixels of an image."""
        stat = path.stat()
        about = f"{path} {stat.st_size} {stat.st_mtime_ns} {self.shorter} {self.channels}"
        return self.folder / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npy"

    def pixels(self, pixels: AnnotatedImage) -> UintImage:  # (h, w, C), read-only where it was kept
        """Load the pixels of an image. Raises ImageError, InputError or DataError."""
        path = pixels.source
        assert isinstance(path, Path)
        try:
            image: UintImage = np.load(self.place(path), mmap_mode="r")
        except (OSError, EOFError, SyntaxError, TokenError, ValueError):  # not cached, or damaged
            whole = load_image(path) if self.channels is None else load_scaled(path, self.channels)
            image = shrunk(whole, kept_hw((whole.shape[0], whole.shape[1]), self.shorter))
        if image.shape[:2] != kept_hw(pixels.hw, self.shorter):
            raise size_error(pixels.file_name, pixels.hw)
        return image


class SmallMasks:
    """Cache of masks at the stored size of their images."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, tuple[int, ...]], Rle] = {}

    def mask(
        self, image: AnnotatedImage, numbers: tuple[int, ...], hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """Return the union of the masks of some objects."""
        if not numbers:
            return np.zeros(hw, np.uint8)
        rles = [image.rles[number] for number in numbers]
        whole = rles[0] if len(rles) == 1 else None
        if rles[0].size == hw:
            return rle_to_mask(whole or rle_merge(rles)).astype(np.uint8)
        key = (str(image.source), numbers)
        if key not in self._small:
            large = rle_to_mask(whole or rle_merge(rles)).astype(np.uint8) * np.uint8(255)
            self._small[key] = mask_to_rle(shrunk(large[..., None], hw)[..., 0] > 127)
        return rle_to_mask(self._small[key]).astype(np.uint8)
