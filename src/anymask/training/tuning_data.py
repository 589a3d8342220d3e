"""Data of a fine-tuning: annotated pictures of any format in, checked sets of a run's folder out.

`prepare` writes two sets (`formats.sets`), `train` and `held_out`, so that a run owns all that it
learns from and resumes alike when the source has moved. Pictures are linked, or copied where the
disk cannot link. `doubts` and `write_sheet` show what only the owner of the data can judge.
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
from anymask.evaluation import jpeg_bytes
from anymask.formats import AnnotatedImage, Dataset, LossReport, licence_text
from anymask.images import (
    TIFF,
    fingerprint,
    first_alike,
    load_image,
    read_pages,
    shown_picture,
)
from anymask.masks import (
    Rle,
    contact_sheet,
    contours,
    rle_area,
    rle_intersection,
    rle_to_mask,
    rle_to_string,
)
from anymask.training.held_out import evenly

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import ChannelMix

TRAIN, HELD_OUT = "train", "held_out"
REPORT = "data.json"
NAMES = "names.json"  # what its owner calls each photo
HELD_SHARE = 0.2  # of the photos, where no held-out set is given
MAX_HELD = 50  # photos that are held out of a large set
INSIDE = 0.8  # of a mask's pixels, that make it nested in another one
NESTED_PHOTOS = 200  # that are looked at for it
TINY = 16  # pixels of a mask, below which nothing can be learned from it


@dataclass(kw_only=True)
class DataReport:
    """What a fine-tuning learns from, and what is wrong with it.

    Attributes:
        photos: Of the part that is learned from.
        masks: Of the part that is learned from.
        held_photos: Of the part that is held out.
        held_masks: Of the part that is held out.
        labels: How many masks each label has.
        classes: The class list of the data, in its order.
        empty: Masks without a pixel, and with fewer than `TINY`; both are left out.
        tiny: Like `empty`.
        nested: Part of the masks that lie inside a larger one of their photo.
        unlabelled_photos: Photos without a mask; they are left out.
        duplicates: Photos whose file is there twice, byte by byte; one is kept.
        alike: Photos that show what another one shows, encoded otherwise; one is kept.
        leaks: Held-out photos that are also learned from, byte by byte; they are left out of
            learning.
        alike_leaks: The same, encoded otherwise.
        sources: The data sets: what they hold, their licence and source where they state them.
        content: Hash of the files of the photos that are learned from.
        held_left: What was left out of the held-out set, in lines.
        unread: What the data sets hold that is no mask, or was not understood, in lines.
    """

    photos: int = 0
    masks: int = 0
    held_photos: int = 0
    held_masks: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    empty: int = 0
    tiny: int = 0
    unlabelled_photos: int = 0
    nested: float = 0.0
    duplicates: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    alike_leaks: list[str] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    content: str = ""
    unread: list[str] = field(default_factory=list)
    held_left: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people: what there is, then whatever was left out."""
        found = [
            f"{self.photos} training images with {self.masks} masks, and {self.held_photos} "
            f"held-out images with {self.held_masks} masks"
        ]
        return found + self.left_out() + self.held_left + self.unread

    def left_out(self) -> list[str]:
        """A line for each kind of what was left out."""
        counts = (
            (self.unlabelled_photos, "images without a mask"),
            (self.empty, "empty masks"),
            (self.tiny, f"masks smaller than {TINY} pixels"),
            (len(self.duplicates), "duplicate images"),
            (len(self.alike), "duplicate images in another encoding"),
            (len(self.leaks), "training images that are also held out"),
            (len(self.alike_leaks), "training images that are also held out in another encoding"),
        )
        return [f"Skipped: {count} {what}" for count, what in counts if count]

    def stated(self) -> dict[str, Any]:
        """What the tuned weights say of the data."""
        return {
            "photos": self.photos,
            "masks": self.masks,
            "held_photos": self.held_photos,
            "held_masks": self.held_masks,
            "labels": self.labels,
            "sets": self.sources,
            "photos_sha256": self.content,
        }

    def licences(self) -> list[str]:
        """The licences that the data sets state, each once."""
        return list(dict.fromkeys(one["licence"] for one in self.sources if one.get("licence")))


