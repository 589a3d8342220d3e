"""Images of a job: selection, distribution to machines, and output paths.

- Results have the name of the image without suffix, in the same subfolder. The suffix is kept if
  another image of the folder would get the same name.
- Results of several folders, and of images with the same name, are in separate folders.
- Shards depend only on the relative path of the image, so that all machines and later runs agree,
  independent of other files.
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
from typing import Annotated, Any, Literal

from anymask.base import (
    AnymaskError,
    InputError,
    Setting,
    brief,
    check_settings,
    page_name,
    refuse_inputs,
)
from anymask.jobs.settings import Page

Engine = Literal["processes", "ray"]


@dataclass(frozen=True)
class PhotoItem:
    """One image, or one page of it, and its output paths."""

    photo: Path  # Image file
    stem: Path  # Output folder and name without suffix
    page: int | None = None  # Page from 0. None: as in the settings of the task.
    named: tuple[tuple[str, Path], ...] = ()  # Other output paths by suffix
    place: Path | None = None  # Path relative to the source folder. None: the file name.
    paged: bool = False  # Whether names of results contain the page

    @property
    def name(self) -> str:
        """Unique name of the image or page in results."""
        name = (self.place or Path(self.photo.name)).as_posix()
        return page_name(name, self.page or 0) if self.paged else name

    def output(self, suffix: str) -> Path:
        """Output path with this suffix. Raises InputError if it is the image."""
        path = dict(self.named).get(suffix) or self.stem.with_name(self.stem.name + suffix)
        refuse_inputs(path, self.photo)
        return path


@brief
@dataclass(frozen=True)
class PlacedPhotos:
    """Images of a data set from any folders, with relative output paths."""

    name: str  # Name of the data set for messages
    photos: tuple[tuple[Path, Path], ...]  # Pairs of image path and relative output path

    def __str__(self) -> str:
        return self.name


def parse_shard(text: str) -> tuple[int, int]:
    """Parse `I/N` to (I, N). Raises InputError."""
    first, _, last = text.partition("/")
    if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise InputError(
        f"Invalid part {text!r}. Expected the number of this machine and the number of "
        "machines, such as 1/4 to 4/4."
    )


@brief
@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """Images, output folder and workers of a job. Raises InputError if a value is out of range.

    Attributes:
        source: Folder of images with subfolders, one image, several of both, or a data set.
        output: Output folder.
        workers: Number of worker processes. 0: this process, or with Ray one per CPU.
        engine: "processes" on this machine, or "ray".
        shard: (I, N): process part I of N of the images, to distribute work to machines.
        output_shards: Number of folders to distribute results to, as in SA-1B. 0: one folder.
        page: Page to process, from 0, or its position such as "z1c0". "all": each page, with its
            number in the names of the results.
        beginning: Prefix of output names.
        ending: Text between image name and suffix in output names, such as ".everything".
        named: For a single image: other output paths by suffix.
    """

    source: Path | tuple[Path, ...] | PlacedPhotos
    output: Path
    workers: Annotated[
        int,
        Setting("number of worker processes; an image that crashes a worker does not stop the "
                "others", default="0, no extra process"),
    ] = 0  # fmt: skip
    engine: Annotated[
        Engine,
        Setting("how workers are started: as processes on this machine, or on a Ray cluster "
                "(RAY_ADDRESS, or a local one; requires the [ray] extra)"),
    ] = "processes"  # fmt: skip
    shard: Annotated[
        tuple[int, int],
        Setting("process part I of N of the images; pass a different I from 1 to N on each machine",
                form="I/N", parse=parse_shard, default="all images"),
    ] = (1, 1)  # fmt: skip
    output_shards: Annotated[
        int,
        Setting("distribute the results over K folders named sa_000000, sa_000001, ...; for "
                "example K = number of images / 1000", form="K", default="0, one folder"),
    ] = 0  # fmt: skip
    page: Page = 0
    beginning: str = ""
    ending: str = ""
    named: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        shard: Any = self.shard
        whole = isinstance(shard, tuple) and all(isinstance(number, int) for number in shard)
        if not whole or len(shard) != 2 or not 1 <= shard[0] <= shard[1]:
            raise InputError(f"Invalid shard {shard!r}. Expected (I, N) with I from 1 to N.")

    @property
    def one(self) -> bool:
        """Whether the source is a single image, whose failure is raised."""
        return isinstance(self.source, Path) and not self.source.is_dir() and self.page != "all"

    def item(self) -> PhotoItem:
        """The single image."""
        (item,) = self.items()
        return replace(item, named=self.named)

    @property
    def log(self) -> Path:
        """Path of the error log, which exists if images failed. Each shard has its own."""
        part, parts = self.shard
        return self.output / f"errors{f'-{part}-of-{parts}' if parts > 1 else ''}.jsonl"

    def items(self, unreadable: Callable[[OSError], None] | None = None) -> list[PhotoItem]:
        """Images or pages of this shard, with output paths.

        Raises InputError if there are no images, or the output folder contains them.

        Args:
            unreadable: Called for each subfolder that cannot be listed. Default: skip them.
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
        """Images of all shards with relative paths, one subfolder after the other."""
        if isinstance(self.source, PlacedPhotos):
            return sorted(self.source.photos, key=lambda pair: (pair[1].parent, pair[1]))
        if not isinstance(self.source, Path):
            found = _side_by_side(self.source, self.output, unreadable)
            return sorted(found, key=lambda pair: pair[1].parent)
        _check_apart(self.source, self.output)
        return _of_folder(self.source, self.output, unreadable)

    def _pages(self, item: PhotoItem) -> Iterator[PhotoItem]:
        """Yield an item for each page that `page` selects, or one for an image without pages."""
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
                pages = [0 if every else None]  # the reader reports the error
        for page in pages:
            paged = bool(page) or len(pages) > 1
            number = f".page{page}" if paged else ""
            stem = item.stem.with_name(f"{self.beginning}{item.stem.name}{number}{self.ending}")
            yield replace(item, stem=stem, page=page, paged=paged)


