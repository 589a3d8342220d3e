"""The photos of a folder job: which there are, which machine does each, and where results go.

- Results are called like the photo without its suffix, in the same sub-folder. A photo keeps its
  suffix where another one in its folder would get the same name.
- Results of several folders, and of photos with the same name, lie in folders of their own.
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
from typing import Any, Literal, get_args

from anymask.base import AnymaskError, InputError, brief, page_name
from anymask.jobs.settings import Page

Engine = Literal["processes", "ray"]


@dataclass(frozen=True)
class PhotoItem:
    """One photo, or one page of it, and where its outputs go.

    Attributes:
        stem: Folder and name without suffix of its outputs.
        page: Counted from 0; None: as the task's own settings say.
        named: Outputs by suffix that are called otherwise.
        place: The photo's path below its folder; None: the photo's own name.
        paged: Whether results say which page they are of.
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


@brief
@dataclass(frozen=True)
class PlacedPhotos:
    """Photos of a data set, wherever they lie, each with its path in the set: results lie there.

    Attributes:
        name: Of the data set, for people.
        photos: The photo and its place.
    """

    name: str
    photos: tuple[tuple[Path, Path], ...]

    def __str__(self) -> str:
        return self.name


@brief
@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """Which photos, where the results go, and who works.

    Raises InputError for values out of range.

    Attributes:
        source: A folder of photos, with its sub-folders; or one photo, or several photos and
            folders, or those of a data set.
        output: The folder of the results.
        workers: Processes beside this one; 0 works in this one, with Ray as many as there are
            CPUs.
        engine: What starts them: "processes" of this machine, or "ray".
        shard: (I, N): the I-th of N parts of the photos, each for another machine.
        output_shards: Spread the results over so many folders, as SA-1B does; 0: one folder.
        page: That is looked at, from 0 on, or its place such as "z1c0"; "all": each one, with
            its number in the results' names.
        beginning: Before a photo's name in those of its results.
        ending: Between a photo's name and the suffix of its results, such as ".everything".
        named: Of one photo: outputs by suffix that are called otherwise.
    """

    source: Path | tuple[Path, ...] | PlacedPhotos
    output: Path
    workers: int = 0
    engine: Engine = "processes"
    shard: tuple[int, int] = (1, 1)
    output_shards: int = 0
    page: Page = 0
    beginning: str = ""
    ending: str = ""
    named: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        for name in ("workers", "output_shards"):
            value: object = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise InputError(f"Setting {name} must be 0 or more, got {value!r}.")
        if self.engine not in get_args(Engine):
            raise InputError(f'Invalid engine {self.engine!r}. Use "processes" or "ray".')
        shard: Any = self.shard
        whole = isinstance(shard, tuple) and all(isinstance(number, int) for number in shard)
        if not whole or len(shard) != 2 or not 1 <= shard[0] <= shard[1]:
            raise InputError(f"Invalid shard {shard!r}. Expected (I, N) with I from 1 to N.")

    @property
    def one(self) -> bool:
        """Whether it is a single photo, whose failure is an error."""
        return isinstance(self.source, Path) and not self.source.is_dir() and self.page != "all"

    def item(self) -> PhotoItem:
        """The single photo."""
        (item,) = self.items()
        return replace(item, named=self.named)

    @property
    def log(self) -> Path:
        """The error log, which is there where photos failed; each machine has its own."""
        part, parts = self.shard
        return self.output / f"errors{f'-{part}-of-{parts}' if parts > 1 else ''}.jsonl"

    def items(self, unreadable: Callable[[OSError], None] | None = None) -> list[PhotoItem]:
        """This machine's photos, or their pages, and where the results of each go.

        Raises InputError where there is no photo, or the results would lie among the photos.

        Args:
            unreadable: Told of each sub-folder that cannot be listed; without it they are left
                out.
        """
        if isinstance(self.source, Path) and not self.source.is_dir():
            return list(self._pages(PhotoItem(self.source, self.output / self.source.stem)))
        part, parts = self.shard
        found: list[PhotoItem] = []
        by_folder = groupby(self._placed(unreadable), key=lambda pair: pair[1].parent)
        for below, group in by_folder:
            photos = {place.name: photo for photo, place in group}
            for name, short in output_names(list(photos)).items():
                place = below / name
                if parts == 1 or place_number(place) % parts == part - 1:
                    stem = self.output / self._shard_folder(place) / below / short
                    found += self._pages(PhotoItem(photos[name], stem, place=place))
        return found

    def _shard_folder(self, place: Path) -> str:
        shards = self.output_shards
        return f"sa_{place_number(place) % shards:06d}" if shards else ""

    def _placed(self, unreadable: Callable[[OSError], None] | None) -> Iterable[tuple[Path, Path]]:
        """All machines' photos with their places, one sub-folder after the other."""
        if isinstance(self.source, PlacedPhotos):
            return sorted(self.source.photos, key=lambda pair: (pair[1].parent, pair[1]))
        if not isinstance(self.source, Path):
            found = _side_by_side(self.source, self.output, unreadable)
            return sorted(found, key=lambda pair: pair[1].parent)
        _check_apart(self.source, self.output)
        return _of_folder(self.source, self.output, unreadable)

    def _pages(self, item: PhotoItem) -> Iterator[PhotoItem]:
        """An item for each page of a photo that is looked at."""
        pages: Sequence[int | None] = [None]
        if isinstance(self.page, int):
            pages = [self.page or None]
        else:
            from anymask.images import read_pages, resolve_place

            try:
                every = self.page == "all"
                pages = (
                    range(read_pages(item.photo).count)
                    if every
                    else [resolve_place(item.photo, self.page)[0] or None]
                )
            except AnymaskError:
                pages = [0 if every else None]  # whoever reads it says what is wrong with it
        for page in pages:
            paged = bool(page) or len(pages) > 1
            number = f".page{page}" if paged else ""
            stem = item.stem.with_name(f"{self.beginning}{item.stem.name}{number}{self.ending}")
            yield replace(item, stem=stem, page=page, paged=paged)


