"""Previews for notebooks and prompts: an answer in; a small PNG, HTML, or a viewer's window out.

Source of the display hooks: IPython's `_repr_png_` and `_repr_html_`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.base import AnymaskError, InputError, UintImage

PREVIEW_SIDE = 800  # pixels of the longest side at most


class Picture(Protocol):
    """The photo of an answer, read when it is shown; `name` is that of its file."""

    @property
    def name(self) -> str: ...

    def __call__(self) -> UintImage:  # (H, W, 3)
        ...


@dataclass(frozen=True, eq=False)
class HeldPicture:
    """A photo whose pixels are in memory; other pictures are read from their file again.

    Attributes:
        values: The array that it was made of, (H, W[, C]) of any number type, where it was one.
    """

    pixels: UintImage
    name: str = "photo.jpg"
    values: NDArray[Any] | None = None

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"<HeldPicture: {self.name!r}, {width}x{height}>"

    def __call__(self) -> UintImage:
        return self.pixels


def spare_photo(target: Path, picture: Picture | None) -> None:
    """Raises InputError for an output that is the photo itself."""
    photo = getattr(picture, "path", None)  # of a picture that is read from its file
    if photo is not None and target.exists() and photo.exists() and target.samefile(photo):
        raise InputError(f"The output {str(target)!r} is the input image. Choose another name.")


def counted(number: int, thing: str) -> str:
    """ "1 mask", "2 masks"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def without_held(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is pickled of an answer: all of it, save a photo whose pixels are in memory."""
    held = isinstance(state.get("picture"), HeldPicture)
    return dict(state) | ({"picture": None} if held else {})


def same_picture(one: Picture, other: Picture) -> bool:
    """Whether two are the same file, or the same array in memory."""
    if isinstance(one, HeldPicture) and isinstance(other, HeldPicture):
        return one.pixels is other.pixels
    return one == other


def percent(share: float) -> str:
    """0..1 in words: "13 %", "2.4 %", "under 0.1 %"."""
    value = 100 * share
    if 0 < value < 0.1:
        return "under 0.1 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def photo_of(
    given: UintImage | None, picture: Picture | None, image_hw: tuple[int, int]
) -> UintImage:
    """The photo that somebody gave, or the one that the answer was made of.

    Raises InputError where there is none, or one of another size.
    """
    if given is None and picture is None:
        raise InputError(
            "The image of these masks is unknown, because they were predicted from an embedding. "
            "Pass image=anymask.load_image(PATH)."
        )
    image = given if given is not None else picture() if picture is not None else None
    assert image is not None
    told: object = image
    if not isinstance(told, np.ndarray) or told.ndim != 3 or told.dtype != np.uint8:
        raise InputError(
            "Invalid image. Pass an array (H, W, 3) of uint8, as from anymask.load_image(PATH). "
            f"Given: {type(image).__name__}."
        )
    if image.shape[:2] != image_hw:
        raise InputError(
            f"The masks have the size (height, width) = {image_hw}, but the image has "
            f"{image.shape[:2]}. Pass the image to which the masks belong as image=."
        )
    return image


def preview_png(picture: UintImage) -> bytes:
    """The picture as PNG, its longest side at most PREVIEW_SIDE pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    data = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(data, "PNG")
    return data.getvalue()


def preview_of(draw: Callable[[], UintImage]) -> bytes | None:
    """The PNG of a drawing; None where the photo cannot be read any more."""
    try:
        return preview_png(draw())
    except (AnymaskError, OSError):
        return None


def show_picture(picture: UintImage) -> None:
    """Open the picture in the system's viewer, as Pillow does."""
    Image.fromarray(picture).show()
