"""Training samples: random crops of annotated images, with the masks of some objects.

A crop depends only on the seed and its number, so a resumed run uses the same ones. Letters: B
crops, M objects per crop, S side, s the side of the target masks, which is that of the model's
low-resolution masks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from anymask import models
from anymask.base import AnymaskError, ConfigError, DataError, UintImage, brief
from anymask.formats import SPLITS, AnnotatedImage, SetInfo, load_set, role_of
from anymask.images import find_images, image_hw
from anymask.masks import UNLABELED
from anymask.training.augment import brighten, fit_square, recolor, turn
from anymask.training.classes import class_numbers
from anymask.training.images import MIN_TARGET, ImageStore, SmallMasks, has_trainable_mask
from anymask.training.options import Scenes
from anymask.training.recipe import Recipe, RecipeStage
from anymask.training.shards import ShardImages, is_sharded
from anymask.training.workers import prepared, shared_memory_free

LOG = logging.getLogger(__name__)
AHEAD = 3  # batches that are prepared in advance
CROPS = 8  # attempts for an image before the next one is used, if images have an order
DEFAULT_REGION_SIDE = 8  # side in pixels of a target region if no object is known
MAX_COVER = 0.95  # maximum fraction of a crop that a mask covers
MAX_TRIES = 1000  # consecutive crops without an object before an error is raised
MAX_PER_IMAGE = 40  # masks that are decoded from one image


@brief
@dataclass(frozen=True, eq=False)
class Batch:
    """Crops and objects as model inputs and targets."""

    images: Tensor  # (B, 3, S, S) uint8, or (B, C, S, S) with other channels
    targets: Tensor  # (B, M, s, s) uint8, covered fraction of each cell, 0..255
    centers: Tensor  # (B, M, 2) distance-transform center of each object, model pixels
    insides: Tensor  # (B, M, 2) random position on the object, model pixels
    boxes: Tensor  # (B, M, 4) tight, xyxy, model pixels
    # (B, s, s) uint8, class of each cell (`training.classes`), if classes are trained
    numbers: Tensor | None = None

    def part(self, first: int, count: int) -> Batch:
        """Return `count` images from index `first` on, with their masks."""
        if count == len(self.images):
            return self
        tensors = (getattr(self, field.name) for field in fields(self))
        return Batch(*(tensor[first : first + count] for tensor in tensors if tensor is not None))


class ImageSource(TypedDict, total=False):
    """Details of the training data."""

    index: Path | None  # Folder of the shard index
    without: frozenset[str]  # Keys of held-out images (`load_held_out_images`)
    scenes: Scenes | None  # Generator of synthetic images, if the recipe uses them


class TrainingImages(IterableDataset[tuple[Tensor, ...]]):
    """Endless training crops of one worker, starting at optimizer step `first_step`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        images: ImageStore | None = None,
        *,
        rank: int = 0,
        first_step: int = 0,
        **source: Unpack[ImageSource],
    ) -> None:
        super().__init__()
        index, without = source.get("index"), source.get("without", frozenset())
        self.recipe, self.images, self.scenes = recipe, images, source.get("scenes")
        self.rank, self.first_step = rank, first_step
        self.pool: dict[int, tuple[Tensor, ...]] = {}
        self.masks = SmallMasks()
        self.spec = models.spec(recipe.model)
        if recipe.channels:  # padding has no defined color in channels, so images are stretched
            self.spec = replace(self.spec, fit="square")
        self.source: SetImages | ShardImages | ImagesInTurn
        if is_sharded(data):
            for name in ("channels", "synthetic", "sets", "views"):
                if getattr(recipe, name):
                    raise ConfigError(
                        f"{data} contains shards, which do not support {name}. Remove {name} from "
                        "the recipe, or use a folder of training sets."
                    )
            assert index is not None  # created by `loop.get_ready`
            self.source = ShardImages.open(data, index, recipe.seed, without)
        else:
            self.source = SetImages.of(recipe, data, without)
            if recipe.views:
                self.source = self.source.in_turn()

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self.recipe.prepare_ahead:
            cv2.setNumThreads(1)  # this process runs beside a training process
        try:
            for step in range(self.first_step, self.recipe.steps):
                stage, _ = self.recipe.stage_at(step)
                each = stage.images // self.recipe.workers
                before = self.recipe.images_before(step)
                for slot in range(self.rank * each, (self.rank + 1) * each):
                    if self.recipe.views:
                        done = before // self.recipe.workers + slot - self.rank * each
                        yield self.pooled(done, stage)
                        continue
                    rng = np.random.default_rng([self.recipe.seed, step, slot])
                    yield self.image(rng, stage.side_at(step), stage.masks, before + slot)
        except AnymaskError as error:
            # Yielded, because the loader's process would wrap a raised error in its traceback.
            yield (error,)  # type: ignore[misc]

    def pooled(self, done: int, stage: RecipeStage) -> tuple[Tensor, ...]:
        """Return a crop of this worker's part of the pool; each is used once per pass, shuffled.

        Args:
            done: Crops of this worker before this one.
        """
        assert isinstance(self.source, ImagesInTurn)  # `views` does not support shards
        count, workers = self.recipe.views * len(self.source.samples), self.recipe.workers
        numbers = range(min(self.rank, count - 1), count, workers)
        turn, position = divmod(done, len(numbers))
        rng = np.random.default_rng([self.recipe.seed, turn, self.rank])
        number = int(rng.permutation(numbers)[position])
        if number not in self.pool:
            rng = np.random.default_rng([self.recipe.seed, number])
            self.pool[number] = self.image(rng, stage.side, stage.masks, number)
        return self.pool[number]

    def image(self, rng: Generator, side: int, objects: int, place: int = 0) -> tuple[Tensor, ...]:
        """Create one crop with its objects, as the fields of Batch without B.

        Args:
            place: Number of the image, for data with an order. After several crops without an
                object the next image is used.
        """
        for attempt in range(MAX_TRIES):
            image, masks = self._scene(rng, side, place + attempt // CROPS)
            masks, kinds = np.split(masks, [len(masks) - len(self.recipe.classes)])
            if not len(masks) and not self.recipe.needs_masks:
                masks = spots((side, side), objects, rng)
            areas = masks.sum((1, 2), dtype=np.int64)
            masks = masks[(areas >= MIN_TARGET) & (areas < MAX_COVER * side * side)]
            if len(masks):
                break
        else:
            raise DataError(
                f"After {MAX_TRIES} attempts, no training crop of {side} x {side} pixels contained "
                f"a mask between {MIN_TARGET} pixels and {MAX_COVER:.0%} of the crop. Split images "
                "with tiny objects into tiles, and remove masks that cover whole images."
            )
        chosen = np.resize(rng.permutation(len(masks))[:objects], objects)
        stride = self.spec.image_side // self.spec.mask_side
        made = as_tensors(image, np.ascontiguousarray(masks[chosen]), rng, stride)
        if not self.recipe.classes:
            return made
        return (*made, torch.from_numpy(class_numbers(kinds, (side // stride,) * 2)))

    def _scene(self, rng: Generator, side: int, place: int) -> tuple[UintImage, UintImage]:
        if rng.random() < self.recipe.synthetic:
            assert self.scenes is not None  # checked by `loop.train`
            image, masks = self.scenes(
                side, rng, lambda: self.draw_source(rng), lambda: self.cut_out(rng)
            )
            image, masks = turn(image, masks, rng, self.recipe.turns)
            return recolor(image, rng), masks
        sample = self.source.sample(rng, place)
        image = self._pixels(sample)
        # All masks in random order, then one for each class.
        hw = (image.shape[0], image.shape[1])
        order = rng.permutation(len(sample.rles))[:MAX_PER_IMAGE]
        drawn = [self.masks.mask(sample, (int(number),), hw) for number in order]
        for name in self.recipe.classes:
            labels = enumerate(mask.label or UNLABELED for mask in sample.objects)
            numbers = tuple(number for number, label in labels if label == name)
            drawn.append(self.masks.mask(sample, numbers, hw))
        masks = np.stack(drawn) if drawn else np.zeros((0, *hw), np.uint8)
        image, masks = turn(image, masks, rng, self.recipe.turns)
        image = brighten(image, rng) if self.recipe.channels else recolor(image, rng)
        return fit_square(image, masks, side, rng, self.spec, self.recipe.at_scale)

    def draw_source(self, rng: Generator) -> UintImage:
        """Return the pixels of a random image."""
        return self._pixels(self.source.sample(rng, 0))

    def _pixels(self, sample: AnnotatedImage) -> UintImage:
        if self.images is None or not isinstance(sample.source, Path):
            return sample.image()
        return self.images.pixels(sample)

    def cut_out(self, rng: Generator) -> tuple[UintImage, UintImage]:
        """Return a random object of at least 400 pixels, cropped to its box."""
        for _ in range(20):
            sample = self.source.sample(rng, 0)
            image, number = self._pixels(sample), int(rng.integers(len(sample.rles)))
            mask = self.masks.mask(sample, (number,), (image.shape[0], image.shape[1]))
            if 400 <= np.count_nonzero(mask) <= 0.6 * mask.size:
                break
        x, y, w, h = cv2.boundingRect(mask)
        window = np.s_[y : y + h, x : x + w]
        return image[window], mask[window]


class SetImages:
    """Images drawn at random from sets with given probabilities.

    Args:
        sets: Sets with their images.
        chances: Probability of each set; the sum is 1.
    """

    def __init__(
        self, sets: list[tuple[SetInfo, list[AnnotatedImage]]], chances: NDArray[np.float64]
    ) -> None:
        self.sets, self.chances = sets, chances

    @classmethod
    def of(cls, recipe: Recipe, data: Path, without: frozenset[str] = frozenset()) -> SetImages:
        """Load the recipe's sets, without held-out keys (`load_held_out_images`).

        Raises ConfigError or DataError.
        """
        sets, spec = [], models.spec(recipe.model)
        for info, some in training_sets(recipe, data):
            left = (image for image in some if key_of(info, image) not in without)
            # Exclude images whose masks cannot appear in any training crop.
            usable = [s for s in left if not s.rles or has_trainable_mask(s, recipe, spec)]
            if usable:
                sets.append((info, usable))
        if not sets:
            raise DataError(
                f"No mask in {data} covers {MIN_TARGET} pixels in a training crop of "
                f"{recipe.largest_side} x {recipe.largest_side} pixels. Each crop shows at "
                "least a third of the shorter side of an image. Split the images into tiles "
                "around their objects."
            )
        weights = np.array([recipe.weights.get(i.name, 1.0) * np.sqrt(len(s)) for i, s in sets])
        if not weights.sum() > 0:
            raise ConfigError(
                "The sampling weights of all sets are 0. Set at least one of them above 0."
            )
        return cls(sets, weights / weights.sum())

    def sample(self, rng: Generator, place: int) -> AnnotatedImage:
        """Draw a random image; `place` is ignored."""
        samples = self.sets[int(rng.choice(len(self.sets), p=self.chances))][1]
        return samples[int(rng.integers(len(samples)))]

    def in_turn(self) -> ImagesInTurn:
        """Return all images in a fixed order."""
        return ImagesInTurn([sample for _, samples in self.sets for sample in samples])


@dataclass(frozen=True)
class ImagesInTurn:
    """Images in a fixed order, each used equally often."""

    samples: list[AnnotatedImage]

    def sample(self, _: Generator, place: int) -> AnnotatedImage:
        """Return the image at a position, modulo their number."""
        return self.samples[place % len(self.samples)]


def key_of(info: SetInfo, sample: AnnotatedImage) -> str:
    """Return the key of an image, SET/NAME, for holding it out (`load_held_out_images`)."""
    return f"{info.folder.name}/{sample.file_name}"


def of_split(paths: Sequence[Path], data: Path, split: str) -> list[Path]:
    """Return the sets or images in a folder that are in its split train or val.

    Beside a folder train, folders without the name of a split are in train; else all of them.
    """
    parts = [[role_of(part) for part in path.relative_to(data).parts] for path in paths]
    if not any("train" in some for some in parts):
        return [*paths] if split == "train" else []
    splits = [next((part for part in some if part in SPLITS), "train") for some in parts]
    return [path for path, role in zip(paths, splits, strict=True) if role == split]


def training_sets(
    recipe: Recipe, data: Path, split: str = "train"
) -> list[tuple[SetInfo, list[AnnotatedImage]]]:
    """Load the recipe's sets, without images that have no masks. Raises ConfigError, DataError.

    Args:
        split: "val" loads the sets for validation beside a set train; [] if there are none.
    """
    folders = sorted(path for path in data.iterdir() if (path / "masks.jsonl").is_file())
    names = recipe.sets or tuple(path.name for path in of_split(folders, data, split))
    if split != "train" and not names:
        return [] if folders else unlabeled_set(data, split)
    if not names and not recipe.needs_masks:
        if recipe.synthetic:
            raise ConfigError(
                f"{data} contains images without masks. Set synthetic = 0 to use them."
            )
        return unlabeled_set(data)
    if not names:
        raise ConfigError(
            f"{data} contains no training set (a folder with masks.jsonl). Pass its parent folder."
        )
    sets = []
    for name in names:
        info, samples = load_set(data / name)
        if info.ships is False and not recipe.sets:
            continue
        usable = [sample for sample in samples if sample.rles]
        if not usable:
            raise DataError(f"{data / name} contains no image with a mask. Remove this set.")
        sets.append((info, usable))
    if not sets:
        raise DataError(
            f"{data} contains only sets that forbid the publication of trained weights "
            f"(`ships` is false in set.json): {', '.join(names)}. List these sets in `sets` of "
            "the recipe, or set `ships` to true."
        )
    return sets


def unlabeled_set(folder: Path, split: str = "train") -> list[tuple[SetInfo, list[AnnotatedImage]]]:
    """Return the images of a split in a folder and its subfolders as a set.

    Returns [] if there are no images for validation. Raises DataError if there are none to train.
    """
    images = [
        AnnotatedImage(file_name=path.name, hw=image_hw(path), source=path)
        for path in of_split([*find_images(folder)], folder, split)
    ]
    if not images and split == "train":
        raise DataError(f"{folder} contains no images. Choose another folder.")
    set_folder = folder if split == "train" else folder / split
    return [(SetInfo(name=set_folder.name, folder=set_folder), images)] if images else []


def spots(hw: tuple[int, int], count: int, rng: Generator) -> UintImage:  # -> (M, H, W)
    """Create small squares at random positions, as targets if no object is known."""
    masks = np.zeros((count, *hw), np.uint8)
    for mask in masks:
        y, x = (int(rng.integers(0, max(1, side - DEFAULT_REGION_SIDE + 1))) for side in hw)
        mask[y : y + DEFAULT_REGION_SIDE, x : x + DEFAULT_REGION_SIDE] = 1
    return masks


def as_tensors(
    image: UintImage, masks: UintImage, rng: Generator, stride: int
) -> tuple[Tensor, ...]:
    """(S, S, 3), (M, S, S) -> the fields of Batch without B; s = S / stride."""
    small, count = (image.shape[0] // stride, image.shape[0] // stride), len(masks)
    targets, boxes = np.empty((count, *small), np.uint8), np.empty((count, 4), np.float32)
    centers, insides = np.empty((count, 2), np.float32), np.empty((count, 2), np.float32)
    for i, mask in enumerate(masks):
        targets[i] = cv2.resize(mask * 255, small, interpolation=cv2.INTER_AREA)
        x, y, w, h = cv2.boundingRect(mask)
        boxes[i] = (x, y, x + w, y + h)
        window = mask[y : y + h, x : x + w]
        depth = cv2.distanceTransform(np.pad(window, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        cy, cx = np.unravel_index(int(depth.argmax()), depth.shape)
        centers[i] = (x + cx + 0.5, y + cy + 0.5)
        ys, xs = np.nonzero(window)
        some = int(rng.integers(len(ys)))
        insides[i] = (x + xs[some] + 0.5, y + ys[some] + 0.5)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    return tuple(torch.from_numpy(a) for a in (planes, targets, centers, insides, boxes))


def collate(rows: Sequence[tuple[Any, ...]]) -> Batch | AnymaskError:
    """Stack crops of one size; return the error if one could not be read."""
    for first, *_ in rows:
        if isinstance(first, AnymaskError):
            return first
    return Batch(*(torch.stack(column) for column in zip(*rows, strict=True)))


def batches(
    recipe: Recipe,
    data: Path,
    images: ImageStore | None,
    *,
    rank: int,
    first_step: int,
    **source: Unpack[ImageSource],
) -> Iterator[Batch]:
    """Yield the batches of one worker, prepared by another process; one loader for each stage."""
    channels = len(recipe.channels.get("lows", "rgb"))
    expected = 100_000 + (AHEAD + 3) * max(
        stage.images * max(stage.side, *stage.sides, 0) ** 2 * (channels + 1 + stage.masks / 4)
        for stage in recipe.stages
    )
    free = shared_memory_free()
    if recipe.prepare_ahead and free is not None and free < expected:
        LOG.warning(
            "The training process prepares its images itself, which is slower. Preparing them in "
            "another process requires %.1f MB of shared memory, but /dev/shm has %.1f MB. Make "
            "/dev/shm larger (docker run --shm-size=1g), or set prepare_ahead = false.",
            expected / 1e6, free / 1e6,
        )  # fmt: skip
        recipe = replace(recipe, prepare_ahead=False)
    samples = TrainingImages(recipe, data, images, rank=rank, first_step=first_step, **source)
    step = first_step
    while step < recipe.steps:
        stage, inside = recipe.stage_at(step)
        samples.first_step = step
        loader = DataLoader(
            samples,
            batch_size=stage.images // recipe.workers,
            num_workers=1 if recipe.prepare_ahead else 0,
            prefetch_factor=AHEAD if recipe.prepare_ahead else None,
            # A forked child would inherit OpenCV's thread pool without its threads, and hang.
            multiprocessing_context="spawn" if recipe.prepare_ahead else None,
            collate_fn=collate,
        )
        for batch in prepared(loader):
            if isinstance(batch, AnymaskError):
                raise batch
            yield batch
            step, inside = step + 1, inside + 1
            if inside == stage.steps:
                break
