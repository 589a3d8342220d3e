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
from anymask.primitives.rle import Rle, mask_to_rle, rle_area
from anymask.primitives.types import UintImage


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video.

    name         of the video in its data set
    frames       the pictures in order
    annotations  index of a frame -> the picture of its objects' numbers (8-bit, or a palette)
    labels       number of an object -> its class, where the data set says it
    single       whatever is not background is object 1 (DAVIS 2016); 255 is no void then
    layers       number of an object -> the folder of its own pictures, white on black (SA-V), so
                 that objects may overlap; `annotations` then name the pictures
    """

    name: str
    frames: tuple[Path, ...]
    annotations: Mapping[int, Path]
    labels: Mapping[int, str] = field(default_factory=dict)
    single: bool = False
    layers: Mapping[int, Path] = field(default_factory=dict)

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
        if self.layers:
            return self._layered(index, path.name)
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

    def _layered(self, index: int, name: str) -> AnnotatedImage:
        """A frame whose objects have a picture each; an object without one is not seen."""
        found: dict[int, Rle] = {}
        for number, folder in self.layers.items():
            if (folder / name).is_file():
                with located(folder / name):
                    found[number] = mask_to_rle(label_values(folder / name) > 0)
        sizes = {rle.size for rle in found.values()}
        if len(sizes) != 1:
            raise DataError(
                f"{self.name}, frame {index}: wanted pictures of one size, got {sorted(sizes)}"
            )
        masks = [
            AnnotatedMask(rle, self.labels.get(number), group=number)
            for number, rle in found.items()
            if rle_area(rle)
        ]
        place = SequencePlace(self.name, index)
        return annotated_photo(self.frames[index], sizes.pop(), masks, place=place)
