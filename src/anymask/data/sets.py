"""Sets of photos with masks: a folder with `images/`, `masks.jsonl` and `set.json`.

    <set>/set.json     domain, licence, source, what the masks are, `ships`
    <set>/masks.jsonl  a line an image: {"image": "images/a.jpg", "hw": [H, W],
                       "masks": [{"rle": counts, "area"?, "label"?, "annotator"?}],
                       "ignore_rle"?: counts}

`counts` are COCO's compressed run-lengths. Pictures are opened only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.data.images import load_image
from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.rle import Rle, string_to_rle
from anymask.primitives.types import UintImage

MASKS_FILE = "masks.jsonl"
INFO_FILE = "set.json"


@dataclass(frozen=True, kw_only=True)
class SetInfo:
    """What a set says of itself.

    name       as written in set.json, else the folder's name
    folder     where the set lies
    domain     what the photos show
    licence    of photos and masks, in words
    source     where they came from
    mask_kind  what counts as one mask
    ships      whether weights trained on the set may be published; None when it does not say
    """

    name: str
    folder: Path
    domain: str = ""
    licence: str = ""
    source: str = ""
    mask_kind: str = ""
    ships: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Federated:
    """Which classes were looked for in a photo of a federated set (LVIS paper, section 3).

    absent   labels of which there is certainly none: an answer is wrong
    partial  labels of which not every object has a mask: an answer without a mask is not wrong
    Other labels that no mask of the photo has were not looked for: their answers do not count.
    """

    absent: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sample:
    """One photo and its masks.

    image_path  the picture's file
    hw          (H, W) in pixels, as the set says; `image()` checks it
    masks       run-lengths of this size, one an object
    labels      class names beside `masks`, None where there is none
    annotators  whose mask it is, None where the set does not say
    ignore      pixels that count neither as right nor as wrong, or None
    image_id    the photo's number in its data set (COCO's image_id), or None
    boxes       (x0, y0, x1, y1) that people drew beside `masks`; empty where the set has none
    crowds      regions of many objects with their label, which are part of `ignore`, too
    boundaries  the border pixels that each annotator drew (BSDS500); empty elsewhere
    federated   which classes were looked for; None means all of the set
    picture     the pixels themselves where no file holds them (rendered scenes)
    """

    image_path: Path
    hw: tuple[int, int]
    masks: tuple[Rle, ...]
    labels: tuple[str | None, ...]
    annotators: tuple[int | None, ...]
    ignore: Rle | None = None
    image_id: int | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    crowds: tuple[tuple[str | None, Rle], ...] = ()
    boundaries: tuple[Rle, ...] = ()
    federated: Federated | None = None
    picture: UintImage | None = field(default=None, repr=False, compare=False)

    def image(self) -> UintImage:  # (H, W, 3)
        """Open the picture; DataError when its size is not the one that the masks have."""
        image = load_image(self.image_path) if self.picture is None else self.picture
        if image.shape[:2] != self.hw:
            raise DataError(
                f"{self.image_path}: the masks are {self.hw} (height, width), the picture is "
                f"{image.shape[:2]}; they belong to another version of it"
            )
        return image

    def content(self) -> bytes:
        """The picture's bytes, to tell whether it is still the same: of the file, or the pixels."""
        return self.image_path.read_bytes() if self.picture is None else self.picture.tobytes()


def load_set(folder: str | Path, *, absent_photos: bool = False) -> tuple[SetInfo, list[Sample]]:
    """Read a set's description and all of its run-lengths, without opening a picture.

    absent_photos  whether photos may be missing: masks can be converted without them

    Raises DataError that names file, line and reason.
    """
    folder = Path(folder)
    path = _masks_file(folder)
    info = _read_info(folder)
    samples = [_sample_of(folder, row, where, absent_photos) for row, where in _rows(path)]
    if not samples:
        raise DataError(f"{path}: wanted a line an image, the file is empty")
    return info, samples


def iter_samples(folder: str | Path, *, absent_photos: bool = False) -> Iterator[Sample]:
    """The samples of a set one by one, for sets that do not fit into memory; as above."""
    folder = Path(folder)
    for row, where in _rows(_masks_file(folder)):
        yield _sample_of(folder, row, where, absent_photos)


