"""Prepare fine-tuning data: check annotated images and write training and held-out sets.

`prepare` writes two sets (`formats.sets`), `train` and `held_out`, so that a run is independent of
its source and can be resumed if the source is moved. Images are hard-linked, or copied if that is
not possible. `doubts` and `write_sheet` help users to check their data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from anymask.base import DataError, Floats, InputError, parse_json, write_json, write_whole
from anymask.evaluation import page
from anymask.formats import AnnotatedImage, Dataset, LossReport, license_text, located
from anymask.formats.metadata import check_training, restrictions_of
from anymask.images import TIFF, display_image, fingerprint, first_alike, load_image, read_pages
from anymask.masks import (
    Rle,
    contact_sheet,
    contours,
    counted,
    rle_area,
    rle_intersection,
    rle_to_mask,
    rle_to_string,
)
from anymask.training.held_out import subsample

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import ChannelMix

DATA = "data"  # in the run folder
TRAIN, HELD_OUT = "train", "held_out"
DATA_JSON = "data.json"
NAMES_FILE = "names.json"  # original file names of the images
HELD_SHARE = 0.2  # fraction of the images that is held out by default
FEW_HELD = 4  # with fewer held-out images, a gain is chance
MAX_HELD = 50  # maximum number of images that are held out by default
MIN_NESTED = 0.8  # minimum fraction of a nested mask inside another one
NESTED_IMAGES = 200  # images that are checked for nested masks
MIN_PIXELS = 16  # minimum pixels of a mask
SAME_SET = "Warning: the training and the validation data are the same images. A fifth is held out."


@dataclass(kw_only=True)
class DataReport:
    """Contents and problems of fine-tuning data."""

    photos: int = 0  # Number of training images
    masks: int = 0  # Number of training masks
    held_photos: int = 0  # Number of held-out images
    held_masks: int = 0  # Number of held-out masks
    labels: dict[str, int] = field(default_factory=dict)  # Number of masks by label
    classes: list[str] = field(default_factory=list)  # Class list of the data, in order
    empty: int = 0  # Skipped masks without a pixel
    tiny: int = 0  # Skipped masks with fewer than `MIN_PIXELS` pixels
    unlabeled_images: int = 0  # Skipped images without a mask
    nested: float = 0.0  # Fraction of the masks that lie inside a larger one of their image
    duplicates: list[str] = field(default_factory=list)  # Skipped images with an identical file
    # Skipped images with the same content in another encoding
    alike: list[str] = field(default_factory=list)
    # Training images that are skipped because the same file is held out
    leaks: list[str] = field(default_factory=list)
    # Training images that are held out in another encoding
    alike_leaks: list[str] = field(default_factory=list)
    # Datasets with their size, licence, source, consent and restrictions
    sources: list[dict[str, Any]] = field(default_factory=list)
    content: str = ""  # Hash of the training image files
    # Lines about contents of the datasets that are not masks or not supported
    unread: list[str] = field(default_factory=list)
    # Lines about skipped images and masks of the held-out set
    held_left: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Format the sizes and everything that was skipped, one line each."""
        held = counted(self.held_photos, "held-out image")
        lines = [
            f"{counted(self.photos, 'training image')} with {counted(self.masks, 'mask')}, and "
            f"{held} with {counted(self.held_masks, 'mask')}"
        ]
        if self.held_photos < FEW_HELD:
            lines += [f"Warning: {held} cannot show whether the model improves. Label more images."]
        return lines + self.left_out() + self.held_left + self.unread

    def left_out(self) -> list[str]:
        """Format a line for each reason why something was skipped."""
        counts = (
            (self.unlabeled_images, "images without a mask"),
            (self.empty, "empty masks"),
            (self.tiny, f"masks smaller than {MIN_PIXELS} pixels"),
            (len(self.duplicates), "duplicate images"),
            (len(self.alike), "duplicate images in another encoding"),
            (len(self.leaks), "training images that are also held out"),
            (len(self.alike_leaks), "training images that are also held out in another encoding"),
        )
        return [f"Skipped: {count} {what}" for count, what in counts if count]

    def stated(self) -> dict[str, Any]:
        """Return the description of the data for the metadata of the weights."""
        return {
            "photos": self.photos, "masks": self.masks, "held_photos": self.held_photos,
            "held_masks": self.held_masks, "labels": self.labels, "sets": self.sources,
            "photos_sha256": self.content,
        }  # fmt: skip

    def licences(self) -> list[str]:
        """Return the different licences of the datasets."""
        return list(
            dict.fromkeys(source["licence"] for source in self.sources if source.get("licence"))
        )


