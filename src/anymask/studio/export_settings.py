"""Settings of an export: keyword arguments or words of a command line in, checked values out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from anymask.base import InputError, Setting, check_settings, describe_settings
from anymask.masks import SMOOTH

Only = Literal["done", "labelled"]


def read_split(text: str | None) -> tuple[float, ...]:
    """Shares from text such as 80/10/10. Raises InputError."""
    try:
        return tuple(float(part) for part in (text or "").split("/") if text)
    except ValueError as error:
        raise InputError(
            f"wanted the shares of train, val and test such as 80/10/10, got {text!r}; "
            "write numbers with / between"
        ) from error


def check_shares(shares: object) -> None:
    """Raises InputError for what are no two or three shares; none at all is no split."""
    given = shares if isinstance(shares, tuple) else (math.nan,)
    sound = all(math.isfinite(share) and share >= 0 for share in given)
    if given and not (len(given) in (2, 3) and sound and sum(given) > 0):
        raise InputError(
            "wanted the shares of train, val and test such as 80/10/10, got "
            f"{'/'.join(f'{share:g}' for share in given)}; give two or three numbers"
        )


@dataclass(frozen=True)
class Advice:
    """What whoever asked can do about it: in words of the command line, or of the page.

    images     to have the photos in images/, too
    labelled   to take all photos that have masks
    proposals  to take proposals, too
    review     where to review
    force      to do without the rule
    """

    images: str
    labelled: str
    proposals: str
    review: str
    force: str


OF_COMMAND = Advice(
    "--images copies them there",
    "(--only labelled)",
    "(--proposals)",
    "(`anymask annotate --stage review`)",
    "force it (--force)",
)
OF_PAGE = Advice(
    "tick 'With the photos' to have them there",
    "(choose 'All that are finished or have masks')",
    "(tick 'Proposals that nobody has accepted, too')",
    "(choose 'Review' in the list at the top)",
    "export anyway",
)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What leaves, and how. Raises InputError for values that make no sense."""

    only: Annotated[
        Only, Setting('"done": photos that are finished; "labelled": also others that have masks')
    ] = "done"
    shares: Annotated[
        tuple[float, ...],
        Setting(
            "of train, val and test, such as 80/10/10, by the photo's name",
            check=check_shares, option="--split", form="TRAIN/VAL/TEST", parse=read_split,
            default="no split",
        ),
    ] = ()  # fmt: skip
    images: Annotated[bool, Setting("copy the photos, so that the set trains as it is")] = False
    tolerance: Annotated[
        float,
        Setting(
            "by which outlines may move to follow the edge; 0: along the pixels, exact",
            most=100,
            unit="pixels",
        ),
    ] = SMOOTH
    proposals: Annotated[bool, Setting("masks that nobody has accepted, too")] = False
    force: Annotated[bool, Setting("proposals although the acceptance rule is not met")] = False

    def __post_init__(self) -> None:
        check_settings(self)
