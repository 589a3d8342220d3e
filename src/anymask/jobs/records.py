"""Mask files of jobs: SA-1B JSON with the settings that produced it, and overlay images.

An image is skipped if its records have the same pixels, model and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, OnProgress, parse_json, whole_file, write_json
from anymask.jobs.settings import ImageItem, ImageSettings, LazyImageFile
from anymask.masks import save_image

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Mask
    from anymask.segment import Model

OVERLAY_SIDE = 1600  # pixels


class MaskWork:
    """Base class of work that writes masks of each image. Subclasses implement `find`.

    Attributes:
        about: Settings of all records: model, weights hash and options, JSON serializable.
        overlay: Whether to write an overlay image.
        source_image: Suffix of the overlay image.
        inside: Subfolder for the records in the output folder.
    """

    about: dict[str, Any]
    source_image = ".png"
    inside = ""

    def __init__(self, model: Model, image_settings: ImageSettings, overlay: bool) -> None:
        self.model, self.image_settings, self.overlay = model, image_settings, overlay
        self.about = {"model": model.name, "weights": model.runtime.weights_hash}

    def about_image(self, item: ImageItem) -> dict[str, Any]:
        """Additional settings of the records of one image."""
        return {}

    def notes(self) -> dict[str, Any]:
        """Additional data to write. Changes do not invalidate records."""
        return {}

    def is_current(self, inputs_of_result: dict[str, Any], records: Sequence[Mask]) -> bool:
        """Whether records of an earlier run are still valid."""
        return True

    def find(
        self, image: LazyImageFile, item: ImageItem, on_step: OnProgress | None
    ) -> Sequence[Mask]:
        """Predict the masks of one image. Raises as `ImageWork`."""
        raise NotImplementedError

    def draws(self, records: Sequence[Mask]) -> bool:
        """Whether these records require an image."""
        return self.overlay

    def draw(self, path: Path, image: LazyImageFile, records: Sequence[Mask]) -> None:
        """Write the image with its masks."""
        write_overlay(path, image.shown, records)

    def __call__(self, item: ImageItem, on_step: OnProgress | None = None) -> int | None:
        """Write missing files. Returns the number of masks, or None if nothing was missing.

        Records are written last, because they mark an image as done. Outdated ones are deleted
        first, so that no overlay exists next to records of other settings.
        """
        beside, image_path = item.output(".json"), item.output(self.source_image)
        records_path = beside.parent / self.inside / beside.name
        image = LazyImageFile(item, self.image_settings, self.model.spec.channels)
        about = self.about | self.about_image(item)
        cached = load_cached(records_path, image, about)
        is_done = cached is not None and self.is_current(*cached)
        if cached is not None and is_done:
            records: Sequence[Mask] = cached[1]
            if image_path.is_file() or not self.draws(records):
                return None
        else:
            records_path.unlink(missing_ok=True)
            records = self.find(image, item, on_step)
        if self.draws(records):
            self.draw(image_path, image, records)
        if not is_done:
            records_path.parent.mkdir(exist_ok=True)
            save_result(records_path, image, about | self.notes(), records)
        return len(records)


def save_result(
    path: Path, pixels: LazyImageFile, about: dict[str, Any], records: Sequence[Mask]
) -> None:
    """Write the records of an image, with the settings and source that produced them."""
    from anymask.formats import AnnotatedImage, image_to_document
    from anymask.masks import Masks

    (height, width), masks = pixels.pixels.shape[:2], Masks(records)
    image = AnnotatedImage(file_name=pixels.name, hw=(height, width), masks=masks)
    origin = {"image": pixels.pixels_hash, "file": pixels.file_hash, "coverage": masks.coverage}
    write_json(path, image_to_document(image) | {"anymask": about | origin})


def load_cached(
    path: Path, image: LazyImageFile, about: dict[str, Any]
) -> tuple[dict[str, Any], list[Mask]] | None:
    """Read records of `save_result`. None unless pixels and settings are the same."""
    from anymask.formats import read_sa1b

    try:
        document = parse_json(path.read_bytes(), path)
        inputs_of_result: dict[str, Any] = document["anymask"]
        if any(inputs_of_result[name] != value for name, value in about.items()):
            return None
        same_file = bool(image.file_hash) and inputs_of_result.get("file") == image.file_hash
        if not same_file and inputs_of_result["image"] != image.pixels_hash:  # same: not decoded
            return None
        records, shown = read_sa1b(document["annotations"]), document["image"]
        if any(mask.rle.size != (shown["height"], shown["width"]) for mask in records):
            return None
        if shown["file_name"] != image.name:  # a copy, or the job now has another source folder
            write_json(path, document | {"image": shown | {"file_name": image.name}})
        return inputs_of_result, records
    except (FileNotFoundError, ValueError, LookupError, TypeError, DataError):
        return None  # missing or corrupted


def write_overlay(path: Path, image: UintImage, records: Sequence[Mask]) -> None:
    """Write an image with its masks, reduced to at most `OVERLAY_SIDE` pixels per side."""
    import cv2
    import numpy as np

    from anymask.masks import Mask, Masks, crop_to_rle, rle_crop

    height, width = image.shape[:2]
    scale = min(1.0, OVERLAY_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    shown = [np.arange(n) * full // n for n, full in zip(size, (width, height), strict=True)]
    masks = []
    for record in records:
        crop, (x0, y0, x1, y1) = rle_crop(record.rle)
        columns, rows = (
            slice(*np.searchsorted(at, ends))
            for at, ends in zip(shown, ((x0, x1), (y0, y1)), strict=True)
        )
        crop = crop[np.ix_(shown[1][rows] - y0, shown[0][columns] - x0)]
        masks.append(Mask(crop_to_rle(crop, (columns.start, rows.start), size[::-1])))
    drawn = Masks(masks).draw(small.astype(np.uint8, copy=False))
    with whole_file(path) as file:
        save_image(file, drawn, path.suffix.lower())
