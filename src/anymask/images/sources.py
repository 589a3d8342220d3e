"""Sample photos: the name of one in the package in, its path out.

They are those of scikit-image's `data` module that their photographers gave to the public domain;
NOTICE names them.

Where photos come from.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anymask.base import ImageError, InputError, UintImage, name_keywords
from anymask.images.load import ImageSource, find_images, is_address, load_image
from anymask.masks import HeldPicture, Picture

SAMPLES = ("cat", "coffee", "rocket")
_FOLDER = Path(__file__).parents[1] / "assets" / "photos"


@name_keywords
def sample(name: str = "coffee") -> Path:
    """The path of a photo to begin with: "coffee" (600 x 400), "cat" or "rocket".

    Raises InputError for another name.
    """
    if name not in SAMPLES:
        raise InputError(f"there is no sample {name!r}; there are {', '.join(SAMPLES)}")
    return _FOLDER / f"{name}.jpg"


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
