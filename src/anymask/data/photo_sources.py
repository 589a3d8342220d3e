"""Where photos come from: a file, a folder, a pattern or a list of them in, paths out."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anymask.data.images import ImageSource, find_images, is_address, load_image
from anymask.primitives.errors import ImageError
from anymask.primitives.keywords import name_keywords
from anymask.primitives.previews import HeldPicture, Picture
from anymask.primitives.types import UintImage

_PATTERN = "*?["  # what makes a path a pattern


@dataclass(frozen=True)
class PictureFile:
    """A photo that is read from its file when it is shown."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def __call__(self) -> UintImage:
        return load_image(self.path)


def picture_of(source: ImageSource, photo: UintImage) -> Picture:
    """What an answer remembers of its photo: the path of a file, or the pixels."""
    if isinstance(source, str | Path) and not is_address(source):
        return PictureFile(Path(source).absolute())
    return HeldPicture(photo)


@name_keywords
def list_photos(where: str | Path | Iterable[str | Path]) -> list[Path]:
    """The photos that are meant, in order.

    where  a photo, a folder (with its sub-folders), a pattern ("photos/*.jpg", "**/*.png"), or a
           list of these

    Raises ImageError where one of them is absent, or nothing fits.
    """
    if not isinstance(where, str | Path):
        return [path for one in where for path in list_photos(one)]
    path = Path(where)
    if path.is_dir():
        found = list(find_images(path))
        if not found:
            raise ImageError(f"there is no photo in the folder {str(path)!r}; check the path")
        return found
    if path.exists():
        return [path]
    if not any(sign in str(where) for sign in _PATTERN):
        raise ImageError(f"there is no file {str(path)!r}; check the path")
    fitting = glob.glob(str(where), recursive=True)  # noqa: PTH207 - patterns may be absolute
    found = sorted(path for path in map(Path, fitting) if path.is_file())
    if not found:
        raise ImageError(f"nothing fits {str(where)!r}; check the pattern")
    return found