@dataclass(frozen=True)
class _Image:
    """Usable image: its file and its sufficiently large masks."""

    image: AnnotatedImage
    path: Path
    digest: str
    rles: tuple[Rle, ...]
    labels: tuple[str | None, ...]

    @property
    def name(self) -> str:
        """File name from the content hash, which is unique."""
        return f"{self.digest[:24]}{self.path.suffix.lower()}"


def prepare(source: Dataset, held_out: Dataset | None, folder: Path) -> DataReport:
    """Check the data and write the sets `train` and `held_out` in `folder`.

    Without a held-out source, a fifth of the images (at most `MAX_HELD`) is held out, chosen by
    their content. A folder that is already prepared is not changed.

    Raises DataError for a corrupted source, InputError if too little is left or the folder was
    created from other data.
    """
    if (folder / DATA_JSON).is_file():
        with located(folder / DATA_JSON):
            kept = DataReport(**parse_json((folder / DATA_JSON).read_bytes(), folder / DATA_JSON))
            if [*map(type, asdict(kept).values())] != [*map(type, asdict(DataReport()).values())]:
                raise DataError("a value has a wrong type")
            about = (entry["option"] + _in_words(entry) for entry in kept.sources)
            "".join([*kept.lines(), *kept.licences(), *about])  # TypeError for other types
        _check_same(kept, source, held_out, folder)
        return kept
    report, source = DataReport(), source.with_sizes_checked()
    held_out = None if held_out is None else held_out.with_sizes_checked()
    usable = _usable(source, report)
    report.sources = [_source_of(source, "--data", usable)]
    prints = [_print_of(image.path) for image in usable]
    # Duplicates in another encoding.
    again = [0 <= earlier < index for index, earlier in enumerate(first_alike(prints, prints))]
    report.alike = [
        image.image.file_name for image, twice in zip(usable, again, strict=True) if twice
    ]
    places = [index for index, twice in enumerate(again) if not twice]
    images, prints = [usable[i] for i in places], [prints[i] for i in places]
    held = list[_Image]()
    if held_out is not None:
        held = _usable(held_out, of_held := DataReport())
        report.sources.append(_source_of(held_out, "--val", held))
        report.held_left = [f"{line} (validation data)" for line in of_held.left_out()]
    if held_out is None or {image.digest for image in held} == {image.digest for image in images}:
        report.unread = [SAME_SET] * (held_out is not None)
        count = min(MAX_HELD, max(1, round(HELD_SHARE * len(images))))
        chosen = sorted(image.digest for image in images)[:count]
        held = [image for image in images if image.digest in chosen]
        images = [image for image in images if image.digest not in chosen]
    else:
        images = _not_held_out(images, prints, held, report)
    if not images or not held:
        raise InputError(
            f"{source.source} has too few images with masks: {len(images)} for training and "
            f"{len(held)} for validation, without {len(report.leaks) + len(report.alike_leaks)} "
            "training images that are also in the validation data. Label more images, or use other "
            "validation data (val)."
        )
    report.labels = dict(Counter(m.label or "" for p in images for m in p.image.objects))
    report.nested = round(nested_part([image.rles for image in images]), 4)
    report.photos, report.masks = len(images), sum(len(p.rles) for p in images)
    report.held_photos, report.held_masks = len(held), sum(len(p.rles) for p in held)
    classes = LossReport()  # with a note if the lists of --data and --val differ
    for stream in [source] if held_out is None else [source, held_out]:
        report.unread += stream.unread_lines()
        if stream.lost.classes:
            classes.list_classes(stream.lost.classes)
    report.classes = [*classes.classes]
    report.unread += classes.notes
    report.content = hashlib.sha256("".join(sorted(p.digest for p in images)).encode()).hexdigest()
    write_json(folder / NAMES_FILE, {p.name: p.image.file_name for p in (*images, *held)}, indent=1)
    _write_set(folder / TRAIN, images)
    _write_set(folder / HELD_OUT, held)
    write_json(folder / DATA_JSON, asdict(report))
    return report


