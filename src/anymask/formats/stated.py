"""Metadata of a data set: kept by readers; writers report what their format does not hold."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from anymask.formats.annotations import AnnotatedImage, LossReport
from anymask.formats.facts import WHOLE_SET, as_colour
from anymask.formats.fields import as_record, as_whole
from anymask.formats.outlines import Policy
from anymask.formats.terms import TERMS

CLASSES, CLASS_IDS, INFO, LICENCES = "classes", "class ids", "info", "licences"
_SHOWN = 3  # unused classes that a report names


def take_info(report: LossReport, info: Mapping[str, Any]) -> None:
    """Keep the metadata of the set in a file; of files that differ the first one is used."""
    for key, value in info.items():
        if value in (None, "", [], {}):
            continue
        if report.facts.info.setdefault(key, value) != value:
            reason = f"`{key}` differs between files; the value of the first file is kept"
            report.add("info", WHOLE_SET, None, reason)


def take_class(report: LossReport, name: str, about: Mapping[str, Any]) -> None:
    """Keep the metadata of a class in a file; of files that differ the first one is used."""
    values = {key: value for key, value in about.items() if value not in (None, "", [], {})}
    if (colour := as_colour(values.get("color"))) is not None:
        values["color"] = colour
    known = report.facts.classes.setdefault(name, {})
    for key, value in values.items():
        if known.setdefault(key, value) != value:
            reason = (
                f"`{key}` of the class {name!r} differs between files; the value of the "
                "first file is kept"
            )
            report.add("classes", WHOLE_SET, None, reason)


def take_licences(report: LossReport, rows: Iterable[Any]) -> dict[int, int]:
    """Keep COCO's licences; returns the index of each by its id in this file."""
    numbers, known = dict[int, int](), report.facts.licences
    for place, row in enumerate(rows):
        with report.record(f"licence {place}"):
            licence = dict(as_record(row, "licence"))
            number = as_whole(licence.pop("id", place + 1), "id")
            same = (one for one in known if licence == {k: v for k, v in one.items() if k != "id"})
            found = next(same, None)
            if found is None:
                taken = {one["id"] for one in known}
                free = number if number not in taken else max(taken) + 1
                found = {"id": free, **licence}
                known.append(found)
            numbers[number] = found["id"]
    return numbers


def implied(policy: Policy) -> tuple[str, ...]:
    """Return the keys of an image that add no information: the only licence of a set."""
    return ("license",) if len(policy.facts.licences) == 1 else ()


def note_facts(
    report: LossReport,
    images: Iterable[AnnotatedImage],
    policy: Policy,
    kept: Container[str] = (),
    of_classes: Container[str] = (),
    of_info: Container[str] = (),
) -> None:
    """Report metadata of the set that a format does not keep. Terms are in a side file (`terms`).

    Args:
        kept: Subset of "classes" (a class list), "class ids", "info" and "licences".
        of_classes: Keys of a class that the format stores.
        of_info: Keys of `SetFacts.info` that the format stores, if not all.
    """
    facts = policy.facts
    if CLASSES not in kept and policy.classes:
        used = {mask.label for image in images for mask in image.masks}
        unused = [name for name in policy.classes if name not in used]
        if unused:
            more = ", ..." if len(unused) > _SHOWN else ""
            names = ", ".join(unused[:_SHOWN])
            reason = (
                "The format does not store a class list. Classes without a mask are lost: "
                f"{names}{more}"
            )
            report.add("classes", WHOLE_SET, None, reason, "unused classes")
    ids = sorted(policy.class_ids)
    if CLASS_IDS not in kept and ids and ids[-1] - ids[0] >= len(ids):
        report.note(
            f"The class ids {ids[0]} to {ids[-1]} have gaps and are not kept, because "
            "the format numbers classes without gaps or stores only names."
        )
    if INFO not in kept:
        for key in (key for key in facts.info if key not in of_info and key not in TERMS):
            report.add("info", WHOLE_SET, None, f"`{key}` is not supported", key)
    keys = dict.fromkeys(key for about in facts.classes.values() for key in about)
    for key in keys:
        if key not in of_classes:
            count = sum(key in about for about in facts.classes.values())
            reason = f"`{key}` of {count} classes is not supported"
            report.add("classes", WHOLE_SET, None, reason, f"{key} of classes")