@dataclass(frozen=True)
class _Photo:
    """One photo that can be learned from: its file, its masks that are large enough."""

    image: AnnotatedImage
    path: Path
    digest: str
    rles: tuple[Rle, ...]
    labels: tuple[str | None, ...]

    @property
    def name(self) -> str:
        """By its content, so that no two names meet."""
        return f"{self.digest[:24]}{self.path.suffix.lower()}"


def prepare(source: Dataset, held_out: Dataset | None, folder: Path) -> DataReport:
    """Check the data and write the sets `train` and `held_out` below `folder`.

    Without a held-out source, a fifth of the photos (`MAX_HELD` at most) is held out; which ones
    depends on their content alone. A folder that was prepared already is left as it is.

    Raises DataError for a damaged source, InputError where too little is left, or where the folder
    was made of other data.
    """
    if (folder / REPORT).is_file():
        kept = DataReport(**parse_json((folder / REPORT).read_bytes(), folder / REPORT))
        _check_same(kept, source, held_out, folder)
        return kept
    report, source = DataReport(), source.with_sizes_checked()
    held_out = None if held_out is None else held_out.with_sizes_checked()
    photos = _usable(source, report)
    sources = [_source_of(source, "--data", photos)]
    photos, prints = _seen_once(photos, report)
    if held_out is None:
        held, photos = _divided(photos)
    else:
        held = _usable(held_out, of_held := DataReport())
        sources.append(_source_of(held_out, "--val", held))
        photos = _not_held_out(photos, prints, held, report)
        report.held_left = [f"{line} (validation data)" for line in of_held.left_out()]
    if not photos or not held:
        raise InputError(_too_few(source, held_out, report, len(photos), len(held)))
    report.labels = dict(Counter(m.label or "" for p in photos for m in p.image.objects))
    report.nested = round(nested_part([photo.rles for photo in photos]), 4)
    report.photos, report.masks = len(photos), sum(len(p.rles) for p in photos)
    report.held_photos, report.held_masks = len(held), sum(len(p.rles) for p in held)
    report.sources = sources
    streams = [source] if held_out is None else [source, held_out]
    report.classes, notes = _class_list(streams)
    report.unread = [line for stream in streams for line in stream.unread_lines()] + notes
    report.content = hashlib.sha256("".join(sorted(p.digest for p in photos)).encode()).hexdigest()
    write_json(folder / NAMES, {p.name: p.image.file_name for p in (*photos, *held)}, indent=1)
    _write_set(folder / TRAIN, photos)
    _write_set(folder / HELD_OUT, held)
    write_json(folder / REPORT, asdict(report))
    return report


def _class_list(streams: Sequence[Dataset]) -> tuple[list[str], list[str]]:
    """The class list of the data, and a line where the lists of --data and --val differ."""
    merged = LossReport()
    for stream in streams:
        if stream.lost.classes:
            merged.list_classes(stream.lost.classes)
    return [*merged.classes], merged.notes


def _too_few(
    source: Dataset, held_out: Dataset | None, report: DataReport, learned: int, held: int
) -> str:
    """Why nothing is left to learn from, or to hold out, and what to do."""
    wanted = (
        f"{source.source} has too few images with masks. At least one image is required for "
        "training and one for "
    )
    leaks = len(report.leaks) + len(report.alike_leaks)
    if held_out is None:
        return (
            f"{wanted}validation, but {learned + held} remain in total. Label more images, or "
            "pass validation data (val)."
        )
    if leaks and held:
        return (
            f"{wanted}validation, but {leaks} images are also in the validation data and are not "
            "used for training. Use other validation data (val), or omit it to hold out a fifth "
            "of the data."
        )
    return (
        f"{wanted}validation, but {learned} training images and {held} validation images (from "
        f"{held_out.source}) remain. Label more images, or omit the validation data (val)."
    )


def own_names(folder: Path) -> dict[str, str]:
    """What their owner calls the photos of a folder that `prepare` wrote, by their names there.

    Raises DataError for a damaged file.
    """
    path = folder / NAMES
    return dict(parse_json(path.read_bytes(), path))


