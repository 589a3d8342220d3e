"""Pictures with all of their channels: a path, bytes or an array in, (H, W, C) of its numbers out.

Channels are the bands of a picture, or the pages of a TIFF along the axis C of ImageJ and OME.
Where a TIFF names no axes and has a single band, its pages are the channels if they are as many as
are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import ImageError, InputError, UintImage
from anymask.images.decoding import PictureView, value_range
from anymask.images.load import ImageSource, read_view
from anymask.images.planes import TIFF, Planes, read_planes
from anymask.masks import ChannelMix


@dataclass(frozen=True)
class ChannelValues:
    """What numbers a channel has: the least and the most finite one, and those that become black
    and white where no range is given for it."""

    name: str
    least: float
    most: float
    low: float
    high: float


def read_values(path: Path, page: int = 0) -> list[ChannelValues]:
    """The values of each channel that `read_planes` names, or of a grey picture of more than 8
    bits; [] of other pictures.

    Raises as `load_channels` does; ImageError for NaN and infinity.
    """
    planes = read_planes(path)
    if not planes.channels and not planes.deep:
        return []
    array, name = load_channels(path, page), repr(str(path))
    names = planes.channels or (("Grey",) if array.shape[2] < 3 else ())
    found = []
    for channel, said in enumerate(names):
        values = array[..., channel : channel + 1]
        low, high = value_range(values, name)
        found.append(ChannelValues(said, float(values.min()), float(values.max()), low, high))
    return found


def load_channels(
    source: ImageSource, page: int = 0, count: int | None = None
) -> NDArray[Any]:  # -> (H, W, C)
    """Read all channels of a picture, with the numbers that they have.

    page   the place of a stack (its first channel), as `--page` counts
    count  how many are wanted, to tell channels from places where a file does not say

    Raises ImageError as `load_image` does, InputError for a page that no mask lies on.
    """
    if isinstance(source, str):
        source = Path(source)
    pages = [page]
    if isinstance(source, Path) and source.suffix.lower() in TIFF and source.is_file():
        pages = _pages_of_place(read_planes(source), page, count)
    parts = [np.asarray(read_view(source, PictureView(page=one, raw=True))) for one in pages]
    if len({part.shape for part in parts}) > 1:
        raise ImageError(f"{str(source)!r}: its pages differ in size, so they are no channels")
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def load_mixed(source: ImageSource, mix: ChannelMix, page: int = 0) -> UintImage:  # -> (H, W, 3)
    """A picture as a model of these channels sees it. Raises as `load_channels` and `mix.check`."""
    return mix.to_rgb(load_for_mix(source, mix, page))


def load_for_mix(source: ImageSource, mix: ChannelMix, page: int = 0) -> NDArray[Any]:
    """The channels that a mix takes, as they are: (H, W, C). Raises as `load_mixed` does."""
    name = repr(str(source)) if isinstance(source, str | Path) else "the picture"
    return mix.check(load_channels(source, page, mix.count), name)


def load_for_model(source: Path, mix: ChannelMix, view: PictureView) -> NDArray[Any]:
    """A picture as a model with a mix takes it: all channels, as they are.

    Raises as `load_mixed` does; InputError for bands, a stretch or ranges: the model knows its own.
    """
    if not view.plain:
        raise InputError(
            f"this model takes all {mix.count} channels of a picture, in the ranges that it was "
            "tuned on; leave bands, stretch and ranges out"
        )
    return load_for_mix(source, mix, view.page)


def shown_picture(array: NDArray[Any], mix: ChannelMix | None) -> UintImage:  # -> (H, W, 3)
    """What of a picture is drawn on: the picture, or what a model with a mix sees."""
    return array if mix is None else mix.to_rgb(array)


def _pages_of_place(planes: Planes, page: int, count: int | None) -> list[int]:
    """The pages that together are the picture of a place. Raises InputError."""
    along = dict(planes.pages.axes).get("C", 1)
    if along > 1 and not planes.bands:
        views = (planes.view(page, channel, PictureView()) for channel in range(along))
        return [view.page for view in views]
    unnamed = not planes.pages.axes and not planes.bands and page == 0
    if unnamed and count is not None and planes.pages.count == count > 1:
        return list(range(count))
    return [page]
