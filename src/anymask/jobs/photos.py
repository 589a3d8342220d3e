"""The photos of a folder: which a job works on, which machine does each, where its results go.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from anymask.primitives.errors import InputError


@dataclass(frozen=True)
class PhotoItem:
    """One photo and the stem (folder and name without suffix) of its outputs."""

    photo: Path
    stem: Path

    def output(self, suffix: str) -> Path:
        """The output with this suffix."""
        return self.stem.with_name(self.stem.name + suffix)


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
    source: Path,
    out: Path,
    division: Division | None = None,
    unreadable: Callable[[OSError], None] | None = None,
) -> list[PhotoItem]:
    """A photo, or this machine's photos in a folder, with a place in `out` for each.

    unreadable  told of each sub-folder that cannot be listed; without it they are left out

    Raises InputError where there is no photo, or the results would lie among the photos.
    """
    if not source.is_dir():
        return [PhotoItem(source, out / source.stem)]
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"the photos lie in the output folder {str(out)!r}, where results would be taken for "
            "photos; choose another one, such as a new folder beside them"
        )
    return list(_items_of_folder(source, out, division or Division(), unreadable))


def _items_of_folder(
    source: Path,
    out: Path,
    division: Division,
    unreadable: Callable[[OSError], None] | None,
) -> Iterator[PhotoItem]:
    """One sub-folder after the other: the list of all machines' photos is never held."""
    from anymask.data.images import find_images

    found = False
    photos = find_images(source, leave_out=out, unreadable=unreadable)
    for folder, group in groupby(photos, key=lambda path: path.parent):
        found = True
        below = folder.relative_to(source)
        for name, short in output_names([path.name for path in group]).items():
            place = below / name
            if division.holds(place):
                yield PhotoItem(folder / name, division.folder(out, place) / below / short)
    if not found:
        raise InputError(f"there are no photos in {str(source)!r}; name a folder that has some")


def output_names(names: Sequence[str]) -> dict[str, str]:
    """The photos of one folder -> the names of their results, all different."""
    stems = {name: Path(name).stem for name in names}
    shared = Counter(stems.values())
    shared.update(names)  # beside "a.jpg", which may keep its suffix, "a.jpg.png" keeps its own
    return {name: stem if shared[stem] == 1 else name for name, stem in stems.items()}
