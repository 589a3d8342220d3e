"""Datasets that are read during iteration: any source format, image by image.

Folders with a file per image are read file by file, a set of this project line by line. Formats
with a single file (COCO, CVAT, ...) are read completely. Published datasets are read by their
layout (`layouts`), image by image.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from anymask.base import (
    DataError,
    ImageError,
    InputError,
    UintImage,
    brief,
    check_keywords,
    refuse_text,
    split_page_name,
)
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.archives import Unpacked, bare_name, is_archive, unpack, unpack_images
from anymask.formats.documents import (
    find_files,
    name_key,
    name_suffixes,
    parts_of,
    role_of,
    spellings,
    uploaded_name,
)
from anymask.formats.fields import MAX_FILE_PIXELS
from anymask.formats.label_folders import MASK_FORM, label_files, places_of
from anymask.formats.layouts import iter_dataset
from anymask.formats.loss_report import LossReport, ReadKeywords, ReadSettings
from anymask.formats.metadata import add_origins, add_terms, read_side
from anymask.formats.registry import (
    BUILT_IN,
    check_readable,
    find_format,
    format_name,
    has_layout,
    is_file_of_format,
    place_of,
    recognized,
    split_folders,
    stated_splits,
)
from anymask.formats.sets import IMAGE_FOLDER, count_samples, iter_samples
from anymask.formats.sizes import size_error
from anymask.images import ImageFile, image_hw, load_image, load_page, page_as_png
from anymask.masks import Masks

IMAGE_FOLDERS = (IMAGE_FOLDER, "JPEGImages")  # image folders of sets and others; of PASCAL VOC


@brief
@dataclass
class Dataset:
    """Dataset that is read during iteration; it can be iterated several times."""

    name: str  # Name of the dataset: its folder, or its file without suffix
    source: Path  # File or folder
    format: str  # Name of the format or layout
    images: Path | None = None  # Folder of the images, None if unknown
    # Split that is read. None reads all; of a published dataset, the default of the layout.
    split: str | None = None
    # Whether boxes without masks are read as rectangular masks, instead of reported
    boxes: bool = False
    # Folder train, val or test of the names of the images that are kept; "" keeps all
    only: str = ""
    settings: ReadSettings = ReadSettings()  # Handling of invalid records, crowds and mask images
    sized: bool = False  # Whether images of another size than their masks are invalid records
    # Report on unsupported content and invalid records of the last iteration
    lost: LossReport = field(default_factory=LossReport)
    recognized_by: str = ""  # How the format was detected, or "named"
    # Archives that `source` and `image_root` were unpacked from
    archives: tuple[Unpacked, ...] = field(default=(), repr=False)
    _below: dict[Path, dict[str, list[Path]]] = field(default_factory=dict, repr=False)
    # Number of images with an end of a name, such as a.jpg of cam1/a.jpg and cam2/a.jpg
    _ends: Counter[str] = field(default_factory=Counter, repr=False)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        """Yield the images in order.

        Raises DataError that names file and reason; BadRecordsError for invalid records that are
        errors by the settings, or if no mask is left.
        """
        self.lost, self._below = LossReport(settings=self.settings), {}
        self._ends = Counter()
        side, masks = {} if self.published else read_side(self.source), 0
        if not self.published:
            find_format(self.format).read_classes(self.source, self.lost)
        with self._archives_named():
            for image in self._images():
                if self.only and self.only not in parts_of([image]):
                    continue
                self._ends.update(name_suffixes(image.file_name))
                kept = not self.sized
                with self.lost.record(image.file_name):
                    if self.sized:
                        self._check_size(image)
                        kept = True
                if kept:
                    masks += len(image.masks)
                    yield self._as_on_disk(add_origins(image, side))
            if not self.published:
                add_terms(self.source, self.lost.facts)
            for unpacked in self.archives:
                self.lost.losses = [
                    replace(
                        loss, place=unpacked.plain(loss.place), reason=unpacked.plain(loss.reason)
                    )
                    for loss in self.lost.losses
                ]
            self.lost.check_records(self.display_path, masks)

    def close(self) -> None:
        """Remove unpacked files; they are removed at the end of the process as well."""
        for unpacked in self.archives:
            unpacked.close()

    @property
    def display_path(self) -> Path:
        """Source in messages: the archive if it was unpacked from one."""
        packed = (
            unpacked.archive
            for unpacked in self.archives
            if self.source.is_relative_to(unpacked.folder)
        )
        return next(packed, self.source)

    @contextmanager
    def _archives_named(self) -> Iterator[None]:
        """Replace temporary folders in errors by the names of archives."""
        with ExitStack() as stack:
            for unpacked in self.archives:
                stack.enter_context(unpacked.named())
            yield

    def _images(self) -> Iterator[AnnotatedImage]:
        if self.published:
            yield from iter_dataset(self.source, self.format, self.split, self.lost)
        elif parts := split_folders(self.source, self.format):
            for part in parts:
                for image in self._read(part):
                    yield replace(image, file_name=f"{part.name}/{image.file_name}")
        elif self.format == "set":
            yield from iter_samples(self.source, absent_images=True, report=self.lost)
        elif self.suffix:
            for path in find_files(self.source, self.suffix):
                yield from self._read(path)
        else:
            yield from self._read(self.source)

    @cached_property
    def published(self) -> bool:
        """Whether it is read by the layout of a published dataset instead of a format."""
        return has_layout(self.format) and (self.split is not None or self.format not in BUILT_IN)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits of the dataset: those of its files, else the folders train, val and test of all
        its images."""
        if stated := stated_splits(self.source, self.format):
            return stated
        splits = dict[str, None]()
        for image in self:
            if not (parts := parts_of([image])):
                return ()
            splits |= dict.fromkeys(parts)
        return tuple(splits)

    def part(self, split: str) -> Dataset:
        """Return the dataset with one split. Raises InputError that lists the splits."""
        alike = [name for name in self.splits if role_of(name) == role_of(split)]
        name = split if split in self.splits or len(alike) != 1 else alike[0]
        is_known = name in self.splits
        if not is_known and (not has_layout(self.format) or (self.splits and "/" not in split)):
            raise InputError(
                f"Unknown split {split!r}. Splits of {self.display_path}: "
                f"{', '.join(self.splits) or 'none'}"
            )
        if is_known and name not in stated_splits(self.source, self.format):
            return replace(self, only=name)
        return replace(self, split=name)

    def of_role(self, role: str) -> Dataset | None:
        """Return the split train, val or test, by any of its usual names; None if there is none."""
        name = next((name for name in self.splits if role_of(name) == role), None)
        return self.part(name) if name is not None else None

    @property
    def suffix(self) -> str:
        """Suffix of the files that are read one by one; "" if they are read together."""
        format = None if self.published else find_format(self.format)
        return format.suffixes[0] if format is not None and format.streamed else ""

    def _read(self, path: Path) -> list[AnnotatedImage]:
        format = find_format(self.format)
        images = format.read(path, self.lost, self.images, boxes=self.boxes, split=self.split)
        if path != self.source and format.module == "labelme":
            from anymask.formats.labelme import name_in_dataset

            return [name_in_dataset(image, self.source, path) for image in images]
        return images

    @property
    def unread(self) -> dict[str, int]:
        """Numbers of unsupported or invalid records of the last iteration, by kind."""
        return self.lost.counts()

    def unread_lines(self) -> list[str]:
        """Return a line for each kind of unread content, with its first cases."""
        return self.lost.lines("not read", self.display_path)

    def length(self) -> int | None:
        """Return the number of images if it is available without reading them, else None."""
        if self.format == "set":
            return count_samples(self.source)
        return len(find_files(self.source, self.suffix)) if self.suffix else None

    def image_path(self, image: AnnotatedImage) -> Path:
        """Return the file of an image.

        Raises:
            DataError: The file is not found, with the searched folders, or it is a page of a file.
        """
        path, page = self._found(image)
        if page is not None:
            raise DataError(
                f"{self.display_path}: {image.file_name!r} is page {page} of {path}, "
                "but a separate image file is required. Write the pages as image "
                f"files: anymask convert {self.source} SET --to set --copy-images"
            )
        return path

    def files_of(self, images: Iterable[AnnotatedImage]) -> Iterator[Path]:
        """Yield the source and the image files that are found."""
        yield self.source
        for image in images:
            with suppress(DataError):
                yield self._found(image)[0]

    def with_image(self, image: AnnotatedImage) -> AnnotatedImage:
        """Add a reference to the file or page to the masks of an image, if it is found."""
        with suppress(DataError):
            path, page = self._found(image)
            file = ImageFile(path, page or 0, image.file_name)
            return replace(image, masks=Masks(image.masks, source_image=file))
        return image

    def pixels(self, image: AnnotatedImage) -> UintImage:  # -> (H, W, 3)
        """Load an image, or a page of a file. Raises like `picture`, and ImageError."""
        path, page = self._found(image)
        return load_image(path) if page is None else load_page(path, page)

    def content(self, image: AnnotatedImage) -> bytes:
        """Return the content of an image file, or of a page as PNG. Raises like `pixels`."""
        path, page = self._found(image)
        return path.read_bytes() if page is None else page_as_png(path, page)

    def with_sizes_checked(self) -> Dataset:
        """Return a copy in which images of another size than their masks are invalid records.

        Images whose files are not found, and pages of a file, are not checked.
        """
        return replace(self, sized=True)

    def _check_size(self, image: AnnotatedImage) -> None:
        """Raise DataError if the size of an image file differs from that of its masks."""
        try:
            path, page = self._found(image)
            hw = image.hw if page is not None else image_hw(path, MAX_FILE_PIXELS)
        except (DataError, ImageError):
            return
        if hw != image.hw:
            raise size_error(path, image.hw, hw, is_record=True)

    def _found(self, image: AnnotatedImage) -> tuple[Path, int | None]:
        """Return the file of an image, and the page if its name has one (stack.tif.page3.png)."""
        if self.published and self.images is None and isinstance(image.source, Path):
            return image.source, None
        with self._archives_named():
            try:
                return self._find(image.file_name), None
            except DataError:
                if (named := split_page_name(image.file_name)) is not None:
                    with suppress(DataError):
                        return self._find(named[0]), named[1]
                raise

    def _as_on_disk(self, image: AnnotatedImage) -> AnnotatedImage:
        """Return an image with the accents of its file name composed as those of its file."""
        if image.file_name.isascii():
            return image
        with suppress(DataError, StopIteration):
            path = self._found(image)[0].as_posix()
            return replace(image, file_name=next(filter(path.endswith, spellings(image.file_name))))
        return image

    def _find(self, file_name: str) -> Path:
        """Find the file of a name. Raises DataError that lists the searched folders."""
        if self._is_label(file_name):
            raise DataError(
                f"{self.display_path}: The image to which the label image {file_name!r} "
                "belongs is missing. Pass the folder of the images: --images DIR"
            )
        folders, below = self._folders
        names = self._names(file_name)
        for folder in folders:
            for name in names:
                path = folder / name
                if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                    return path
        for name in names:
            paths = {
                path.resolve(): path
                for folder in below
                for path in self._files_below(folder).get(Path(name).name, ())
                if path.as_posix().endswith(f"/{name}")
            }
            if len(paths) > 1:
                first, second, *_ = paths.values()
                raise DataError(
                    f"{self.display_path}: Two images have the name {name!r}, in {first.parent} "
                    f"and in {second.parent}. Pass the folder of the images: --images DIR"
                )
            if paths:
                return next(iter(paths.values()))
        key = name_key(Path(file_name).name)
        near = [name for top in below for name in self._files_below(top) if name_key(name) == key]
        places = ", ".join(str(folder) for folder in folders if folder.name != IMAGE_FOLDERS[1])
        raise DataError(
            f"{self.display_path}: The image {file_name!r} is not in {places}. "
            + (
                f"{near[0]!r} differs in upper and lower case. Rename it."
                if near
                else "Pass the folder of the images: --images DIR"
            )
        )

    @property
    def _folders(self) -> tuple[list[Path], list[Path]]:
        """Folders to which names are relative, and those that are searched at any depth."""
        if self.images is not None:
            return [self.images], [self.images]
        here = self.source if self.source.is_dir() else self.source.parent
        tops = [here, *here.parents[: 2 if here.parent.name == "labels" else 1]]
        folders = [top / inside for top in tops for inside in (*IMAGE_FOLDERS, ".")]
        return folders, [here, here.parent] if here.name.startswith("annotation") else [here]

    def _files_below(self, folder: Path) -> dict[str, list[Path]]:
        """Return the files of a folder at any depth by name; links out of it are not followed."""
        if folder not in self._below:
            files = self._below[folder] = {}
            for top, _, names in os.walk(folder):
                for name in names:
                    path = Path(top, name)
                    if not path.is_symlink() or path.resolve().is_relative_to(folder.resolve()):
                        files.setdefault(name, []).append(path)
        return self._below[folder]

    def _names(self, file_name: str) -> list[str]:
        """Return the names that an image file may have in an image folder.

        Leading folders are omitted only if no other image has the same name.
        """
        named = Path(file_name)  # second name: images/ inside a split, as in some YOLO datasets
        ends = list(name_suffixes(file_name))
        names = [file_name, str(named.parent / IMAGE_FOLDER / named.name)]
        names += [end for end in ends if self._ends[end] < 2]
        if self.format.startswith("label-studio"):
            names += [uploaded_name(end) for end in ends[-1:]]
        return [spelling for name in names for spelling in spellings(name)]

    def _is_label(self, file_name: str) -> bool:
        """Return whether a label image has no separate image, so that its name is its own."""
        may_be = self.format == MASK_FORM and self.images is None and file_name.endswith(".png")
        if not may_be or split_folders(self.source, MASK_FORM):
            return False
        path = self.source / file_name
        return not path.is_file() or path in self._labels

    @cached_property
    def _labels(self) -> frozenset[Path]:
        return frozenset(label_files(places_of(self.source, self.images)))


