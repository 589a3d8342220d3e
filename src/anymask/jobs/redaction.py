"""Redact images with labels: write copies with masked objects hidden, and without metadata.

Only pixels are copied, without EXIF, GPS, XMP, comments and thumbnails. Existing copies are
detected by `edit.RedactedCopy`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, ImageError, InputError, OnProgress, check_keywords, whole_file
from anymask.formats import AnnotatedImage, Dataset, read
from anymask.images import read_pages
from anymask.jobs.settings import ImageItem, ImageSettings, LazyImageFile, PlacedImages, image_paths
from anymask.masks import OPAQUE, TRANSPARENT, Mask, Masks, mask_to_rle, rle_to_string, save_image
from anymask.track import is_track_file, masks_of_frames

if TYPE_CHECKING:
    from anymask.edit import Hiding, Redactor
    from anymask.images import MaskValues

Source = Path | tuple[Path, ...] | PlacedImages


@dataclass(frozen=True)
class RedactLabels:
    """Masks to hide in each image."""

    name: str  # Name of the labels for messages
    # Labels by resolved image path, or by file name for single images
    images: dict[str, AnnotatedImage]

    @classmethod
    def read(
        cls,
        source: Source,
        labels: str | Path | Dataset,
        names: Sequence[str] = (),
        mask_values: MaskValues = "auto",
    ) -> RedactLabels:
        """Read labels in any format, with boxes as rectangles. One image may have a mask image.

        Raises DataError if the labels cannot be read or belong to none of the images, InputError if
        no mask has one of the names.

        Args:
            source: Images of the labels.
            names: Names of the objects to hide. Empty: all.
            mask_values: Interpretation of mask image values. A single mask image is binary by
                default.
        """
        if isinstance(source, PlacedImages):
            raise InputError(
                "Redaction with labels requires the folder of the images. Pass the folder."
            )
        folder = source if isinstance(source, Path) and source.is_dir() else None
        path = labels.source if isinstance(labels, Dataset) else Path(labels)
        if folder is None and path.suffix.lower() in TRANSPARENT | OPAQUE:
            from anymask.images import load_mask

            if not isinstance(source, Path):
                raise InputError(
                    f"{path} is the mask of one image. Pass one image, or a folder of masks."
                )
            mask = load_mask(path, "binary" if mask_values == "auto" else mask_values) > 0
            masks = [Mask(mask_to_rle(mask))] if mask.any() else []
            hw = (mask.shape[0], mask.shape[1])
            return cls(
                path.name,
                {source.name: AnnotatedImage(file_name=source.name, hw=hw, masks=Masks(masks))},
            )
        if folder is not None and is_track_file(path):
            from anymask.images import image_hw

            if names:
                raise InputError(f"{path} contains tracks, which have no names. Remove --words.")
            frames = {
                os.path.realpath(frame): AnnotatedImage(
                    file_name=frame.name, hw=image_hw(frame), masks=Masks(masks)
                )
                for frame, masks in masks_of_frames(folder, path).items()
            }
            return cls(path.name, frames)
        if not isinstance(labels, Dataset):  # crowd regions must be hidden, too
            labels = read(path, images=folder, boxes=True, crowd="keep", mask_values=mask_values)
        images: dict[str, AnnotatedImage] = {}
        for image in labels:
            if folder is None:
                images[Path(image.file_name).name] = image
                continue
            try:
                images[os.path.realpath(labels.image_path(image))] = image
            except DataError:
                continue  # the labels may contain other images
        labels.lost.refuse_records(
            path,
            "Fix these records, or choose other labels. The objects of skipped records "
            "would stay visible.",
        )
        if not images:
            raise DataError(
                f"{path}: None of these labels belongs to an image in {folder}. "
                "Pass the folder of the labeled images."
            )
        return cls(labels.name, only_named(images, names))

    def of(self, source: Path) -> AnnotatedImage | None:
        """Labels of an image, or None if it is not labeled."""
        return self.images.get(os.path.realpath(source)) or self.images.get(source.name)


def only_named(
    images: dict[str, AnnotatedImage], names: Sequence[str]
) -> dict[str, AnnotatedImage]:
    """Select the masks with these names. Raises InputError for unknown ones."""
    if not names:
        return images
    requested = {name.lower() for name in names}
    there = {mask.label for image in images.values() for mask in image.masks if mask.label}
    unknown = sorted(requested - {name.lower() for name in there})
    if unknown:
        raise InputError(
            f"No mask in the labels is named {', '.join(map(repr, unknown))}. The names in the "
            f"labels: {', '.join(sorted(there)) or 'none'}."
        )
    return {
        key: AnnotatedImage(
            file_name=image.file_name,
            hw=image.hw,
            masks=Masks([mask for mask in image.masks if (mask.label or "").lower() in requested]),
        )
        for key, image in images.items()
    }


@dataclass(frozen=True)
class RedactTask:
    """Write each image with its labeled objects hidden."""

    labels: RedactLabels
    how: Hiding = "solid"  # As for `edit.redact`
    color: str = "black"  # As for `edit.redact`
    force: bool = False  # Whether to copy images without labels unchanged

    def __post_init__(self) -> None:
        _ = self.redactor  # validates the settings

    @property
    def redactor(self) -> Redactor:
        """Redactor with these settings. Raises InputError."""
        from anymask.edit import Redactor

        return Redactor(self.how, self.color)

    @classmethod
    def plan(cls, source: Any, settings: dict[str, Any]) -> tuple[Source, RedactTask]:
        """Settings: `labels`, `names`, `mask_values`, `how`, `colour` and `force`."""
        keys = ["labels", "names", "mask_values", "how", "color", "force"]
        check_keywords(settings, [*keys, "shard", "output_shards"])
        if settings.get("labels") is None:
            raise InputError("Labels are required. Pass labels=FILE.")
        images = image_paths(source)
        labels = RedactLabels.read(
            images, settings["labels"], settings.get("names", ()),
            settings.get("mask_values", "auto"),
        )  # fmt: skip
        style = {name: settings[name] for name in ("how", "color", "force") if name in settings}
        return images, cls(labels, **style)

    def open(self) -> RedactWork:
        """Create the work. Nothing is loaded."""
        return RedactWork(self)


class RedactWork:
    """Write redacted copies of images."""

    def __init__(self, task: RedactTask) -> None:
        self.task = task
        self.about: dict[str, Any] = {
            "labels": task.labels.name, "how": task.how, "color": task.color,
        }  # fmt: skip

    def __call__(self, item: ImageItem, on_step: OnProgress | None = None) -> int | None:
        """Write the copy. Returns the number of hidden masks, or None if the copy exists.

        Images without labels return 0. Raises DataError if the labels have another size, ImageError
        if the image does not exist, InputError if another file exists at the path of the copy.
        """
        from anymask.edit import RedactedCopy

        image = self.task.labels.of(item.image)
        if image is None and not self.task.force:
            if not item.image.exists():
                raise ImageError(f"File not found: {str(item.image)!r}. Check the path.")
            return 0
        refuse_pages(item.image)
        source, suffix = LazyImageFile(item, ImageSettings()), item.image.suffix.lower()
        path = (
            item.named[0][1]
            if item.named
            else item.output(suffix if suffix in TRANSPARENT | OPAQUE else ".png")
        )
        masks = None if image is None else [rle_to_string(mask.rle) for mask in image.masks]
        facts = [source.file_hash, masks, self.task.how, self.task.color]  # identify the copy
        copy = RedactedCopy(path, item.image)
        if copy.notes(facts) is not None:
            return None
        pixels = source.layered  # (H, W, 3 or 4)
        if image is not None and image.masks:
            if image.hw != pixels.shape[:2]:
                raise DataError(
                    f"The labels belong to an image of {image.hw} (height, width), but "
                    f"this image has {pixels.shape[:2]}. Use the labeled image."
                )
            pixels = self.task.redactor.hide(pixels, [mask.rle for mask in image.masks])
        copy.begin()
        with whole_file(path) as file:
            save_image(file, pixels, path.suffix.lower())
        copy.end(facts)
        return len(masks or ())


def refuse_pages(source: Path) -> None:
    """Raise ImageError if an image has several pages, of which a copy would keep one."""
    if (count := read_pages(source).count) > 1:
        raise ImageError(f"{source.name} has {count} pages. Save each page as an image.")
