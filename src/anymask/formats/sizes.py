"""Errors for annotation sizes that differ from the image size, and their remedies."""

from __future__ import annotations

from pathlib import Path

from anymask.base import DataError
from anymask.images import is_rotated

_OTHER_IMAGE = "Use the image on which the masks were drawn, or draw the masks again."
_CUT = 0.02  # a scale closer to 1 means cropped rows or columns


class SizeError(DataError):
    """Masks of another size than their image; `remedy` describes the correction."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.remedy = remedy


def size_error(
    name: object,
    masks_hw: tuple[int, int],
    shown_hw: tuple[int, int] | None = None,
    *,
    is_record: bool = False,
) -> SizeError:
    """Return the error for an image and masks of different sizes.

    Args:
        name: Name of the image; its path, if an EXIF rotation may be the cause.
        is_record: Whether it is the error of a record, whose place the report adds.
    """
    masks = f"{masks_hw[1]} x {masks_hw[0]} pixels"
    size = "another size" if shown_hw is None else f"{shown_hw[1]} x {shown_hw[0]}"
    begin = "The" if is_record else f"{name}: the"
    message = f"{begin} masks were drawn on an image of {masks}, but the image file has {size}."
    return SizeError(message, _remedy(name, masks_hw, shown_hw))


def _remedy(name: object, masks_hw: tuple[int, int], shown_hw: tuple[int, int] | None) -> str:
    if shown_hw is None:
        return _OTHER_IMAGE
    if masks_hw == shown_hw[::-1]:
        if isinstance(name, Path) and is_rotated(name):
            return (
                "The image has an EXIF rotation. If the masks were drawn on the rotated image, as "
                "viewers show it, swap width and height in the annotations. If they were drawn on "
                "the image as stored, remove its EXIF orientation tag."
            )
        return "Width and height are swapped. Swap them in the annotations."
    factor = ((shown_hw[0] * shown_hw[1]) / (masks_hw[0] * masks_hw[1])) ** 0.5
    if abs(factor - 1) > _CUT and all(
        abs(factor * side - shown) <= 0.5 for side, shown in zip(masks_hw, shown_hw, strict=True)
    ):
        return (
            f"The image was scaled by {factor:.3g} after annotation. Use the image in "
            "the size of the annotations, or scale the annotations."
        )
    return _OTHER_IMAGE
