"""The records of a photo as jobs write them: SA-1B JSON that says what it was made from, and back.

A photo whose records were made of the same pixels by the same model and settings is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, parse_json, write_json
from anymask.jobs.choices import PictureChoice
from anymask.jobs.photos import PhotoItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import UintImage
    from anymask.masks import ChannelMix, Mask

HASH_DIGITS = 32  # of a photo's file


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
    from anymask.masks import Mask

    try:
        document = parse_json(path.read_bytes(), path)
        made_from: dict[str, Any] = document["anymask"]
        if any(made_from[name] != value for name, value in about.items()):
            return None
        if not photo.is_file_of(made_from) and made_from["image"] != photo.pixels_hash:
            return None
        records = [Mask.from_sa1b(record) for record in document["annotations"]]
        shown = document["image"]
        if shown["file_name"] != photo.name:  # a copy, or its folder was looked at alone
            write_json(path, document | {"image": shown | {"file_name": photo.name}})
        return made_from, records
    except (FileNotFoundError, ValueError, LookupError, TypeError, DataError):
        return None  # there is none, or it is damaged


class PhotoFile:
    """A photo's file, read and decoded when somebody asks.

    channels  of the model, where it sees others than a photo's
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

    def is_file_of(self, made_from: dict[str, Any]) -> bool:
        """Whether records say that they were made of these very bytes; nothing is decoded then."""
        return bool(self.file_hash) and made_from.get("file") == self.file_hash