def count_samples(folder: str | Path) -> int:
    """How many samples a set has, without reading them."""
    with _masks_file(Path(folder)).open("rb") as file:
        return sum(bool(line.strip()) for line in file)


def _masks_file(folder: Path) -> Path:
    path = folder / MASKS_FILE
    if not path.is_file():
        raise DataError(
            f"{folder}: wanted a set folder with {MASKS_FILE}, found none; "
            f"give the folder that holds images/ and {MASKS_FILE}"
        )
    return path


def is_set(folder: str | Path) -> bool:
    """Whether a folder looks like a set (it has a masks.jsonl)."""
    return (Path(folder) / MASKS_FILE).is_file()


# --- set.json


def _read_info(folder: Path) -> SetInfo:
    path = folder / INFO_FILE
    if not path.is_file():
        return SetInfo(name=folder.resolve().name, folder=folder)
    raw = parse_json(path.read_bytes(), path)
    if not isinstance(raw, dict):
        raise DataError(f"{path}: wanted an object, got {type(raw).__name__}")
    ships = raw.get("ships")
    if ships is not None and not isinstance(ships, bool):
        raise DataError(f"{path}: `ships` must be true or false, got {ships!r}")
    texts = {key: str(raw.get(key, "")) for key in ("domain", "licence", "source", "mask_kind")}
    name = str(raw.get("name") or folder.resolve().name)
    return SetInfo(name=name, folder=folder, ships=ships, **texts)


# --- masks.jsonl


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Each line's object and the words that name the line in an error."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            row = parse_json(line, where)
            if not isinstance(row, dict):
                raise DataError(f"{where}: wanted an object, got {type(row).__name__}")
            yield row, where


def _sample_of(
    folder: Path, row: dict[str, Any], where: str, absent_photos: bool = False
) -> Sample:
    hw = _size_of(row, where)
    masks = row.get("masks")
    if not isinstance(masks, list) or not all(isinstance(mask, dict) for mask in masks):
        raise DataError(f"{where}: `masks` must be a list of objects, got {_short(masks)}")
    ignore = row.get("ignore_rle")
    return Sample(
        image_path=_image_path(folder, row, where, absent_photos),
        hw=hw,
        masks=tuple(
            _rle_of(mask.get("rle"), hw, f"{where}, mask {n}") for n, mask in enumerate(masks)
        ),
        labels=tuple(_label_of(mask, f"{where}, mask {n}") for n, mask in enumerate(masks)),
        annotators=tuple(_annotator_of(mask, f"{where}, mask {n}") for n, mask in enumerate(masks)),
        ignore=None if ignore is None else _rle_of(ignore, hw, f"{where}, ignore_rle"),
    )


def _size_of(row: dict[str, Any], where: str) -> tuple[int, int]:
    hw = row.get("hw")
    good = isinstance(hw, list) and len(hw) == 2
    if not good or not all(type(side) is int and side > 0 for side in hw or ()):
        raise DataError(f"{where}: `hw` must be [height, width] in pixels, got {_short(hw)}")
    return hw[0], hw[1]  # type: ignore[index]  # a list of two, as checked above


def _image_path(folder: Path, row: dict[str, Any], where: str, may_be_absent: bool) -> Path:
    name = row.get("image")
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: `image` must be a path inside the set, got {_short(name)}")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise DataError(f"{where}: `image` must be a path inside the set, got {name!r}")
    path = folder.joinpath(*parts.parts)
    if not path.is_file() and not may_be_absent:
        raise DataError(
            f"{where}: the image {name!r} is absent; is the set complete? (`anymask convert --to "
            "set` writes photos with --copy-images)"
        )
    return path


def _rle_of(counts: object, hw: tuple[int, int], where: str) -> Rle:
    if not isinstance(counts, str):
        raise DataError(f"{where}: wanted COCO compressed counts (text), got {_short(counts)}")
    try:
        return string_to_rle(counts, hw)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _label_of(mask: dict[str, Any], where: str) -> str | None:
    label = mask.get("label")
    if label is None or isinstance(label, str):
        return label
    raise DataError(f"{where}: `label` must be text, got {_short(label)}")


def _annotator_of(mask: dict[str, Any], where: str) -> int | None:
    annotator = mask.get("annotator")
    if annotator is None or type(annotator) is int:
        return annotator
    raise DataError(f"{where}: `annotator` must be a whole number, got {_short(annotator)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
