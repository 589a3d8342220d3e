"""Facts of a data set beside its images: what it states of itself, its licences and its classes.

Readers fill in the `SetFacts` of their report, `convert` hands them to the writer in its `Policy`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anymask.base import DataError
from anymask.formats.fields import as_record, as_text, as_whole

if TYPE_CHECKING:
    from anymask.formats.annotations import AnnotatedImage
    from anymask.formats.losses import LossReport
    from anymask.formats.outlines import Policy

WHOLE_SET = "the data set"  # the place of a loss that concerns no image
CLASSES, INFO, LICENCES = "classes", "info", "licences"
_SHOWN = 3  # unused classes that a report names


@dataclass
class SetFacts:
    """What a data set states.

    info      of itself, by COCO's keys (description, url, version, ...) or those of its format
    licences  of its images: COCO's records of id, name and url
    classes   of each class beside its name and number: supercategory, color ("#rrggbb"), ...
    """

    info: dict[str, Any] = field(default_factory=dict)
    licences: list[dict[str, Any]] = field(default_factory=list)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)


def take_info(report: LossReport, info: Mapping[str, Any]) -> None:
    """Keep what a file states of its set; of files that differ the first one counts."""
    for key, value in info.items():
        if value in (None, "", [], {}):
            continue
        if report.facts.info.setdefault(key, value) != value:
            reason = f"`{key}` of several files differs; that of the first file is kept"
            report.add("info", WHOLE_SET, None, reason)


def take_class(report: LossReport, name: str, about: Mapping[str, Any]) -> None:
    """Keep what a file states of a class; of files that differ the first one counts."""
    told = {key: value for key, value in about.items() if value not in (None, "", [], {})}
    if (colour := as_colour(told.get("color"))) is not None:
        told["color"] = colour
    known = report.facts.classes.setdefault(name, {})
    for key, value in told.items():
        if known.setdefault(key, value) != value:
            reason = f"`{key}` of the class {name!r} differs between files; the first is kept"
            report.add("classes", WHOLE_SET, None, reason)


def take_licences(report: LossReport, rows: Iterable[Any]) -> dict[int, int]:
    """Keep COCO's licences; the number of each by its number in this file."""
    numbers, known = dict[int, int](), report.facts.licences
    for place, row in enumerate(rows):
        with report.record(f"licence {place}"):
            told = dict(as_record(row, "licence"))
            number = as_whole(told.pop("id", place + 1), "id")
            same = (one for one in known if told == {k: v for k, v in one.items() if k != "id"})
            found = next(same, None)
            if found is None:
                taken = {one["id"] for one in known}
                free = number if number not in taken else max(taken) + 1
                found = {"id": free, **told}
                known.append(found)
            numbers[number] = found["id"]
    return numbers


def licence_text(licences: Iterable[Mapping[str, Any]]) -> str:
    """Licences as formats of one text write them: names and addresses."""
    told = []
    for one in licences:
        name, url = (str(one.get(key) or "") for key in ("name", "url"))
        told.append(f"{name} ({url})" if name and url else name or url)
    return "; ".join(dict.fromkeys(filter(None, told)))


def implied(policy: Policy) -> tuple[str, ...]:
    """The keys of an image that say nothing new: the only licence of a set."""
    return ("license",) if len(policy.facts.licences) == 1 else ()


def as_licences(value: Any) -> list[dict[str, Any]]:
    """COCO's records of a licence in words; none of an empty one."""
    return [{"id": 1, "name": as_text(value, "licence")}] if value else []


def as_colour(value: Any) -> str | None:
    """A colour as "#rrggbb": of three numbers, or of a text that is one; None for anything else."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        return value.lower()
    if isinstance(value, list | tuple) and len(value) == 3:
        try:
            return f"#{bytes(as_whole(one, 'color') for one in value).hex()}"
        except (DataError, ValueError):  # the last: no bytes
            return None
    return None


def colour_numbers(colour: str) -> list[int]:
    """The three numbers of "#rrggbb"."""
    return list(bytes.fromhex(colour[1:]))


def note_facts(
    report: LossReport,
    images: Iterable[AnnotatedImage],
    policy: Policy,
    kept: Container[str] = (),
    of_classes: Container[str] = (),
    of_info: Container[str] = (),
) -> None:
    """Note what a format does not keep of the set.

    kept        of "classes" (a class list), "info" and "licences"
    of_classes  the keys of a class that the format has a place for
    of_info     the same of `SetFacts.info`, where the format does not keep all
    """
    facts = policy.facts
    if CLASSES not in kept and policy.classes:
        used = {mask.label for image in images for mask in image.masks}
        unused = [name for name in policy.classes if name not in used]
        if unused:
            more = ", ..." if len(unused) > _SHOWN else ""
            names = ", ".join(unused[:_SHOWN])
            reason = f"The format has no class list. Classes without a mask: {names}{more}"
            report.add("classes", WHOLE_SET, None, reason, "unused classes")
    if INFO not in kept:
        for key in (key for key in facts.info if key not in of_info):
            report.add("info", WHOLE_SET, None, f"`{key}` has no place", key)
    if LICENCES not in kept and facts.licences:
        told = licence_text(facts.licences) or f"{len(facts.licences)} records"
        report.add("licences", WHOLE_SET, None, f"has no place: {told}", LICENCES)
    keys = dict.fromkeys(key for about in facts.classes.values() for key in about)
    for key in keys:
        if key not in of_classes:
            count = sum(key in about for about in facts.classes.values())
            reason = f"`{key}` of {count} classes has no place"
            report.add("classes", WHOLE_SET, None, reason, f"{key} of classes")
