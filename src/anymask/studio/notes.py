"""Notes on a mask: JSON of tags, attributes, a comment and its layer in, a checked value out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from anymask.base import InputError
from anymask.studio.checks import checked_text

MOST_TAGS = 100
MOST_COMMENT = 10_000  # characters
MOST_LEVEL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class MaskNotes:
    """What is written on one mask.

    tags        words such as "occluded"
    attributes  values by their names, such as {"colour": "red"}
    comment     for the next person
    locked      tools leave it alone
    hidden      it is not drawn
    level       masks of a higher level lie above those of a lower one
    label_probability
                of the mask's label, where it is a model's guess that nobody has confirmed; else 0
    objectness  how likely a proposal is an object, as its model judged; 0 where none did

    Raises InputError for what no database can hold.
    """

    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    locked: bool = False
    hidden: bool = False
    level: int = 0
    label_probability: float = 0.0
    objectness: float = 0.0

    def __post_init__(self) -> None:
        if len(self.tags) > MOST_TAGS or len(self.attributes) > MOST_TAGS:
            raise InputError(f"a mask has at most {MOST_TAGS} tags and attributes, got more")
        for text in (*self.tags, *self.attributes, *self.attributes.values()):
            checked_text("a tag or an attribute", text)
        for start in range(0, min(len(self.comment), MOST_COMMENT), 400):
            checked_text("a comment", self.comment[start : start + 400])
        if len(self.comment) > MOST_COMMENT:
            raise InputError(f"a comment has at most {MOST_COMMENT} characters, got more")
        if abs(self.level) > MOST_LEVEL:
            raise InputError(f"a level is from -{MOST_LEVEL} to {MOST_LEVEL}, got {self.level}")
        for name in ("label_probability", "objectness"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is from 0 to 1, got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """Without what is as it always is."""
        row = {one.name: getattr(self, one.name) for one in fields(self)}
        row |= {"tags": list(self.tags), "attributes": dict(self.attributes)}
        return {name: value for name, value in row.items() if value}

    @classmethod
    def from_json(cls, row: object) -> MaskNotes:
        """Raises InputError for other keys or kinds of values."""
        if not isinstance(row, Mapping):
            raise InputError(f"notes must be an object, got {str(row)[:60]!r}")
        kinds = {"tags": list, "attributes": Mapping, "comment": str, "locked": bool,
                 "hidden": bool, "level": int, "label_probability": int | float,
                 "objectness": int | float}  # fmt: skip
        for name, value in row.items():
            if name not in kinds or not isinstance(value, kinds[name]):
                raise InputError(
                    f"notes have {', '.join(kinds)}, got {str(name)[:40]!r}: {str(value)[:40]!r}"
                )
        return cls(**dict(row) | {"tags": tuple(row.get("tags", ()))})
