"""Mask sets of anymask: a folder with `masks.jsonl` and `images/` to annotated images, and back.

    <set>/set.json     domain, licence, source, meaning of the masks, `ships`
    <set>/masks.jsonl  one line per image: {"image": "images/a.jpg", "hw": [H, W],
                       "masks": [{"rle": counts, "area"?, "label"?, "annotator"?}],
                       "ignore_rle"?: counts}

`counts` are COCO's compressed run-lengths. Images are opened on demand only; the writer makes the
two files, and the user adds the images to `images/`. Crowds are written as pixels that do not
count, one list per image; it is read as one crowd with the label "void".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.base import DataError, parse_json
from anymask.formats.annotations import (
    VOID_LABEL,
    AnnotatedImage,
    LossReport,
    extras_of,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import OutFile, located, output_stem, output_stems, to_json
from anymask.formats.fields import ExceptKeys, as_list, as_record, as_text, held, other_keys, shown
from anymask.formats.loss_report import as_licenses, license_text
from anymask.formats.metadata import (
    CLASSES,
    INFO,
    LICENSES,
    add_info,
    add_licenses,
    only_license,
    report_dataset_fields,
)
from anymask.formats.outlines import Policy
from anymask.masks import Mask, Masks, Rle, rle_area, rle_to_string, string_to_rle

IMAGE_FOLDER = "images"
MASKS_FILE = "masks.jsonl"
INFO_FILE = "set.json"
OF_MASK = ExceptKeys("rle", "area", "label")  # beside these, a mask holds any key


@dataclass(frozen=True, kw_only=True)
class SetInfo:
    """Metadata of a set."""

    name: str  # Name in set.json, else the folder's name
    folder: Path  # Folder of the set
    domain: str = ""  # Subject of the images
    licence: str = ""  # Licence of images and masks, in words
    source: str = ""  # Origin of the images and masks
    mask_kind: str = ""  # Definition of one mask in this set
    # Whether weights trained on the set may be published; None if not stated
    ships: bool | None = None


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a set's folder as one of the formats; images may be missing.

    Raises DataError that names file, line and reason.
    """
    return list(iter_samples(source, absent_images=True, report=report))


def read_classes(source: Path, report: LossReport) -> None:
    """Keep the classes and other metadata of the set.json. Raises DataError for an invalid one."""
    path = source / INFO_FILE
    if not path.is_file():
        return
    read_info(source)
    with report.record(path):
        document = as_record(parse_json(path.read_bytes(), path), "the document")
        names = [as_text(name, "class") for name in as_list(document.get("classes", []), "classes")]
        if names:
            report.list_classes(dict.fromkeys(names))
        info = held(document, ExceptKeys("licence", "classes"))
        if info.get("name") == source.resolve().name:
            del info["name"]  # the default name
        add_info(report, info)
        add_licenses(report, as_licenses(document.get("licence")))


def load_set(
    folder: str | Path, *, absent_images: bool = False, report: LossReport | None = None
) -> tuple[SetInfo, list[AnnotatedImage]]:
    """Read a set's metadata and all of its run-lengths, without opening an image.

    Args:
        absent_images: Whether images may be missing: masks can be converted without them.
        report: Report of skipped invalid records; None: they are errors.

    Raises:
        DataError: A file or line is invalid; the message names it and the reason.
    """
    folder = Path(folder)
    if not (samples := list(iter_samples(folder, absent_images=absent_images, report=report))):
        raise DataError(f"{folder / MASKS_FILE}: The file is empty. Expected one line per image.")
    return read_info(folder), samples


def iter_samples(
    folder: str | Path, *, absent_images: bool = False, report: LossReport | None = None
) -> Iterator[AnnotatedImage]:
    """Yield the samples of a set one by one, for sets larger than memory, as in `load_set`.

    Args:
        absent_images: Whether images may be missing.
        report: Report of skipped invalid records; None: they are errors.
    """
    folder, report = Path(folder), LossReport() if report is None else report
    path = _masks_file(folder)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            image = None
            with report.record(f"{path}, line {number}"):
                if line.strip():
                    row = parse_json(line, f"{path}, line {number}")
                    image = _image_of(folder, as_record(row, "line"), report, absent_images)
            if image is not None:
                yield image


def count_samples(folder: str | Path) -> int:
    """Count the samples of a set without reading them."""
    with _masks_file(Path(folder)).open("rb") as file:
        return sum(bool(line.strip()) for line in file)


def _masks_file(folder: Path) -> Path:
    path = folder / MASKS_FILE
    if not path.is_file():
        raise DataError(
            f"{folder}: Not a set folder: it has no {MASKS_FILE}. Pass the folder that has it."
        )
    return path


def is_set(folder: str | Path) -> bool:
    """Return whether a folder is a set (it has a masks.jsonl)."""
    return (Path(folder) / MASKS_FILE).is_file()


# --- set.json