def check_terms(report: DataReport) -> None:
    """Raise InputError if the terms of the data forbid this training run."""
    mixed = len(report.sources) > 1
    for source in report.sources:
        check_training(source["name"], source.get("restrictions", "").split(", "), mixed=mixed)


def own_names(folder: Path) -> dict[str, str]:
    """Return the original names of the images of a prepared folder, by their names there.

    Raises DataError if the file is corrupted.
    """
    path = folder / NAMES_FILE
    with located(path):
        return {
            name: str(original) for name, original in parse_json(path.read_bytes(), path).items()
        }


def _source_of(stream: Dataset, option: str, images: Sequence[_Image]) -> dict[str, Any]:
    """Describe a dataset: its size, name and terms."""
    entry = {"option": option, "name": stream.name, "format": stream.format, "photos": len(images)}
    entry["masks"] = sum(len(image.rles) for image in images)
    info = stream.lost.facts.info
    stated = {
        "name": info.get("name"), "licence": license_text(stream.lost.facts.licences),
        "source": info.get("source") or info.get("url"), "consent": info.get("consent"),
        "restrictions": ", ".join(restrictions_of(info)),
    }  # fmt: skip
    entry |= {key: value for key, value in stated.items() if value and isinstance(value, str)}
    lines = (
        json.dumps([p.digest, [rle_to_string(rle) for rle in p.rles], p.labels]) for p in images
    )
    return entry | {"sha256": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()}


def _check_same(kept: DataReport, source: Dataset, held_out: Dataset | None, folder: Path) -> None:
    """Raise InputError if the data differs from that of the folder.

    The sets in the folder itself are always accepted.
    """
    if source.source.resolve().is_relative_to(folder.resolve()):
        return
    before = {entry["option"]: entry for entry in kept.sources}
    differs = []
    for option, stream in (("--data", source), ("--val", held_out)):
        then = before.get(option)
        now = None if stream is None else _source_of(stream, option, _usable(stream, DataReport()))
        if (then or {}).get("sha256") != (now or {}).get("sha256"):
            differs.append(f"{option} was {_in_words(then)}, now {_in_words(now)}")
    if differs:
        raise InputError(
            f"{folder.parent} was created with other data: {'; '.join(differs)}. Use the same "
            "images and masks, or choose another run folder."
        )


def _in_words(source: dict[str, Any] | None) -> str:
    if source is None:
        return "not given"
    return f"{source['name']} ({source['photos']} images, {source['masks']} masks)"


def nested_part(images: Sequence[Sequence[Rle]]) -> float:
    """Return the fraction of masks with at least `MIN_NESTED` in a larger mask of the image."""
    nested = count = 0
    for rles in images[:NESTED_IMAGES]:
        areas = np.array([rle_area(rle) for rle in rles])
        covered = rle_intersection(rles, rles) >= MIN_NESTED * areas[:, None]
        nested += int((covered & (areas[None] > areas[:, None])).any(1).sum())
        count += len(rles)
    return nested / max(1, count)


def _usable(source: Dataset, report: DataReport) -> list[_Image]:
    """Return the usable images of a source, each file once.

    Raises DataError if an image is missing.
    """
    visited: set[str] = set()
    images = []
    for image in source:
        sizes = [rle_area(rle) for rle in image.rles]
        report.empty += sum(size == 0 for size in sizes)
        report.tiny += sum(0 < size < MIN_PIXELS for size in sizes)
        rles = tuple(r for r, size in zip(image.rles, sizes, strict=True) if size >= MIN_PIXELS)
        labels = tuple(
            mask.label
            for mask, size in zip(image.objects, sizes, strict=True)
            if size >= MIN_PIXELS
        )
        if not rles:
            report.unlabeled_images += 1
            continue
        path = source.image_path(image)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in visited:
            report.duplicates.append(image.file_name)
            continue
        visited.add(digest)
        images.append(_Image(image, path, digest, rles, labels))
    return images


def _print_of(path: Path) -> Floats | None:
    """Return the fingerprint of an image. Raises ImageError if it is corrupted."""
    values = fingerprint(path)
    if values is None and path.suffix.lower() not in TIFF:
        load_image(path)
    return values


