"""Image files that results refer to, read on demand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import UintImage
from anymask.images.decoding import AS_IT_IS, PictureView
from anymask.images.load import ImageSource, is_address, read_view, resolve_place
from anymask.images.stacks import load_for_model
from anymask.masks import ChannelMix, HeldPicture, Picture


@dataclass(frozen=True)
class ImageFile:
    """Image in a file that is read on demand, and which of its pixels are read.

    Attributes:
        path: Image file.
        page: Page of a multi-page file, or a position along its axes, such as "z1c0".
        called: Name in results, if it is not the file name.
        view: Bands, stretch and ranges; its page is not used.
    """

    path: Path
    page: int | str = 0
    called: str = ""
    view: PictureView = AS_IT_IS

    @property
    def name(self) -> str:
        """Name in results."""
        return self.called or self.path.name

    def __call__(self) -> UintImage:
        return self.read()

    def read(self, channels: ChannelMix | None = None) -> NDArray[Any]:
        """Read the image (H, W, 3), or all channels (H, W, C) for a model with a channel mix.

        Raises:
            ImageError: The image cannot be read.
            InputError: The position is invalid, or the model has its own bands or value range.
        """
        page, view = self.page, self.view
        if isinstance(page, str):
            page, bands = resolve_place(self.path, page, view.bands)
            view = replace(view, bands=bands)
        view = replace(view, page=page)
        if channels is None:
            return read_view(self.path, view)
        return load_for_model(self.path, channels, view)


def picture_of(source: ImageSource, photo: UintImage) -> Picture:
    """Create a result's reference to its image: the path of a file, or the pixels."""
    if isinstance(source, str | Path) and not is_address(source):
        return ImageFile(Path(source).absolute())
    return HeldPicture(photo, values=source if isinstance(source, np.ndarray) else None)
