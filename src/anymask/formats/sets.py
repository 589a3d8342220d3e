"""Our own sets: a folder with `masks.jsonl` and `images/` to pictures with masks, and back.

    <set>/set.json     domain, licence, source, what the masks are, `ships`
    <set>/masks.jsonl  a line an image: {"image": "images/a.jpg", "hw": [H, W],
                       "masks": [{"rle": counts, "area"?, "label"?, "annotator"?}],
                       "ignore_rle"?: counts}

`counts` are COCO's compressed run-lengths. Pictures are opened only when asked for; what is written
is the two files, the pictures are the user's to put into `images/`. Crowds are written as pixels
that do not count, one list for the picture; it is read as one crowd with the label "void".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.base import DataError, parse_json
from anymask.formats.annotations import VOID_LABEL, AnnotatedImage, LossReport, note_traits
from anymask.formats.documents import Fit, OutFile, Sniffed, output_stem, to_json
from anymask.formats.outlines import Policy
from anymask.masks import Mask, Masks, Rle, rle_area, rle_to_string, string_to_rle

PICTURES = "images"
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


def sniff(found: Sniffed) -> Fit:
    """A folder with masks.jsonl."""
    return Fit.sure((found.path / MASKS_FILE).is_file())


def read(source: Path, report: LossReport, pictures: Path | None = None) -> list[AnnotatedImage]:
    """Read a set's folder as one of the formats; photos may be missing.

    Raises DataError that names file, line and reason.
    """
    return load_set(source, absent_photos=True)[1]


def load_set(
    folder: str | Path, *, absent_photos: bool = False
) -> tuple[SetInfo, list[AnnotatedImage]]:
    """Read a set's description and all of its run-lengths, without opening a picture.

    absent_photos  whether photos may be missing: masks can be converted without them

    Raises DataError that names file, line and reason.
    """
    folder = Path(folder)
    path = _masks_file(folder)
    info = read_info(folder)
    samples = [_image_of(folder, row, where, absent_photos) for row, where in _rows(path)]
    if not samples:
        raise DataError(f"{path}: wanted a line an image, the file is empty")
    return info, samples


def iter_samples(folder: str | Path, *, absent_photos: bool = False) -> Iterator[AnnotatedImage]:
    """The samples of a set one by one, for sets that do not fit into memory; as above."""
    folder = Path(folder)
    for row, where in _rows(_masks_file(folder)):
        yield _image_of(folder, row, where, absent_photos)


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


def read_info(folder: Path) -> SetInfo:
    """What a set's folder says of itself. Raises DataError for a damaged set.json."""
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


def _image_of(
    folder: Path, row: dict[str, Any], where: str, absent_photos: bool = False
) -> AnnotatedImage:
    hw, rows = _size_of(row, where), row.get("masks")
    if not isinstance(rows, list) or not all(isinstance(mask, dict) for mask in rows):
        raise DataError(f"{where}: `masks` must be a list of objects, got {_short(rows)}")
    photo = _image_path(folder, row, where, absent_photos)
    masks = [_mask_of(mask, hw, f"{where}, mask {number}") for number, mask in enumerate(rows)]
    if row.get("ignore_rle") is not None:
        ignore = _rle_of(row["ignore_rle"], hw, f"{where}, ignore_rle")
        masks.append(Mask(ignore, VOID_LABEL, crowd=True))
    name = photo.relative_to(folder).as_posix().removeprefix(f"{PICTURES}/")
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), source=photo)


def _mask_of(mask: dict[str, Any], hw: tuple[int, int], where: str) -> Mask:
    rle = _rle_of(mask.get("rle"), hw, where)
    return Mask(rle, _label_of(mask, where), annotator=_annotator_of(mask, where))


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


# --- writing


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """The two files of a set's folder."""
    lines = [to_json(_row(image, report)) for image in images]
    yield target / MASKS_FILE, b"".join(lines)
    yield target / INFO_FILE, (json.dumps({"name": target.name}) + "\n").encode()


def picture_name(file_name: str) -> str:
    """Where a set has the picture of this name."""
    return f"{PICTURES}/{output_stem(file_name).as_posix()}"


def _row(image: AnnotatedImage, report: LossReport) -> dict[str, Any]:
    note_traits(report, image, frozenset({"labels", "crowds", "extras"}))
    crowds = [mask for mask in image.masks if mask.crowd]
    for number, mask in enumerate(image.masks):
        if mask.crowd and (mask.label != VOID_LABEL or len(crowds) > 1):
            reason = "a crowd became pixels that do not count"
            report.add("crowds", image.file_name, number, reason)
    row: dict[str, Any] = {
        "image": picture_name(image.file_name),
        "hw": list(image.hw),
        "masks": [_mask(mask, image, report) for mask in image.objects],
    }
    if image.ignore is not None:
        row["ignore_rle"] = rle_to_string(image.ignore)
    return row


def _mask(mask: Mask, image: AnnotatedImage, report: LossReport) -> dict[str, Any]:
    written: dict[str, Any] = {"rle": rle_to_string(mask.rle), "area": rle_area(mask.rle)}
    if mask.label is not None:
        written["label"] = mask.label
    if mask.annotator is not None:
        written["annotator"] = mask.annotator
    if mask.extra:
        report.add("extras", image.file_name, None, f"the keys {sorted(mask.extra)} have no place")
    return written
