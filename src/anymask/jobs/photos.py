"""The pictures of a job: a photo and its records in, one PNG with all masks out.

The photos of a folder: which a job works on, which machine does each, where its results go.

- Results are called like the photo without its suffix, in the same sub-folder. A photo keeps its
  suffix where another one in its folder would get the same name.
- Shards of the work and of the output look at nothing but the photo's path below the folder, so
  that every machine, and every later run, comes to the same answer whatever else lies there.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import AnymaskError, InputError, page_name, whole_file
from anymask.jobs.choices import Page
from anymask.masks import save_picture

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Mask


OVERLAY_SIDE = 1600  # pixels


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


@dataclass(frozen=True)
class PhotoItem:
    """One photo, or one page of it, and where its outputs go.

    stem   folder and name without suffix of its outputs
    page   counted from 0; None: as the task's own settings say
    named  outputs by suffix that are called otherwise
    place  the photo's path below its folder; None: the photo's own name
    paged  whether results say which page they are of
    """

    photo: Path
    stem: Path
    page: int | None = None
    named: tuple[tuple[str, Path], ...] = ()
    place: Path | None = None
    paged: bool = False

    @property
    def name(self) -> str:
        """What results call the photo, or its page; no other one of its folder is called so."""
        name = (self.place or Path(self.photo.name)).as_posix()
        return page_name(name, self.page or 0) if self.paged else name

    def output(self, suffix: str) -> Path:
        """The output with this suffix."""
        return dict(self.named).get(suffix) or self.stem.with_name(self.stem.name + suffix)


@dataclass(frozen=True)
class PlacedPhotos:
    """Photos of a data set, wherever they lie, each with its path in the set: results lie there.

    name    of the data set, for people
    photos  the photo and its place
    """

    name: str
    photos: tuple[tuple[Path, Path], ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What stands between a photo's name and the suffix of its results.

    page    that is looked at: "all" makes an item of each, with the page's number in its name
    ending  such as ".everything"
    """

    page: Page = 0
    ending: str = ""

    def items(self, item: PhotoItem) -> Iterator[PhotoItem]:
        """An item for each page of a photo that is looked at."""
        pages = self._pages(item.photo)
        for page in pages:
            paged = bool(page) or len(pages) > 1
            number = f".page{page}" if paged else ""
            stem = item.stem.with_name(f"{item.stem.name}{number}{self.ending}")
            yield replace(item, stem=stem, page=page, paged=paged)

    def _pages(self, photo: Path) -> Sequence[int | None]:
        if self.page != "all":
            return [self.page or None]
        from anymask.images import read_pages

        try:
            count = read_pages(photo).count
        except AnymaskError:
            count = 1  # whoever reads the photo says what is wrong with it
        return range(count)


@dataclass(frozen=True, kw_only=True)
class Division:
    """How the work and its results are divided.

    part     the part of this machine, 1..parts
    parts    how many machines share the work
    folders  how many folders the results are spread over, as in SA-1B; 0 keeps the sub-folders only
    """

    part: int = 1
    parts: int = 1
    folders: int = 0

    def holds(self, place: Path) -> bool:
        """Whether a photo, by its path below the folder, belongs to this machine."""
        return self.parts == 1 or place_number(place) % self.parts == self.part - 1

    def folder(self, out: Path, place: Path) -> Path:
        """The folder that holds the results of a photo, without its own sub-folders."""
        return out / f"sa_{place_number(place) % self.folders:06d}" if self.folders else out


def place_number(place: Path) -> int:
    """A number of 64 bits that depends on a relative path only, the same on every machine."""
    text = unicodedata.normalize("NFC", place.as_posix())  # macOS takes accents off their letters
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")


def find_items(
    source: Path | Sequence[Path] | PlacedPhotos,
    out: Path,
    division: Division | None = None,
    unreadable: Callable[[OSError], None] | None = None,
    naming: Naming | None = None,
) -> list[PhotoItem]:
    """This machine's photos of a folder, a photo, several, or those of a data set, and where the
    results of each go in `out`.

    unreadable  told of each sub-folder that cannot be listed; without it they are left out
    naming      which pages are looked at, and what their results are called

    Raises InputError where there is no photo, or the results would lie among the photos.
    """
    found = _items_of(source, out, division or Division(), unreadable)
    return [page for item in found for page in (naming or Naming()).items(item)]


def _items_of(
    source: Path | Sequence[Path] | PlacedPhotos,
    out: Path,
    division: Division,
    unreadable: Callable[[OSError], None] | None,
) -> Iterable[PhotoItem]:
    if isinstance(source, PlacedPhotos):
        return _items_of_places(source, out, division)
    if not isinstance(source, Path):
        return _items_of_files(source, out, division)
    if not source.is_dir():
        return [PhotoItem(source, out / source.stem)]
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"the photos lie in the output folder {str(out)!r}, where results would be taken for "
            "photos; choose another one, such as a new folder beside them"
        )
    return _items_of_folder(source, out, division, unreadable)


def _items_of_files(photos: Sequence[Path], out: Path, division: Division) -> Iterator[PhotoItem]:
    """Photos from anywhere, whose results lie side by side."""
    by_name: dict[str, Path] = {}
    for photo in photos:
        if photo.is_dir():
            raise InputError(f"wanted photos or one folder, {str(photo)!r} is a folder of several")
        other = by_name.setdefault(photo.name, photo)
        if other is not photo and not (photo.exists() and photo.samefile(other)):
            raise InputError(
                f"{str(other)!r} and {str(photo)!r} have one name, and so would their results; "
                "give each an output of its own in a run of its own"
            )
    for name, short in output_names(list(by_name)).items():
        if division.holds(Path(name)):
            yield PhotoItem(by_name[name], division.folder(out, Path(name)) / short)


def _items_of_places(source: PlacedPhotos, out: Path, division: Division) -> Iterator[PhotoItem]:
    by_folder: dict[Path, dict[str, Path]] = {}
    for photo, place in source.photos:
        by_folder.setdefault(place.parent, {})[place.name] = photo
    for below, photos in by_folder.items():
        for name, short in output_names(list(photos)).items():
            if division.holds(below / name):
                stem = division.folder(out, below / name) / below / short
                yield PhotoItem(photos[name], stem, place=below / name)


def _items_of_folder(
    source: Path,
    out: Path,
    division: Division,
    unreadable: Callable[[OSError], None] | None,
) -> Iterator[PhotoItem]:
    """One sub-folder after the other: the list of all machines' photos is never held."""
    from anymask.images import find_images

    found = False
    photos = find_images(source, leave_out=out, unreadable=unreadable)
    for folder, group in groupby(photos, key=lambda path: path.parent):
        found = True
        below = folder.relative_to(source)
        for name, short in output_names([path.name for path in group]).items():
            place = below / name
            if division.holds(place):
                stem = division.folder(out, place) / below / short
                yield PhotoItem(folder / name, stem, place=place)
    if not found:
        raise InputError(f"there are no photos in {str(source)!r}; name a folder that has some")


def output_names(names: Sequence[str]) -> dict[str, str]:
    """The photos of one folder -> the names of their results, all different."""
    stems = {name: Path(name).stem for name in names}
    shared = Counter(stems.values())
    shared.update(names)  # beside "a.jpg", which may keep its suffix, "a.jpg.png" keeps its own
    return {name: stem if shared[stem] == 1 else name for name, stem in stems.items()}
