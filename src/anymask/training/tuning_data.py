"""Data of a fine-tuning: annotated pictures of any format in, checked sets of a run's folder out.

`prepare` writes two sets (`data.sets`), `train` and `held_out`, so that a run owns all that it
learns from and resumes alike when the source has moved. Pictures are linked, or copied where the
disk cannot link.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from anymask.data.annotations import AnnotatedImage
from anymask.data.streams import Stream
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.notation import parse_json
from anymask.primitives.rle import Rle, rle_area, rle_intersection, rle_to_string
from anymask.primitives.storage import write_json, write_whole

TRAIN, HELD_OUT = "train", "held_out"
REPORT = "data.json"
HELD_SHARE = 0.2  # of the photos, where no held-out set is given
MOST_HELD = 50  # photos that are held out of a large set
INSIDE = 0.8  # of a mask's pixels, that make it nested in another one
NESTED_PHOTOS = 200  # that are looked at for it
TINY = 16  # pixels of a mask, below which nothing can be learned from it


@dataclass(kw_only=True)
class DataReport:
    """What a fine-tuning learns from, and what is wrong with it.

    photos, masks      of the part that is learned from
    held_photos, held_masks  of the part that is held out
    labels             how many masks each label has
    empty, tiny        masks without a pixel, and with fewer than `TINY`; both are left out
    nested             part of the masks that lie inside a larger one of their photo
    unlabelled_photos  photos without a mask; they are left out
    duplicates         photos whose file is there twice, byte by byte; one is kept
    leaks              held-out photos that are also learned from; they are left out of learning
    """

    photos: int = 0
    masks: int = 0
    held_photos: int = 0
    held_masks: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    tiny: int = 0
    unlabelled_photos: int = 0
    nested: float = 0.0
    duplicates: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people: what there is, then whatever was left out."""
        found = [
            f"{self.photos} photos with {self.masks} masks to learn from, "
            f"{self.held_photos} with {self.held_masks} held out"
        ]
        counts = (
            (self.unlabelled_photos, "photos without a mask"),
            (self.empty, "masks without a pixel"),
            (self.tiny, f"masks of fewer than {TINY} pixels"),
            (len(self.duplicates), "photos that are there twice"),
            (len(self.leaks), "photos to learn from that are held out, too"),
        )
        return found + [f"left out: {count} {what}" for count, what in counts if count]


@dataclass(frozen=True)
class _Photo:
    """One photo that can be learned from: its file, its masks that are large enough."""

    image: AnnotatedImage
    path: Path
    digest: str
    rles: tuple[Rle, ...]
    labels: tuple[str | None, ...]


def prepare(source: Stream, held_out: Stream | None, folder: Path) -> DataReport:
    """Check the data and write the sets `train` and `held_out` below `folder`.

    Without a held-out source, a fifth of the photos (`MOST_HELD` at most) is held out; which ones
    depends on their content alone. A folder that was prepared already is left as it is.

    Raises DataError for a damaged source, InputError where too little is left.
    """
    if (folder / REPORT).is_file():
        return DataReport(**parse_json((folder / REPORT).read_bytes(), folder / REPORT))
    report = DataReport()
    photos = _usable(source, report)
    if held_out is None:
        held, photos = _divided(photos)
    else:
        held = _usable(held_out, DataReport())
        kept_out = {photo.digest for photo in held}
        report.leaks = [p.image.file_name for p in photos if p.digest in kept_out]
        photos = [p for p in photos if p.digest not in kept_out]
    if not photos or not held:
        raise InputError(
            f"{source.source}: wanted at least two photos with masks, one to learn from and one to "
            f"hold out; got {len(photos)} and {len(held)}; label more, or give --val"
        )
    report.labels = dict(Counter(m.label or "" for p in photos for m in p.image.objects))
    report.nested = round(nested_part([photo.rles for photo in photos]), 4)
    report.photos, report.masks = len(photos), sum(len(p.rles) for p in photos)
    report.held_photos, report.held_masks = len(held), sum(len(p.rles) for p in held)
    _write_set(folder / TRAIN, photos)
    _write_set(folder / HELD_OUT, held)
    write_json(folder / REPORT, asdict(report))
    return report


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


def _usable(source: Stream, report: DataReport) -> list[_Photo]:
    """The photos of a source that something can be learned from, each file once."""
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


def _divided(photos: list[_Photo]) -> tuple[list[_Photo], list[_Photo]]:
    """(held out, to learn from), by the digests of the files, each in the source's order."""
    count = min(MOST_HELD, max(1, round(HELD_SHARE * len(photos))))
    chosen = set(sorted(photo.digest for photo in photos)[:count])
    return (
        [photo for photo in photos if photo.digest in chosen],
        [photo for photo in photos if photo.digest not in chosen],
    )


def _write_set(folder: Path, photos: list[_Photo]) -> None:
    """A set of ours; a photo is named by its content, so that no two names meet."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for photo in photos:
        name = f"images/{photo.digest[:24]}{photo.path.suffix.lower()}"
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
            raise DataError(f"{source}: cannot be copied to {target.parent} ({error})") from error