def read(
    path: str | Path,
    format: str | None = None,
    images: str | Path | None = None,
    split: str | None = None,
    *,
    boxes: bool = False,
    **settings: Unpack[ReadKeywords],
) -> Dataset:
    """Open a dataset in any supported format, to iterate over its images once or several times.

    Files are read during iteration. `unread` counts invalid records and unsupported content.

    Args:
        path: File or folder of annotations.
        format: Name of the format or published layout. Detected by default.
        images: Folder or archive of the images, for formats that do not store sizes or names.
        split: Split of a dataset, such as "val".
        boxes: Also return boxes without masks, as rectangular masks.
        settings: Fields of `ReadSettings`. on_bad="error" raises an error for invalid records.

    Raises:
        DataError: The path is missing, no format matches, or a file is invalid (during iteration).
        InputError: The format name or the split is unknown.
        MissingPlugin: The format or layout requires a plug-in.

    Example:
        for image in anymask.read("labels.json"):
            print(image.file_name, image.masks.labels)
    """
    check_keywords(settings, ("format", *ReadKeywords.__annotations__))
    refuse_text("True or False", boxes=boxes)
    options, path = ReadSettings(**settings), Path(path)
    if is_archive(path) and not is_file_of_format(path):
        unpacked = unpack(path)
        source = unpacked.place
        format = format or (MASK_FORM if split_folders(source, MASK_FORM) else None)
        dataset = _read_unpacked(unpacked, source, format, images, split, boxes=boxes, **settings)
        return replace(dataset, name=bare_name(path))
    if images is not None and is_archive(Path(images)):
        unpacked = unpack_images(Path(images))
        return _read_unpacked(
            unpacked, path, format, unpacked.place, split, boxes=boxes, **settings
        )
    source = place_of(path)
    name, recognized_by = (format_name(format), "named") if format else recognized(source, split)
    check_readable(name)
    folder = None if images is None else Path(images)
    if name == MASK_FORM and folder is None:
        folder = places_of(source).images
    if folder is not None and not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder}: Not a folder or archive (.zip, .tar, .tar.gz) of images.")
        raise DataError(f"{folder}: The image folder does not exist.")
    title = source.resolve().name if source.is_dir() else source.resolve().stem
    dataset = Dataset(
        title, source, name, folder, boxes=boxes, settings=options, recognized_by=recognized_by
    )
    return dataset if split is None else dataset.part(split)


def _read_unpacked(unpacked: Unpacked, *arguments: Any, **settings: Any) -> Dataset:
    """Call `read` with the archive name in errors, and remove its files if it fails."""
    with unpacked.named(), ExitStack() as stack:
        stack.callback(unpacked.close)
        dataset = read(*arguments, **settings)
        stack.pop_all()
    return replace(dataset, archives=(unpacked, *dataset.archives))


def read_annotations(
    source: str | Path,
    name: str | None = None,
    image_root: str | Path | None = None,
    split: str | None = None,
    **settings: Unpack[ReadKeywords],
) -> tuple[list[AnnotatedImage], LossReport]:
    """Read all images of a dataset at once, with the report on unread content (see `read`)."""
    dataset = read(source, name, image_root, split, **settings)
    return list(dataset), dataset.lost
