"""Metadata of a data set: kept by readers; writers report what their format does not hold.

Origins of masks and terms (licences, source, consent, restrictions) of formats without a place for
them are in side files of JSON lines. Terms can also be written by hand beside any data set:

    origins.jsonl: {"origin": 0, "model": "nano", "weights": "6f0c...", "licence": "Apache-2.0"}
                   {"image": "a.jpg", "masks": [0, 0, null]}
    terms.jsonl: {"licence": {"id": 1, "name": "CC BY 4.0", "url": "https://..."}}
                 {"info": {"source": "Harbor archive", "consent": "given in writing"}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import InputError, Setting, parse_json
from anymask.formats.annotations import AnnotatedImage, LossReport
from anymask.formats.documents import OutFile, read_text, to_json
from anymask.formats.fields import as_record, as_whole
from anymask.formats.loss_report import WHOLE_SET, LossKind, SetFacts, as_color, located
from anymask.formats.outlines import Policy
from anymask.masks import Mask, Masks, Origin

SIDE_FILE = "origins.jsonl"
WITH_ROOM = ("sa1b", "coco", "saco")  # modules whose documents have a place for it


def with_origins(document: dict[str, Any], masks: Sequence[Mask]) -> dict[str, Any]:
    """Return the document with the origins of `masks`, which its `annotations` hold in order."""
    if not (origins := list(dict.fromkeys(mask.origin for mask in masks if mask.origin))):
        return document
    rows = [
        row if mask.origin is None else row | {"origin": origins.index(mask.origin)}
        for row, mask in zip(document["annotations"], masks, strict=True)
    ]
    return document | {"annotations": rows, "origins": [origin.to_json() for origin in origins]}


def origin_in(document: Any, row: Any) -> Origin | None:
    """Return the origin of a record in such a document; default: that of the folder job."""
    listed, number = document.get("origins"), row.get("origin")
    if isinstance(listed, list) and type(number) is int and 0 <= number < len(listed):
        return Origin.from_json(listed[number])
    return Origin.from_json(document.get("anymask"))


def side_path(target: Path, name: str = SIDE_FILE) -> Path:
    """Return a side file of a target: in its folder, or beside the file."""
    return target.with_name(f"{target.stem}.{name}") if target.suffix else target / name


def encode_side(images: Sequence[AnnotatedImage], target: Path) -> Iterator[OutFile]:
    """Yield the side file of images whose masks have origins; nothing for others."""
    every = (mask.origin for image in images for mask in image.masks if mask.origin)
    if origins := list(dict.fromkeys(every)):
        lines: list[dict[str, Any]] = [
            {"origin": number} | origin.to_json() for number, origin in enumerate(origins)
        ]
        for image in images:
            numbers = [mask.origin and origins.index(mask.origin) for mask in image.masks]
            lines.append({"image": image.file_name, "masks": numbers})
        yield side_path(target), b"".join(map(to_json, lines))


def read_side(source: Path) -> dict[str, list[Origin | None]]:
    """Read the origins of each image's masks from the side file; {} without such a file.

    Raises DataError for an invalid one.
    """
    path = side_path(source)
    if not path.is_file():
        return {}
    origins, by_image = dict[int, Origin | None](), dict[str, list[Origin | None]]()
    with located(path):
        for line in read_text(path).splitlines():
            record = parse_json(line, path)
            if "origin" in record:
                origins[record["origin"]] = Origin.from_json(record)
            else:
                by_image[record["image"]] = [origins.get(number) for number in record["masks"]]
    return by_image


def add_origins(image: AnnotatedImage, side: dict[str, list[Origin | None]]) -> AnnotatedImage:
    """Return the image with the origins in the side file, if their number matches the masks."""
    origins = side.get(image.file_name, [])
    if len(origins) != len(image.masks) or not origins:
        return image
    masks = [
        mask if mask.origin else replace(mask, origin=origin)
        for mask, origin in zip(image.masks, origins, strict=True)
    ]
    return replace(image, masks=Masks(masks, source_image=image.masks.source_image))


TERMS_FILE = "terms.jsonl"
WITH_TERMS = ("coco", "panoptic", "saco", "sets", "yolo")  # modules whose files have a place
TERMS = ("source", "url", "contributor", "attribution", "consent", "restrictions")  # keys of info
RESTRICTIONS = {
    "no-training": "must not be used to train models",
    "no-mixing": "must not be combined with other datasets",
}
ACCEPT_TERMS = Setting(
    "train although the restrictions of the data forbid it, if you have permission"
)


def encode_terms(facts: SetFacts, target: Path) -> Iterator[OutFile]:
    """Yield the side file of a dataset that states terms; nothing for others."""
    lines: list[dict[str, Any]] = [{"licence": licence} for licence in facts.licences]
    if info := {key: facts.info[key] for key in TERMS if key in facts.info}:
        lines.append({"info": info})
    if lines:
        yield side_path(target, TERMS_FILE), b"".join(map(to_json, lines))


def add_terms(source: Path, facts: SetFacts) -> None:
    """Add the terms of the side file that the dataset itself does not state.

    Raises DataError for an invalid side file.
    """
    path = side_path(source, TERMS_FILE)
    if not path.is_file():
        return
    licences: list[dict[str, Any]] = []
    with located(path):
        for line in read_text(path).splitlines():
            record = as_record(parse_json(line, path), "the line")
            if "licence" in record:
                about = as_record(record["licence"], "licence")
                licences.append({"id": len(licences) + 1, **about})
            else:
                facts.info = {**as_record(record["info"], "info"), **facts.info}
    if not facts.licences:
        facts.licences.extend(licences)


def restrictions_of(info: Mapping[str, Any]) -> list[str]:
    """Return the known restrictions of a dataset, which are a list or a text with commas."""
    given = info.get("restrictions") or []
    words = given.split(",") if isinstance(given, str) else given
    stated = [str(word).strip().lower() for word in words] if isinstance(words, list) else []
    return [word for word in RESTRICTIONS if word in stated]


def check_training(name: str, restrictions: Iterable[str], mixed: bool = False) -> None:
    """Raise InputError if the restrictions of a dataset forbid training on it.

    Args:
        name: Name of the dataset for the message.
        mixed: Whether it is combined with other datasets.
    """
    broken = {"no-training", "no-mixing"} if mixed else {"no-training"}
    if forbidden := [word for word in restrictions if word in broken]:
        reasons = " and ".join(RESTRICTIONS[word] for word in forbidden)
        raise InputError(
            f"The terms of {name} state that it {reasons} ({', '.join(forbidden)}). If you have "
            "permission, pass --accept-terms (in Python accept_terms=True)."
        )


CLASSES, CLASS_IDS, INFO, LICENSES = "classes", "class ids", "info", "licences"
_MAX_LISTED_CLASSES = 3  # unused classes that a report names


def add_info(report: LossReport, info: Mapping[str, Any]) -> None:
    """Keep the metadata of the set in a file; of files that differ the first one is used."""
    _keep(report, "info", report.facts.info, info)


def add_class(report: LossReport, name: str, about: Mapping[str, Any]) -> None:
    """Keep the metadata of a class in a file; of files that differ the first one is used."""
    if (color := as_color(about.get("color"))) is not None:
        about = {**about, "color": color}
    known = report.facts.classes.setdefault(name, {})
    _keep(report, "classes", known, about, f" of the class {name!r}")


def _keep(
    report: LossReport, kind: LossKind, known: dict[str, Any], new: Mapping[str, Any], of: str = ""
) -> None:
    for key, value in new.items():
        if value not in (None, "", [], {}) and known.setdefault(key, value) != value:
            reason = f"`{key}`{of} differs between files; the value of the first file is kept"
            report.add(kind, WHOLE_SET, None, reason)


def add_licenses(report: LossReport, rows: Iterable[Any]) -> dict[int, int]:
    """Keep COCO's licences; returns the index of each by its id in this file."""
    numbers, known = dict[int, int](), report.facts.licences
    for index, row in enumerate(rows):
        with report.record(f"licence {index}"):
            licence = dict(as_record(row, "licence"))
            number = as_whole(licence.pop("id", index + 1), "id")
            same = (old for old in known if licence == {k: v for k, v in old.items() if k != "id"})
            if (entry := next(same, None)) is None:
                taken = {old["id"] for old in known}
                entry = {"id": number if number not in taken else max(taken) + 1, **licence}
                known.append(entry)
            numbers[number] = entry["id"]
    return numbers


