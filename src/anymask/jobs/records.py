"""Mask files of jobs: SA-1B JSON with the settings that produced it, and overlay images.

An image is skipped if its records have the same pixels, model and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, OnProgress, parse_json, whole_file, write_json
from anymask.jobs.settings import PhotoFile, PhotoItem, PictureChoice
from anymask.masks import save_picture

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
        picture: Suffix of the overlay image.
        inside: Subfolder for the records in the output folder.
    """

    about: dict[str, Any]
    picture = ".png"
    inside = ""

    def __init__(self, model: Model, pictures: PictureChoice, overlay: bool) -> None:
        self.model, self.pictures, self.overlay = model, pictures, overlay
        self.about = {"model": model.name, "weights": model.runtime.weights_hash}

    def about_photo(self, item: PhotoItem) -> dict[str, Any]:
        """Additional settings of the records of one image."""
        return {}

    def notes(self) -> dict[str, Any]:
        """Additional data to write. Changes do not invalidate records."""
        return {}

    def is_current(self, made_from: dict[str, Any], records: Sequence[Mask]) -> bool:
        """Whether records of an earlier run are still valid."""
        return True

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        """Predict the masks of one image. Raises as `PhotoWork`."""
        raise NotImplementedError

    def draws(self, records: Sequence[Mask]) -> bool:
        """Whether these records require an image."""
        return self.overlay

    def draw(self, path: Path, photo: PhotoFile, records: Sequence[Mask]) -> None:
        """Write the image with its masks."""
        write_overlay(path, photo.shown, records)

    def __call__(self, item: PhotoItem, on_step: OnProgress | None = None) -> int | None:
        """Write missing files. Returns the number of masks, or None if nothing was missing.

        Records are written last, because they mark an image as done. Outdated ones are deleted
        first, so that no overlay exists next to records of other settings.
        """
        beside, picture_path = item.output(".json"), item.output(self.picture)
        records_path = beside.parent / self.inside / beside.name
        photo = PhotoFile(item, self.pictures, self.model.spec.channels)
        about = self.about | self.about_photo(item)
        made = read_made(records_path, photo, about)
        if made is not None and not self.is_current(*made):
            made = None
        if made is not None and (picture_path.is_file() or not self.draws(made[1])):
            return None
        if made is None:
            records_path.unlink(missing_ok=True)
            records = self.find(photo, item, on_step)
        else:
            records = made[1]
        if self.draws(records):
            self.draw(picture_path, photo, records)
        if made is None:
            records_path.parent.mkdir(exist_ok=True)
            write_made(records_path, photo, about | self.notes(), records)
        return len(records)


def write_made(
    path: Path, photo: PhotoFile, about: dict[str, Any], records: Sequence[Mask]
) -> None:
    """Write the records of an image, with the settings and source that produced them."""
    from anymask.formats import AnnotatedImage, image_to_document
    from anymask.masks import Masks

    height, width = photo.pixels.shape[:2]
    made_from = about | {"image": photo.pixels_hash, "file": photo.file_hash}
    masks = Masks(records)
    made_from |= {"coverage": masks.coverage}
    image = AnnotatedImage(file_name=photo.name, hw=(height, width), masks=masks)
    write_json(path, image_to_document(image) | {"anymask": made_from})


def read_made(
    path: Path, photo: PhotoFile, about: dict[str, Any]
) -> tuple[dict[str, Any], list[Mask]] | None:
    """Read records of `write_made`. None unless pixels and settings are the same."""
    from anymask.formats import read_sa1b

    try:
        document = parse_json(path.read_bytes(), path)
        made_from: dict[str, Any] = document["anymask"]
        if any(made_from[name] != value for name, value in about.items()):
            return None
        same_file = bool(photo.file_hash) and made_from.get("file") == photo.file_hash
        if not same_file and made_from["image"] != photo.pixels_hash:  # unchanged: not decoded
            return None
        records, shown = read_sa1b(document["annotations"]), document["image"]
        if any(one.rle.size != (shown["height"], shown["width"]) for one in records):
            return None
        if shown["file_name"] != photo.name:  # a copy, or the job now has another source folder
            write_json(path, document | {"image": shown | {"file_name": photo.name}})
        return made_from, records
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
        save_picture(file, drawn, path.suffix.lower())