def _not_held_out(
    images: list[_Image], prints: list[Floats | None], held: list[_Image], report: DataReport
) -> list[_Image]:
    """Return the images that are not held out, by file and by content."""
    kept_out = {image.digest for image in held}
    alike = first_alike(prints, [_print_of(image.path) for image in held])
    left = []
    for image, twin in zip(images, alike, strict=True):
        if image.digest in kept_out:
            report.leaks.append(image.image.file_name)
        elif twin >= 0:
            report.alike_leaks.append(image.image.file_name)
        else:
            left.append(image)
    return left


def _write_set(folder: Path, images: list[_Image]) -> None:
    """Write a set whose images are named by their content."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for image in images:
        name = f"images/{image.name}"
        target = folder / name
        target.unlink(missing_ok=True)
        try:
            os.link(image.path.resolve(), target)
        except OSError:
            try:
                shutil.copyfile(image.path, target)
            except OSError as error:
                raise DataError(
                    f"Cannot copy {image.path} to {target.parent}: {error.strerror}. Free space."
                ) from error
        masks = [
            {"rle": rle_to_string(rle), "area": rle_area(rle)} | ({"label": label} if label else {})
            for rle, label in zip(image.rles, image.labels, strict=True)
        ]
        lines.append(json.dumps({"image": name, "hw": image.image.hw, "masks": masks}))
    write_whole(folder / "masks.jsonl", "\n".join(lines) + "\n")
    write_json(folder / "set.json", {"name": folder.name, "images": len(images)})


MAX_CHECKED_IMAGES = 50  # images that are checked for masks of many parts
MIN_MANY_PARTS = 4  # minimum parts of a single mask that may be separate objects


def doubts(
    images: Sequence[AnnotatedImage], names: Mapping[str, str], channels: Mapping[str, Any]
) -> Iterator[str]:
    """Yield warnings about data that may be interpreted differently than intended.

    Args:
        names: Original names of the images.
        channels: Channel mix of the recipe; empty for RGB.
    """
    files = [image.source for image in images if isinstance(image.source, Path)]
    held = ((file.name, read_pages(file)) for file in files if file.suffix.lower() in TIFF)
    stacks = [] if channels else [(name, pages) for name, pages in held if pages.count > 1]
    if stacks:
        name, pages = stacks[0]
        yield (
            f"{len(stacks)} images are stacks of several pages, such as "
            f"{names.get(name, name)}{pages.axes_in_words()}. Only the first page of each "
            f"stack is used. If the pages are channels, set channels to {pages.count}."
        )

    # A single mask of many parts per image: unnumbered objects, as in black and white masks.
    some = subsample(images, MAX_CHECKED_IMAGES)
    if any(len(image.rles) != 1 for image in some):
        return
    masks = (rle_to_mask(image.rles[0]).view(np.uint8) for image in some)
    parts = [cv2.connectedComponents(mask)[0] - 1 for mask in masks]
    if parts and np.median(parts) >= MIN_MANY_PARTS:
        yield (
            "Every image has a single mask, which is trained as one object, but typically "
            f"consists of {np.median(parts):.0f} separate parts. If each part is an object, "
            "give each part a different number, for example with skimage.measure.label."
        )


SHEET_IMAGES = 24
CELL = 320  # pixels of an image on the sheet
MAX_OUTLINED_MASKS = 200  # masks that are outlined on one image


def write_sheet(
    path: Path,
    images: Sequence[AnnotatedImage],
    mix: ChannelMix | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Write a JPEG contact sheet of evenly spaced images with mask outlines.

    Raises ImageError or DataError if an image cannot be opened.

    Args:
        mix: Channel mix for multi-channel images.
        names: Original names of the images.
    """
    if path.is_file():
        return
    known = names or {}
    cells = [
        (outlined(image, mix), f"{known.get(image.name, image.name)}: {len(image.rles)} masks")
        for image in subsample(images, SHEET_IMAGES)
    ]
    write_whole(path, page.jpeg_bytes(contact_sheet(cells, cell=CELL)))


def outlined(pixels: AnnotatedImage, mix: ChannelMix | None = None) -> UintImage:
    """Return an image, scaled to about the size of its cell, with mask outlines."""
    image = display_image(pixels.model_input(mix), mix)
    scale = min(1.0, 2 * CELL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    masks = [
        cv2.resize(rle_to_mask(rle).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for rle in pixels.rles[:MAX_OUTLINED_MASKS]
    ]
    return contours(small, np.stack(masks))