def _source_of(stream: Dataset, option: str, photos: Sequence[_Photo]) -> dict[str, Any]:
    """What a data set holds, and what it states of its name, licence and source."""
    found = {"option": option, "name": stream.name, "format": stream.form, "photos": len(photos)}
    found["masks"] = sum(len(photo.rles) for photo in photos)
    facts = stream.lost.facts
    source = facts.info.get("source") or facts.info.get("url")
    stated = {"name": facts.info.get("name"), "licence": licence_text(facts.licences)}
    stated["source"] = source if isinstance(source, str) else None
    found |= {key: value for key, value in stated.items() if value and isinstance(value, str)}
    lines = (
        json.dumps([p.digest, [rle_to_string(rle) for rle in p.rles], p.labels]) for p in photos
    )
    return found | {"sha256": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()}


def _check_same(kept: DataReport, source: Dataset, held_out: Dataset | None, folder: Path) -> None:
    """Raises InputError for data other than those that the folder was made of.

    The folder's own sets are the same, too, wherever it lies.
    """
    if source.source.resolve().is_relative_to(folder.resolve()):
        return
    before = {one["option"]: one for one in kept.sources}
    differs = []
    for option, stream in (("--data", source), ("--val", held_out)):
        then = before.get(option)
        now = None
        if stream is not None:
            now = _source_of(stream, option, _usable(stream, DataReport()))
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


def nested_part(photos: Sequence[Sequence[Rle]]) -> float:
    """The part of all masks of which `INSIDE` lies within one larger mask of the same photo."""
    nested = count = 0
    for rles in photos[:NESTED_PHOTOS]:
        areas = np.array([rle_area(rle) for rle in rles])
        covered = rle_intersection(rles, rles) >= INSIDE * areas[:, None]
        larger = areas[None] > areas[:, None]
        nested += int((covered & larger).any(1).sum())
        count += len(rles)
    return nested / max(1, count)


def _usable(source: Dataset, report: DataReport) -> list[_Photo]:
    """The photos of a source that something can be learned from, each file once.

    Raises DataError for a photo that is missing.
    """
    seen: set[str] = set()
    found = []
    for image in source:
        sizes = [rle_area(rle) for rle in image.rles]
        report.empty += sum(size == 0 for size in sizes)
        report.tiny += sum(0 < size < TINY for size in sizes)
        rles = tuple(r for r, size in zip(image.rles, sizes, strict=True) if size >= TINY)
        labels = tuple(
            one.label for one, size in zip(image.objects, sizes, strict=True) if size >= TINY
        )
        if not rles:
            report.unlabelled_photos += 1
            continue
        path = source.picture(image)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in seen:
            report.duplicates.append(image.file_name)
            continue
        seen.add(digest)
        found.append(_Photo(image, path, digest, rles, labels))
    return found


def _print_of(path: Path) -> Floats | None:
    """The fingerprint of a photo. Raises ImageError for a damaged one, as its owner names it."""
    found = fingerprint(path)
    if found is None and path.suffix.lower() not in TIFF:
        load_image(path)
    return found


def _seen_once(
    photos: list[_Photo], report: DataReport
) -> tuple[list[_Photo], list[Floats | None]]:
    """The photos without those that show what one before them shows, and their fingerprints."""
    prints = [_print_of(photo.path) for photo in photos]
    first = first_alike(prints, prints)
    report.alike = [p.image.file_name for i, p in enumerate(photos) if 0 <= first[i] < i]
    kept = [i for i in range(len(photos)) if not 0 <= first[i] < i]
    return [photos[i] for i in kept], [prints[i] for i in kept]


def _not_held_out(
    photos: list[_Photo],
    prints: list[Floats | None],
    held: list[_Photo],
    report: DataReport,
) -> list[_Photo]:
    """The photos that nobody holds out: neither their very file nor what it shows."""
    kept_out = {photo.digest for photo in held}
    report.leaks = [p.image.file_name for p in photos if p.digest in kept_out]
    alike = first_alike(prints, [_print_of(photo.path) for photo in held])
    left = []
    for photo, place in zip(photos, alike, strict=True):
        if photo.digest in kept_out:
            continue
        if place >= 0:
            report.alike_leaks.append(photo.image.file_name)
        else:
            left.append(photo)
    return left