def own_names(sources: Sequence[Path]) -> bool:
    """Whether all sources are images with different names."""
    paths = {_absolute(source) for source in sources}
    return len({path.name for path in paths}) == len(paths) and not any(map(Path.is_dir, paths))


def _absolute(path: Path) -> Path:
    """Absolute path without `.` and `..`. Links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links


def _side_by_side(
    sources: Sequence[Path], output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """Images and folders from any location, with unique relative paths.

    The relative path is the image name, or the folder name and the path in it. If two sources have
    the same name, all paths are relative to the common parent folder.
    """
    kept: dict[Path, Path] = {}
    for source in sources:
        kept.setdefault(_absolute(source), source)
    folders = {path for path in kept if path.is_dir()}
    paths = [path for path in kept if folders.isdisjoint(path.parents)]  # else in a source folder
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
    """Raise InputError if the output folder contains the images."""
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"The output folder {str(output)!r} contains the images, so the next run would "
            "read the results as images. Choose another output folder, such as a new folder "
            "next to the images."
        )


def _of_folder(
    source: Path, output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """Images of a folder with their relative paths. Raises InputError if there are none."""
    from anymask.images import find_images, use_instead

    photo = None
    for photo in find_images(source, leave_out=output, unreadable=unreadable):
        yield photo, photo.relative_to(source)
    if photo is None:
        if message := use_instead(source, "image"):
            raise InputError(message)
        raise InputError(f"{str(source)!r} contains no images. Pass a folder with images.")


def place_number(place: Path) -> int:
    """64-bit hash of a relative path, the same on every machine."""
    text = unicodedata.normalize("NFC", place.as_posix())  # macOS decomposes accented letters
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")


def output_names(names: Sequence[str]) -> dict[str, str]:
    """Map the image names of one folder to unique output names."""
    stems = {name: Path(name).stem for name in names}
    shared = Counter(stems.values())
    shared.update(names)  # "a.jpg.png" keeps its suffix if "a.jpg" exists and keeps its own
    return {name: stem if shared[stem] == 1 else name for name, stem in stems.items()}