def own_names(sources: Sequence[Path]) -> bool:
    """Whether sources are images that all have different names."""
    paths = {_absolute(source) for source in sources}
    return len({path.name for path in paths}) == len(paths) and not any(map(Path.is_dir, paths))


def _absolute(path: Path) -> Path:
    """Without `.` and `..`; links keep their names."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links


def _side_by_side(
    sources: Sequence[Path], output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """Images and folders from anywhere, with places that differ.

    A place is the name of the image, or the folder's name and the path in it. Where two sources
    have the same name, places are the paths below the folder that contains all sources.
    """
    kept: dict[Path, Path] = {}
    for source in sources:
        kept.setdefault(_absolute(source), source)
    folders = {path for path in kept if path.is_dir()}
    paths = [path for path in kept if folders.isdisjoint(path.parents)]  # else it is in a folder
    base: str | None = None
    if len({path.name for path in paths}) < len(paths):
        try:
            base = os.path.commonpath([path.parent for path in paths])
        except ValueError:
            raise InputError(
                "Images on different drives have the same name, so their results would "
                "overwrite each other. Run the command once per drive."
            ) from None
    for path in paths:
        source, place = kept[path], path.relative_to(base or path.parent)
        if path not in folders:
            yield source, place
            continue
        _check_apart(source, output)
        for photo, inside in _of_folder(source, output, unreadable):
            yield photo, place / inside


def _check_apart(source: Path, output: Path) -> None:
    """Raises InputError where results would lie among the images of a folder."""
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"The output folder {str(output)!r} contains the images, so the next run would "
            "read the results as images. Choose another output folder, such as a new folder "
            "next to the images."
        )


def _of_folder(
    source: Path, output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """The images of a folder, each with its path there. Raises InputError where it has none."""
    from anymask.images import find_images, use_instead

    photo = None
    for photo in find_images(source, leave_out=output, unreadable=unreadable):
        yield photo, photo.relative_to(source)
    if photo is None:
        if told := use_instead(source, "image"):
            raise InputError(told)
        raise InputError(f"{str(source)!r} contains no images. Pass a folder with images.")


def place_number(place: Path) -> int:
    """A number of 64 bits that depends on a relative path only, the same on every machine."""
    text = unicodedata.normalize("NFC", place.as_posix())  # macOS takes accents off their letters
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")


def output_names(names: Sequence[str]) -> dict[str, str]:
    """The photos of one folder -> the names of their results, all different."""
    stems = {name: Path(name).stem for name in names}
    shared = Counter(stems.values())
    shared.update(names)  # beside "a.jpg", which may keep its suffix, "a.jpg.png" keeps its own
    return {name: stem if shared[stem] == 1 else name for name, stem in stems.items()}
