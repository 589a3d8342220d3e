"""Facts of a dataset besides its images: description, licences and classes.

Readers fill the `SetFacts` of their report (`stated`); `convert` passes them to the writer in its
`Policy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anymask.base import DataError, brief
from anymask.formats.fields import as_text, as_whole

WHOLE_SET = "the dataset"  # place of losses that concern no single image


@brief
@dataclass
class SetFacts:
    """Facts that a dataset declares."""

    # Description, by COCO's keys (description, url, version, ...) or those of its format
    info: dict[str, Any] = field(default_factory=dict)
    # Licences of its images: COCO's records of id, name and url
    licences: list[dict[str, Any]] = field(default_factory=list)
    # Keys of each class besides name and number: supercategory, color ("#rrggbb"), ...
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)


def licence_text(licences: Iterable[Mapping[str, Any]]) -> str:
    """Format licences as one text with names and URLs."""
    parts = []
    for one in licences:
        name, url = (str(one.get(key) or "") for key in ("name", "url"))
        parts.append(f"{name} ({url})" if name and url else name or url)
    return "; ".join(dict.fromkeys(filter(None, parts)))


def as_licences(value: Any) -> list[dict[str, Any]]:
    """Convert a licence text to COCO's records; [] if it is empty."""
    return [{"id": 1, "name": as_text(value, "licence")}] if value else []


def as_colour(value: Any) -> str | None:
    """Convert three numbers or a hex text to "#rrggbb"; None for other values."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        return value.lower()
    if isinstance(value, list | tuple) and len(value) == 3:
        try:
            return f"#{bytes(as_whole(one, 'color') for one in value).hex()}"
        except (DataError, ValueError):  # ValueError: not in 0..255
            return None
    return None
