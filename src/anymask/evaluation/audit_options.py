"""Options of `anymask.audit`; each option is declared once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anymask.base import InputError, Setting, describe_settings, refuse_text
from anymask.formats import ReadSettings
from anymask.models.rules import DEFAULT_VIDEO_MODEL


def parse_numbers(text: str) -> frozenset[int]:
    """Parse a list of numbers and ranges: 1,4-9 is 1, 4, 5, 6, 7, 8, 9. Raises InputError."""
    numbers: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise InputError(f"Invalid numbers {text!r}; use a list such as 1,4-9")
        numbers.update(range(int(low), int(high or low) + 1))
    return frozenset(numbers)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class AuditOptions(ReadSettings):
    """Options of an audit. Raises InputError if a value is invalid."""

    format: Annotated[
        str | None,
        Setting("annotation format", option="--from", metavar="FORMAT", default="detected"),
    ] = None
    split: Annotated[str | None, Setting("split of the dataset, such as val", default=None)] = None
    images: Annotated[
        Path | None, Setting("folder or archive of the images", metavar="DIR", default=None)
    ] = None
    limit: Annotated[int | None, Setting("maximum number of images", ge=1, default="all")] = None
    below: Annotated[
        float, Setting("report masks with a grade below this as suspects", le=1, metavar="GRADE")
    ] = 0.5
    top: Annotated[
        int, Setting("maximum number of suspect masks, and of missing objects, in the report", ge=1)
    ] = 20
    grid: Annotated[
        int,
        Setting("points per side of the prompt grid that searches for objects without a mask; 0 "
                "disables the search"),
    ] = 12  # fmt: skip
    proposals: Annotated[
        Path | None,
        Setting("write a corrected copy of the dataset and a list of the origin of each proposal "
                "to this folder", metavar="NEW_DIR", default=None),
    ] = None  # fmt: skip
    to: Annotated[
        str | None,
        Setting("format of --proposals", metavar="FORMAT", default="the input format, or coco"),
    ] = None
    accept: Annotated[
        Collection[int] | None,
        Setting("apply only the proposals for these suspects, for example 1,4-9",
                metavar="NUMBERS", parse=parse_numbers, default="all"),
    ] = None  # fmt: skip
    grades: Annotated[
        Path | None,
        Setting("grader file", default=f"the built-in grader for {DEFAULT_VIDEO_MODEL}"),
    ] = None

    def __post_init__(self) -> None:
        refuse_text("a list", accept=self.accept)
        if (self.to or self.accept) and self.proposals is None:
            raise InputError(
                "Options `to` and `accept` require `proposals`. Set it to a new folder."
            )
