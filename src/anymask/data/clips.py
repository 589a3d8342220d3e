"""Video clips on disk: frames and masks that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anymask.data.annotations import (
    VOID_LABEL,
    AnnotatedImage,
    AnnotatedMask,
    SequencePlace,
    annotated_photo,
)
from anymask.data.documents import checked_hw, located
from anymask.data.images import load_image
from anymask.data.label_pictures import VOID, label_values, value_rles
from anymask.primitives.errors import DataError
from anymask.primitives.types import UintImage


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video.

    name         of the video in its data set
    frames       the pictures in order
    annotations  index of a frame -> the picture of its objects' numbers (8-bit, or a palette)
    labels       number of an object -> its class, where the data set says it
    single       whatever is not background is object 1 (DAVIS 2016); 255 is no void then
    """

    name: str
    frames: tuple[Path, ...]
    annotations: Mapping[int, Path]
    labels: Mapping[int, str] = field(default_factory=dict)
    single: bool = False

    def image(self, index: int) -> UintImage:  # (H, W, 3)
        """Open a frame. Raises ImageError."""
        return load_image(self.frames[index])

    def frame(self, index: int) -> AnnotatedImage:
        """An annotated frame with its masks, whose groups are the numbers of the objects.

        An object that is hidden has no mask. Raises DataError, also for a frame that nobody
        annotated.
        """
        if index not in self.annotations:
            raise DataError(f"{self.name}: frame {index} has no masks; see Clip.annotations")
        path = self.annotations[index]
        with located(path):
            values = label_values(path)
            hw = checked_hw(*values.shape)
        found = value_rles(values > 0 if self.single else values)
        void = None if self.single else found.pop(VOID, None)
        masks = [
            AnnotatedMask(rle, self.labels.get(number), group=number)
            for number, rle in found.items()
            if number
        ]
        if void is not None:
            masks.append(AnnotatedMask(void, VOID_LABEL, crowd=True))
        return annotated_photo(self.frames[index], hw, masks, place=SequencePlace(self.name, index))