def _divided(photos: list[_Photo]) -> tuple[list[_Photo], list[_Photo]]:
    """(held out, to learn from), by the digests of the files, each in the source's order."""
    count = min(MAX_HELD, max(1, round(HELD_SHARE * len(photos))))
    chosen = set(sorted(photo.digest for photo in photos)[:count])
    return (
        [photo for photo in photos if photo.digest in chosen],
        [photo for photo in photos if photo.digest not in chosen],
    )


def _write_set(folder: Path, photos: list[_Photo]) -> None:
    """A set of ours, whose photos are named by their content."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for photo in photos:
        name = f"images/{photo.name}"
        _link(photo.path, folder / name)
        height, width = photo.image.hw
        masks = [
            {"rle": rle_to_string(rle), "area": rle_area(rle)} | ({"label": label} if label else {})
            for rle, label in zip(photo.rles, photo.labels, strict=True)
        ]
        lines.append(json.dumps({"image": name, "hw": [height, width], "masks": masks}))
    write_whole(folder / "masks.jsonl", "\n".join(lines) + "\n")
    write_json(folder / "set.json", {"name": folder.name, "images": len(photos)})


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy of it."""
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise DataError(
                f"Cannot copy {source} to {target.parent}: {error.strerror}. Check the free "
                "disk space and the permissions."
            ) from error


PHOTOS = 50  # that are looked at for masks of many parts
MANY = 4  # parts of a lone mask, from which on they may be objects


def doubts(
    photos: Sequence[AnnotatedImage], names: Mapping[str, str], channels: Mapping[str, Any]
) -> Iterator[str]:
    """What may be meant otherwise than it is learned.

    Args:
        names: What their owner calls the photos, by their names.
        channels: Those that are learned from together, as a recipe has them; of photos none.
    """
    files = [one.source for one in photos if isinstance(one.source, Path)]
    held = ((file.name, read_pages(file)) for file in files if file.suffix.lower() in TIFF)
    stacks = [] if channels else [(name, pages) for name, pages in held if pages.count > 1]
    if stacks:
        name, pages = stacks[0]
        yield (
            f"{len(stacks)} images are stacks of several pages, such as "
            f"{names.get(name, name)}{pages.axes_in_words()}. Only the first page of each "
            f"stack is used. If the pages are channels, set channels to {pages.count}."
        )

    # One mask a photo, of many parts: objects without numbers, as in black and white masks.
    some = evenly(photos, PHOTOS)
    if any(len(photo.rles) != 1 for photo in some):
        return
    masks = (rle_to_mask(photo.rles[0]).view(np.uint8) for photo in some)
    parts = [cv2.connectedComponents(mask)[0] - 1 for mask in masks]
    if parts and np.median(parts) >= MANY:
        yield (
            "Every image has a single mask, which is trained as one object, but typically "
            f"consists of {np.median(parts):.0f} separate parts. If each part is an object, "
            "give each part a different number, for example with skimage.measure.label."
        )


SHEET_PHOTOS = 24
CELL = 320  # pixels of a photo on the sheet
MAX_MASKS = 200  # that are outlined on one photo


def write_sheet(
    path: Path,
    photos: Sequence[AnnotatedImage],
    mix: ChannelMix | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Photos at equal distances, each with the outlines of its masks, as a JPEG.

    Raises ImageError, DataError for a photo that cannot be opened.

    Args:
        mix: How pictures of other channels are seen.
        names: What their owner calls the photos, by their names.
    """
    if path.is_file():
        return
    known = names or {}
    cells = [
        (outlined(photo, mix), f"{known.get(photo.name, photo.name)}: {len(photo.rles)} masks")
        for photo in evenly(photos, SHEET_PHOTOS)
    ]
    write_whole(path, jpeg_bytes(contact_sheet(cells, cell=CELL)))


def outlined(photo: AnnotatedImage, mix: ChannelMix | None = None) -> UintImage:
    """The photo, about as large as its cell, with the outlines of its masks."""
    image = shown_picture(photo.picture(mix), mix)
    scale = min(1.0, 2 * CELL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    masks = [
        cv2.resize(rle_to_mask(rle).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for rle in photo.rles[:MAX_MASKS]
    ]
    return contours(small, np.stack(masks))
