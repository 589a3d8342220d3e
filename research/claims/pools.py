"""Training images and test images of the experiment, as small sets.

    all          images of all sets, with all their masks
    tenth        a tenth of these images
    many_images  images with at least eight masks, with one mask each
    many_masks   an eighth of these images, with eight masks each: the same number of masks
    test         images of the evaluation sets, at most 128 pixels long, with at most two masks each

Letters: H W an image.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from anymask.base import DataError, UintImage
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Mask, Masks, mask_to_rle, rle_area, rle_to_mask, rle_to_string
from research.claims.arms import SIDE

TRAIN_SIDE = 192  # of the longer side, so that crops can be enlarged
DENSE = 8  # masks of an image in `many_masks`
SMALLEST = 64  # pixels of a mask
MOST = 12  # masks of an image in `all`
TEST_SETS = ("coco_val", "berkeley", "feral_cats", "camvid_driving", "bsds500_val")
TEST_MASKS = 2
DONE = "done.json"


@dataclass(frozen=True, kw_only=True)
class PoolSizes:
    """Images of each source set.

    Attributes:
        train: In `all`.
        dense: Images with many masks, in `many_images`.
        test: In `test`.
    """

    train: int = 40
    dense: int = 32
    test: int = 20


def make_pools(train: Path, test: Path, folder: Path, sizes: PoolSizes) -> None:
    """Write the pools, once. Raises DataError or ImageError.

    Args:
        train: Folder of the training sets.
        test: Folder of the evaluation sets.
    """
    if (folder / DONE).is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    some: list[AnnotatedImage] = []
    many: list[AnnotatedImage] = []
    for place in sorted(path.parent for path in train.glob("*/masks.jsonl")):
        info, images = load_set(place)
        if info.ships is not False:
            some += shuffled(images, rng)[: sizes.train]
            many += shuffled([one for one in images if len(one.objects) >= DENSE], rng)[
                : sizes.dense
            ]
    packed = write_pool(folder / "all", some, TRAIN_SIDE, MOST)
    write_part(folder, "tenth", shuffled(packed, rng)[: max(1, len(packed) // 10)])
    dense = write_pool(folder / "many_masks", many, TRAIN_SIDE, DENSE)
    dense = [one for one in dense if len(one.objects) == DENSE]
    few = dense[: max(1, len(dense) // DENSE)]
    if not few:
        raise DataError(
            f"{train} contains no image with {DENSE} masks. Pass a folder of sets with crowded "
            "images."
        )
    single = [replace(one, masks=Masks([one.objects[0]])) for one in dense[: DENSE * len(few)]]
    write_part(folder, "many_images", single, "many_masks")
    write_rows(folder / "many_masks", few)
    image_files = [shuffled(load_set(test / name)[1], rng)[: sizes.test]
              for name in TEST_SETS if (test / name).is_dir()]  # fmt: skip
    if not image_files:
        raise DataError(f"{test} contains none of the sets {', '.join(TEST_SETS)}.")
    write_pool(folder / "test", [one for part in image_files for one in part], SIDE, TEST_MASKS)
    (folder / DONE).write_text("{}\n")


def shuffled(images: Sequence[AnnotatedImage], rng: Generator) -> list[AnnotatedImage]:
    """Return the images in random order."""
    return [images[n] for n in rng.permutation(len(images))]


def write_pool(
    folder: Path, images: Sequence[AnnotatedImage], side: int, most: int
) -> list[AnnotatedImage]:
    """Write a set of reduced images with at most `most` masks each; return its images.

    Images without a mask of `SMALLEST` pixels are left out.
    """
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    packed = []
    for number, image in enumerate(images):
        pixels = reduced(image.image(), side)
        found = []
        for n in rng.permutation(len(image.objects)):
            mask = rle_to_mask(image.objects[n].rle).astype(np.uint8)
            small = cv2.resize(mask * 255, pixels.shape[1::-1], interpolation=cv2.INTER_AREA) > 127
            if small.sum() >= SMALLEST and small.mean() < 0.95:
                found.append(Mask(mask_to_rle(small)))
            if len(found) == most:
                break
        if found:
            name = f"{number}.jpg"
            hw = (pixels.shape[0], pixels.shape[1])
            path = folder / "images" / name
            cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            packed.append(AnnotatedImage(file_name=name, hw=hw, masks=Masks(found), source=path))
    write_rows(folder, packed)
    return packed


def reduced(image: UintImage, side: int) -> UintImage:
    """Reduce the longer side to `side` pixels; smaller images are unchanged."""
    scale = min(1.0, side / max(image.shape[:2]))
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_part(
    folder: Path, name: str, images: Sequence[AnnotatedImage], source: str = "all"
) -> None:
    """Write a set that shares the images of another one."""
    (folder / name).mkdir()
    (folder / name / "images").symlink_to(Path("..") / source / "images")
    write_rows(folder / name, images)


def write_rows(folder: Path, images: Sequence[AnnotatedImage]) -> None:
    """Write `masks.jsonl`."""
    with (folder / "masks.jsonl").open("w", encoding="utf-8") as file:
        for image in images:
            masks = [
                {"rle": rle_to_string(one.rle), "area": rle_area(one.rle)} for one in image.objects
            ]
            row = {"image": f"images/{image.file_name}", "hw": list(image.hw), "masks": masks}
            file.write(json.dumps(row) + "\n")