def read_info(folder: Path) -> SetInfo:
    """Read the metadata in a set's folder. Raises DataError for an invalid set.json."""
    path = folder / INFO_FILE
    if not path.is_file():
        return SetInfo(name=folder.resolve().name, folder=folder)
    with located(path):
        raw = as_record(parse_json(path.read_bytes(), path), "the document")
        if type(ships := raw.get("ships")) not in (bool, type(None)):
            raise DataError(f"`ships` must be true or false, but it is {ships!r}.")
    texts = {key: str(raw.get(key, "")) for key in ("domain", "licence", "source", "mask_kind")}
    name = str(raw.get("name") or folder.resolve().name)
    return SetInfo(name=name, folder=folder, ships=ships, **texts)


# --- masks.jsonl


def _image_of(
    folder: Path, row: Mapping[str, Any], report: LossReport, absent_images: bool = False
) -> AnnotatedImage:
    sides = row.get("hw")
    good = isinstance(sides, list) and len(sides) == 2
    if not good or not all(type(side) is int and side > 0 for side in sides or ()):
        raise DataError(f"`hw` must be [height, width] in pixels, but it is {shown(sides)}.")
    hw, rows = (row["hw"][0], row["hw"][1]), as_list(row.get("masks"), "masks")
    name, masks = row.get("image"), Masks()
    parts = PurePosixPath(name.replace("\\", "/") if isinstance(name, str) else "")
    if not parts.name or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise DataError(
            f"`image` must be a path inside the dataset folder, but it is {shown(name)}."
        )
    image = folder.joinpath(*parts.parts)
    if not image.is_file() and not absent_images:
        raise DataError(
            f"The image {name!r} is missing. `anymask convert --to set --copy-images` includes it."
        )
    for number, mask in enumerate(rows):
        with report.record(f"mask {number}"):
            masks.append(_mask_of(as_record(mask, "mask"), hw))
    if row.get("ignore_rle") is not None:
        with report.record("ignore_rle"):
            masks.append(Mask(_rle_of(row["ignore_rle"], hw), VOID_LABEL, crowd=True))
    return AnnotatedImage(
        file_name=parts.as_posix().removeprefix(f"{IMAGE_FOLDER}/"),
        hw=hw,
        masks=masks,
        source=image,
        extra=other_keys(row, ("image", "hw", "masks", "ignore_rle")),
    )


def _mask_of(mask: Mapping[str, Any], hw: tuple[int, int]) -> Mask:
    label, annotator = mask.get("label"), mask.get("annotator")
    if label is not None and not isinstance(label, str):
        raise DataError(f"`label` must be text, but it is {shown(label)}.")
    if annotator is not None and type(annotator) is not int:
        raise DataError(f"`annotator` must be a whole number, but it is {shown(annotator)}.")
    return with_extras(
        Mask(_rle_of(mask.get("rle"), hw), label, annotator=annotator),
        other_keys(held(mask, OF_MASK), ("annotator",)),
    )


def _rle_of(counts: object, hw: tuple[int, int]) -> Rle:
    if not isinstance(counts, str):
        raise DataError(
            f"`counts` must be the compressed run-lengths of COCO (text), given: {shown(counts)}."
        )
    return string_to_rle(counts, hw)


# --- writing


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield the two files of a set's folder."""
    names, keys = paths_in_set([image.file_name for image in images]), only_license(policy)
    lines = []
    for image, name in zip(images, names, strict=True):
        report_unsupported_fields(
            report, image, frozenset({"labels", "crowds", "annotator"}), OF_MASK, keys
        )
        crowds = [mask for mask in image.masks if mask.crowd]
        for number, mask in enumerate(image.masks):
            if mask.crowd and (mask.label != VOID_LABEL or len(crowds) > 1):
                report.add("crowds", image.file_name, number, "the crowd became ignored pixels")
        masks = []
        for mask in image.objects:
            written: dict[str, Any] = {"rle": rle_to_string(mask.rle), "area": rle_area(mask.rle)}
            if mask.label is not None:
                written["label"] = mask.label
            masks.append(extras_of(mask, OF_MASK) | written)
        row: dict[str, Any] = {"image": name, "hw": image.hw, "masks": masks}
        if image.ignore is not None:
            row["ignore_rle"] = rle_to_string(image.ignore)
        lines.append(to_json(row))
    yield target / MASKS_FILE, b"".join(lines)
    report_dataset_fields(report, images, policy, (CLASSES, INFO, LICENSES))
    metadata = {"licence": license_text(policy.facts.licences), "classes": [*policy.classes]}
    info = {k: v for k, v in policy.facts.info.items() if k != "ships" or type(v) is bool}
    about = {"name": target.name} | info | other_keys(metadata, ())
    yield target / INFO_FILE, (json.dumps(about) + "\n").encode()


def path_in_set(file_name: str) -> str:
    """Return the path of an image inside a set."""
    return f"{IMAGE_FOLDER}/{output_stem(file_name).as_posix()}"


def paths_in_set(file_names: Sequence[str]) -> list[str]:
    """Return `path_in_set` for several images, with a distinct path for each."""
    return [f"{IMAGE_FOLDER}/{stem.as_posix()}" for stem in output_stems(file_names)]