def only_license(policy: Policy) -> dict[str, Any]:
    """Return the key of an image for the only licence of a set; {} for several or none."""
    licences = policy.facts.licences
    return {"license": licences[0]["id"]} if len(licences) == 1 else {}


def report_dataset_fields(
    report: LossReport,
    images: Iterable[AnnotatedImage],
    policy: Policy,
    kept: Container[str] = (),
    of_classes: Container[str] = (),
    of_info: Container[str] = (),
) -> None:
    """Report metadata of the set that a format does not keep. Terms are in a side file.

    Args:
        kept: Subset of "classes" (a class list), "class ids", "info" and "licences".
        of_classes: Keys of a class that the format stores.
        of_info: Keys of `SetFacts.info` that the format stores, if not all.
    """
    facts = policy.facts
    if CLASSES not in kept and policy.classes:
        used = {mask.label for image in images for mask in image.masks}
        if unused := [name for name in policy.classes if name not in used]:
            more = ", ..." if len(unused) > _MAX_LISTED_CLASSES else ""
            names = ", ".join(unused[:_MAX_LISTED_CLASSES])
            reason = "The format does not store a class list. Classes without a mask are lost"
            report.add("classes", WHOLE_SET, None, f"{reason}: {names}{more}", "unused classes")
    ids = sorted(policy.class_ids)
    if CLASS_IDS not in kept and ids and ids[-1] - ids[0] >= len(ids):
        report.note(
            f"The class ids {ids[0]} to {ids[-1]} have gaps and are not kept, because "
            "the format numbers classes without gaps or stores only names."
        )
    for key in facts.info if INFO not in kept else ():
        if key not in of_info and key not in TERMS:
            report.add("info", WHOLE_SET, None, f"`{key}` is not supported", key)
    for key, count in Counter(key for about in facts.classes.values() for key in about).items():
        if key not in of_classes:
            reason = f"`{key}` of {count} classes is not supported"
            report.add("classes", WHOLE_SET, None, reason, f"{key} of classes")
