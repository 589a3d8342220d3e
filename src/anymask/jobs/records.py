"""Masks of photos as jobs write them: SA-1B JSON that says what it was made of, and pictures.

A photo whose records were made of the same pixels by the same model and settings is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, OnProgress, parse_json, whole_file, write_json
from anymask.jobs.photos import PhotoItem
from anymask.jobs.settings import PictureChoice
from anymask.masks import save_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import UintImage
    from anymask.masks import ChannelMix, Mask
    from anymask.segment import Model

HASH_DIGITS = 32  # of a photo's file
OVERLAY_SIDE = 1600  # pixels


class MaskWork:
    """Work that writes the masks of each photo; a subclass finds them.

    Attributes:
        about: What all records depend on: model, hash of the weights, settings, ready for JSON.
        overlay: Whether a picture is drawn, too.
        picture: The suffix of that picture.
        inside: The folder of the records in the folder of the results.
    """

    about: dict[str, Any]
    picture = ".png"
    inside = ""

    def __init__(self, model: Model, pictures: PictureChoice, overlay: bool) -> None:
        self.model, self.pictures, self.overlay = model, pictures, overlay
        self.about = {"model": model.name, "weights": model.runtime.weights_hash}

    def about_photo(self, item: PhotoItem) -> dict[str, Any]:
        """What the records of one photo depend on beside `about`."""
        return {}

    def notes(self) -> dict[str, Any]:
        """What is written with the records beside that, and is no reason to make them anew."""
        return {}

    def is_current(self, made_from: dict[str, Any], records: Sequence[Mask]) -> bool:
        """Whether what an earlier run made is what this one would make."""
        return True

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        """The masks of one photo. Raises what `PhotoWork` does."""
        raise NotImplementedError

    def draws(self, records: Sequence[Mask]) -> bool:
        """Whether a picture belongs to these records."""
        return self.overlay

    def draw(self, path: Path, photo: PhotoFile, records: Sequence[Mask]) -> None:
        """Write the picture: the photo with its masks."""
        write_overlay(path, photo.shown, records)

    def __call__(self, item: PhotoItem, on_step: OnProgress | None = None) -> int | None:
        """Write what is missing and count the masks; None where nothing is missing.

        The records come last: they say that the photo is done. Older ones go first, so that a
        picture never lies beside records of other settings.
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
    """Write a photo's records, with what they were made with and from."""
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
    """What `write_made` wrote of the same pixels, made with the same; None otherwise."""
    from anymask.formats import read_sa1b

    try:
        document = parse_json(path.read_bytes(), path)
        made_from: dict[str, Any] = document["anymask"]
        if any(made_from[name] != value for name, value in about.items()):
            return None
        same_file = bool(photo.file_hash) and made_from.get("file") == photo.file_hash
        if not same_file and made_from["image"] != photo.pixels_hash:  # the same: nothing decoded
            return None
        records = read_sa1b(document["annotations"])
        shown = document["image"]
        if shown["file_name"] != photo.name:  # a copy, or its folder was looked at alone
            write_json(path, document | {"image": shown | {"file_name": photo.name}})
        return made_from, records
    except (FileNotFoundError, ValueError, LookupError, TypeError, DataError):
        return None  # there is none, or it is damaged


class PhotoFile:
    """A photo's file, read and decoded when somebody asks.

    Args:
        channels: Of the model, where it sees others than a photo's.
    """

    def __init__(
        self, item: PhotoItem, pictures: PictureChoice, channels: ChannelMix | None = None
    ) -> None:
        self.path, self.name, self.page = item.photo, item.name, item.page
        self.pictures, self.channels = pictures, channels

    @cached_property
    def file_hash(self) -> str:
        """Of its bytes, with how they are read; "" where they cannot be, which `pixels` says."""
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]
            return digest + self.pictures.mark(self.page)
        except OSError:
            return ""

    @cached_property
    def pixels(self) -> NDArray[Any]:
        """As the model takes them: (H, W, 3), or (H, W, C). Raises ImageError, InputError."""
        return self.pictures.load(self.path, self.page, self.channels)

    @property
    def shown(self) -> UintImage:
        """What masks are drawn on, (H, W, 3)."""
        from anymask.images import shown_picture

        return shown_picture(self.pixels, self.channels)

    @cached_property
    def pixels_hash(self) -> str:
        """Of the decoded picture, which survives a copy into another format without loss."""
        from anymask.segment import image_hash

        return image_hash(self.pixels)


def write_overlay(path: Path, image: UintImage, records: Sequence[Mask]) -> None:
    """A picture with all masks on it, its longest side at most `OVERLAY_SIDE` pixels."""
    import cv2
    import numpy as np

    from anymask.masks import overlay, rle_crop

    height, width = image.shape[:2]
    scale = min(1.0, OVERLAY_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    masks = np.zeros((len(records), size[1], size[0]), np.bool_)
    shown = [np.arange(n) * full // n for n, full in zip(size, (width, height), strict=True)]
    for record, mask in zip(records, masks, strict=True):
        crop, (x0, y0, x1, y1) = rle_crop(record.rle)  # a mask of a large photo is large itself
        columns, rows = (
            slice(*np.searchsorted(at, ends))
            for at, ends in zip(shown, ((x0, x1), (y0, y1)), strict=True)
        )
        mask[rows, columns] = crop[np.ix_(shown[1][rows] - y0, shown[0][columns] - x0)]
    with whole_file(path) as file:
        save_picture(file, overlay(small.astype(np.uint8, copy=False), masks), path.suffix.lower())
