"""Facts of a data set beside its images: what it states of itself, its licences and its classes.

Readers fill in the `SetFacts` of their report (`stated`), `convert` hands them to the writer in its
`Policy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anymask.base import DataError
from anymask.formats.fields import as_text, as_whole

WHOLE_SET = "the dataset"  # the place of a loss that concerns no image


@dataclass
class SetFacts:
    """What a data set states.

    Attributes:
        info: Of itself, by COCO's keys (description, url, version, ...) or those of its format.
        licences: Of its images: COCO's records of id, name and url.
        classes: Of each class beside its name and number: supercategory, color ("#rrggbb"), ...
    """

    info: dict[str, Any] = field(default_factory=dict)
    licences: list[dict[str, Any]] = field(default_factory=list)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)


def licence_text(licences: Iterable[Mapping[str, Any]]) -> str:
    """Licences as formats of one text write them: names and addresses."""
    told = []
    for one in licences:
        name, url = (str(one.get(key) or "") for key in ("name", "url"))
        told.append(f"{name} ({url})" if name and url else name or url)
    return "; ".join(dict.fromkeys(filter(None, told)))


def as_licences(value: Any) -> list[dict[str, Any]]:
    """COCO's records of a licence in words; none of an empty one."""
    return [{"id": 1, "name": as_text(value, "licence")}] if value else []


def as_colour(value: Any) -> str | None:
    """A color as "#rrggbb": of three numbers, or of a text that is one; None for anything else."""
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
