"""Close-ups to learn names from: labelled photos in, a folder of close-ups out.

A folder of close-ups holds, row by row of `rows.jsonl`:

    photos.bin  (W, W, 3) uint8        masks.bin  (W, W) uint8, the part of a pixel that is object

They are taken wider than the network sees them (`WIDE`), so that training can move and scale them.
Two kinds are stored: masks that people drew, with their names; and what a model proposes for a
photo by itself, with whether people drew the same (`judged`).

Letters: W the side of a stored close-up, S that of what the network sees.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from anymask.base import DataError, UintImage, parse_json
from anymask.formats import AnnotatedImage, is_set, load_set
from anymask.masks import Mask, Rle, rle_area
from anymask.models.rules import CONTEXT, CloseUp, close_up
from anymask.models.rules.crops import SIDE
from research.nano.edge_samples import other_colours
from research.nano.name_words import NameWords
from research.nano.proposals import COMPLETE, ROUND, SAME, judge_proposals

ROWS, PHOTOS, MASKS = "rows.jsonl", "photos.bin", "masks.bin"
WIDE = 160  # W
WIDER = WIDE / SIDE  # than what the network sees
HELD_OUT = 8  # one in so many photos is kept for judging
MOST_PHOTOS = 400  # of a set
MOST_MASKS = 24  # of a photo
SMALLEST = 64  # pixels of a mask that is looked at
NEAREST = 0.85  # of the side that is usually seen: how near a training close-up may come

Proposing = Callable[[UintImage], Sequence[Mask]]


@dataclass(frozen=True, kw_only=True)
class CloseUpRow:
    """One line of `rows.jsonl`.

    number   of the photo, in the order in which photos are looked at
    kind     the set
    photo    its file
    name     place among the words, or None
    judged   of a proposal: 1 where people drew it, else 0; None for a mask that people drew
    counts   how much a proposal counts
    fit      its IoU with the best of their masks
    quality  of a proposal: the model's own number
    """

    number: int
    kind: str
    photo: str
    name: int | None = None
    judged: int | None = None
    counts: float = 1.0
    fit: float = 1.0
    quality: float = 0.0

    @property
    def held_out(self) -> bool:
        """Whether it is kept for judging; all of one photo are, or none."""
        return zlib.crc32(self.photo.encode()) % HELD_OUT == 0


class CloseUpStore:
    """A folder of close-ups, to read. Raises DataError for a folder of other things."""

    def __init__(self, folder: Path) -> None:
        if not (folder / ROWS).is_file():
            raise DataError(
                f"{folder}: wanted a folder of close-ups (with {ROWS}), such as `research.nano "
                "names` leaves in its run's folder; there is none"
            )
        self.rows = read_rows(folder)
        self.photos = np.memmap(folder / PHOTOS, np.uint8, "r").reshape(-1, WIDE, WIDE, 3)
        self.masks = np.memmap(folder / MASKS, np.uint8, "r").reshape(-1, WIDE, WIDE)

    def close_up(self, place: int, rng: Generator | None) -> CloseUp:  # (S, S, 3), (S, S)
        """One as the network sees it; with `rng` mirrored, moved, scaled, in other colours."""
        photo, mask = np.array(self.photos[place]), np.array(self.masks[place])
        if rng is None:
            edge = (WIDE - SIDE) // 2
            inside = slice(edge, edge + SIDE)
            return CloseUp(photo[inside, inside], mask[inside, inside])
        side = int(rng.integers(round(NEAREST * SIDE), WIDE + 1))
        middle, room = (WIDE - side) / 2, (WIDE - side) // 2
        top, left = (int(middle + rng.integers(-room, room + 1) / 2) for _ in "yx")
        seen = []
        for plane in (other_colours(photo, rng), mask):
            part = plane[top : top + side, left : left + side]
            small = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            seen.append(np.asarray(small, np.uint8))
        if rng.random() < 0.5:
            seen = [np.ascontiguousarray(plane[:, ::-1]) for plane in seen]
        return CloseUp(seen[0], seen[1])


def read_rows(folder: Path) -> list[CloseUpRow]:
    """The lines of a folder."""
    lines = (folder / ROWS).read_text(encoding="utf-8").splitlines()
    return [CloseUpRow(**parse_json(line, folder / ROWS)) for line in lines]


def gather_close_ups(
    data: Path,
    folder: Path,
    words: NameWords,
    propose: Proposing,
    pictures: int,
    told: Callable[[int, int], None] | None = None,
) -> None:
    """Store close-ups of the masks of all sets that ship, and of what a model proposes.

    data      folder of sets
    propose   the masks that are judged in one photo
    pictures  how many photos proposals are asked for
    told      is told photos done, and all

    What a folder has already stays; the last photo of it is taken anew. Raises DataError.
    """
    photos = list(_photos(data, pictures))
    if not photos:
        raise DataError(f"{data}: wanted sets that ship (set.json with `ships`), found none")
    with _CloseUpWriter(folder) as writer:
        for number, (kind, sample, proposes) in enumerate(photos):
            if number >= writer.first:
                rows = _proposed if proposes else _labelled
                image = sample.image()
                for rle, row in rows(number, kind, sample, words, propose, image):
                    writer.add(close_up(image, rle, WIDE, CONTEXT * WIDER), row)
            if told is not None:
                told(number + 1, len(photos))


def _photos(data: Path, pictures: int) -> Iterator[tuple[str, AnnotatedImage, bool]]:
    """Photos with labels, set by set; then those that proposals are asked for, in turn."""
    found: dict[str, list[AnnotatedImage]] = {}
    for folder in sorted(one for one in data.iterdir() if is_set(one)):
        info, samples = load_set(folder)
        if info.ships:
            rng = np.random.default_rng(zlib.crc32(folder.name.encode()))
            found[folder.name] = [samples[n] for n in rng.permutation(len(samples))]
    for kind, samples in found.items():
        for sample in samples[:MOST_PHOTOS]:
            yield kind, sample, False
    turns = [kind for kind in ROUND if kind in found] or list(found)
    left = {kind: list(samples) for kind, samples in found.items()}
    asked = 0
    while asked < pictures and any(left[kind] for kind in turns):
        for kind in turns:
            if left[kind] and asked < pictures:
                asked += 1
                yield kind, left[kind].pop(), True


def _labelled(
    number: int,
    kind: str,
    sample: AnnotatedImage,
    words: NameWords,
    _: Proposing,
    image: UintImage,
) -> Iterator[tuple[Rle, CloseUpRow]]:
    """Masks that people drew and named."""
    rng = np.random.default_rng(number)
    named = [
        (mask.rle, place)
        for mask in sample.objects
        if rle_area(mask.rle) >= SMALLEST and (place := words.place(mask.label)) is not None
    ]
    for chosen in rng.permutation(len(named))[:MOST_MASKS]:
        rle, place = named[chosen]
        yield (
            rle,
            CloseUpRow(number=number, kind=kind, photo=f"{kind}/{sample.file_name}", name=place),
        )


def _proposed(
    number: int,
    kind: str,
    sample: AnnotatedImage,
    words: NameWords,
    propose: Proposing,
    image: UintImage,
) -> Iterator[tuple[Rle, CloseUpRow]]:
    """Masks that a model proposes, and whether people drew them."""
    records = propose(image)
    if not records:
        return
    rles = [record.rle for record in records]
    fits, counts = judge_proposals(rles, sample, kind in COMPLETE)
    for record, row, count in zip(records, fits, counts, strict=True):
        best = int(row.argmax()) if len(row) else -1
        fit = float(row[best]) if len(row) else 0.0
        same = fit >= SAME
        yield (
            record.rle,
            CloseUpRow(
                number=number,
                kind=kind,
                photo=f"{kind}/{sample.file_name}",
                name=words.place(sample.objects[best].label) if same else None,
                judged=int(same),
                counts=float(count),
                fit=round(fit, 4),
                quality=round(record.score, 4),
            ),
        )


class _CloseUpWriter:
    """A folder of close-ups, to go on with.

    first  number of the photo that comes next
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = read_rows(folder) if (folder / ROWS).is_file() else []
        self.first = kept[-1].number if kept else 0
        kept = [row for row in kept if row.number < self.first]
        (folder / ROWS).write_text("".join(map(_line, kept)), encoding="utf-8")
        for name, size in ((PHOTOS, 3 * WIDE * WIDE), (MASKS, WIDE * WIDE)):
            with (folder / name).open("ab") as file:
                file.truncate(len(kept) * size)
        self._files = [(folder / name).open("ab") for name in (PHOTOS, MASKS, ROWS)]

    def __enter__(self) -> _CloseUpWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, seen: CloseUp, row: CloseUpRow) -> None:
        """One close-up; its line last."""
        for file, content in zip(
            self._files, (seen.photo.tobytes(), seen.mask.tobytes(), _line(row).encode()),
            strict=True,
        ):  # fmt: skip
            file.write(content)
            file.flush()


def _line(row: CloseUpRow) -> str:
    return json.dumps(asdict(row)) + "\n"
