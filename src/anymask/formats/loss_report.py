"""Losses: skipped records, and data that a format cannot hold.

A reader wraps each file, image and annotation in `report.record(place)`. An error in one record is
then noted under its place and the reader continues with the next one:

    for number, row in enumerate(rows):
        with report.record(f"annotation {number}"):
            masks.append(mask_of(row))

A message begins with a sentence that is the same for all records of that kind ("Too few points.
Expected at least 3, got 2."): reports group records by it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from tokenize import TokenError
from typing import Annotated, Any, Literal, TypedDict

from anymask.base import (
    AmbiguousMaskError,
    AnymaskError,
    DataError,
    MissingExtra,
    Setting,
    brief,
    describe_settings,
    repr_html,
)
from anymask.formats.fields import as_text, as_whole
from anymask.images import MaskValues
from anymask.masks import counted

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


def license_text(licences: Iterable[Mapping[str, Any]]) -> str:
    """Format licences as one text with names and URLs."""
    parts = []
    for licence in licences:
        name, url = (str(licence.get(key) or "") for key in ("name", "url"))
        parts.append(f"{name} ({url})" if name and url else name or url)
    return "; ".join(dict.fromkeys(filter(None, parts)))


def as_licenses(value: Any) -> list[dict[str, Any]]:
    """Convert a licence text to COCO's records; [] if it is empty."""
    return [{"id": 1, "name": as_text(value, "licence")}] if value else []


def as_color(value: Any) -> str | None:
    """Convert three numbers or a hex text to "#rrggbb"; None for other values."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        return value.lower()
    if isinstance(value, list | tuple) and len(value) == 3:
        try:
            return f"#{bytes(as_whole(part, 'color') for part in value).hex()}"
        except (DataError, ValueError):  # ValueError: not in 0..255
            return None
    return None


LossKind = Literal[
    "holes", "parts", "overlaps", "pixels", "empty", "shapes", "frames", "labels", "scores",
    "stability", "clicks", "crops", "ids", "crowds", "trees", "extras", "records", "images",
    "classes", "info", "licences",
]  # fmt: skip
HOW_MADE = ("scores", "stability", "clicks", "crops")  # metadata about how a mask was made
_WORDS = {"pixels": "exact outlines", "parts": "separate parts"}  # kinds in words
LISTED_PLACES = 3  # places that a report names of each reason
_WRONG_KIND = (  # raised by Python and numpy for values of an unexpected type
    TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError,
    EOFError, SyntaxError, TokenError,  # of the header of an array
)  # fmt: skip
_IN_RECORDS = (KeyError, AnymaskError, OSError, *_WRONG_KIND)
_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|[-+]?\d[\d.]*")


OnBad = Literal["skip", "error"]
Crowd = Literal["auto", "keep", "ignore"]
ON_BAD = Setting(
    "what happens to invalid records: `skip` counts and omits them, `error` lists all "
    "of them and writes nothing"
)
CROWD = Setting(
    "how masks of COCO with iscrowd are read: `keep`: as objects; `ignore`: as pixels "
    "that are not evaluated; `auto`: as ignored pixels, unless all masks of a file "
    "are crowds"
)
MASK_VALUES = Setting(
    "how to interpret mask images: labels (each pixel value is an object), binary "
    "(pixels of at least half of white are the object) or colors (each color is an "
    "object); auto detects it, and reports an error if an image is ambiguous"
)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """Settings for reading annotations. Raises InputError for any other value."""

    on_bad: Annotated[OnBad, ON_BAD] = "skip"
    crowd: Annotated[Crowd, CROWD] = "auto"
    mask_values: Annotated[MaskValues, MASK_VALUES] = "auto"


class ReadKeywords(TypedDict, total=False):
    """The fields of `ReadSettings` as keyword arguments."""

    on_bad: OnBad
    crowd: Crowd
    mask_values: MaskValues


def reason_of(error: BaseException) -> str:
    """Return why a record cannot be read, without the wording of Python's exceptions."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    if isinstance(error, OSError) and not isinstance(error, AnymaskError):
        return f"cannot be read ({error.strerror or 'input or output failed'})"
    return str(error) if isinstance(error, AnymaskError) else "a value has a wrong type or shape"


@contextmanager
def located(where: object) -> Iterator[None]:
    """Convert any exception of an invalid record to a DataError that starts with the place."""
    try:
        yield
    except _IN_RECORDS as error:
        prefix, reason = f"{where}: ", reason_of(error)
        raise DataError(prefix + reason.removeprefix(prefix)) from error


@dataclass(frozen=True)
class Loss:
    """One item that a format could not keep, or a record that could not be read."""

    kind: LossKind  # Kind of the loss
    image: str  # File name of the image
    mask: int | None  # Index of the mask in the image; None if the whole image is concerned
    reason: str  # Description of the loss
    place: str = ""  # File and number of a skipped record
    name: str = ""  # Name of the lost item if a kind has several: a key, such as "occluded"
    remedy: str = ""  # The last sentences of the reason, if they describe a remedy

    def __str__(self) -> str:
        where = self.image if self.mask is None else f"{self.image}, mask {self.mask}"
        return f"{self.place or where}: {self.reason}"

    @property
    def summary(self) -> str:
        """First sentence of the reason, which records of one kind have in common."""
        return re.split(r"[.;] ", self.reason, maxsplit=1)[0].rstrip(".")


class BadRecordsError(DataError):
    """Records that cannot be read; `losses` lists them."""

    def __init__(self, message: str, losses: list[Loss]) -> None:
        super().__init__(message)
        self.losses = losses


@dataclass
class LossReport:
    """Losses in the order in which they occurred."""

    losses: list[Loss] = field(default_factory=list)  # All losses
    # Settings for reading annotations; None: the first invalid record is an error
    settings: ReadSettings | None = field(default=None, compare=False)
    # File and record that are being read, outermost first
    places: list[object] = field(default_factory=list, compare=False)
    # Further information for the user, not about losses
    notes: list[str] = field(default_factory=list, compare=False)
    # Class list of the source, with unused classes, and their ids; None without one
    classes: dict[str, int | None] = field(default_factory=dict, compare=False)
    # Other metadata of the source and its classes
    facts: SetFacts = field(default_factory=SetFacts, compare=False, repr=False)
    _listed: list[str] = field(default_factory=list, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.losses)

    def __repr__(self) -> str:
        text = ", ".join(f"{kind} {count}" for kind, count in self.counts().items())
        return f"<LossReport: {text or 'nothing was lost'}>"

    _repr_html_ = repr_html

    def note(self, text: str) -> None:
        """Add a line that is not a loss; repeated lines are added once."""
        if text not in self.notes:
            self.notes.append(text)

    def list_classes(self, classes: Mapping[str, int | None]) -> None:
        """Keep the class list of a source; a second, different one is noted and appended."""
        if self._listed and (dict(classes) != self.classes or list(classes) != self._listed):
            self.note(
                f"Class lists differ: [{', '.join(self._listed[:5])}, ...] and "
                f"[{', '.join([*classes][:5])}, ...] are merged in this order. Fix the order with "
                "--classes FILE."
            )
            taken = {*self.classes.values()}
            fresh = {name: number for name, number in classes.items() if name not in self.classes}
            if any(number in taken for number in fresh.values()):
                fresh = dict.fromkeys(fresh)
            self.classes |= fresh
        else:
            self.classes = dict(classes)
        self._listed = list(self.classes)

    def add(
        self, kind: LossKind, image: str, mask: int | None, reason: str, name: str = ""
    ) -> None:
        """Add one loss."""
        self.losses.append(Loss(kind, image, mask, reason, name=name))

    @contextmanager
    def record(self, where: object) -> Iterator[None]:
        """Read one record, image or file in the `with` block; invalid ones are skipped.

        Without settings it raises DataError that begins with the place.
        """
        self.places.append(where)
        try:
            yield
        except MissingExtra:
            raise
        except _IN_RECORDS as error:
            reason = reason_of(error).removeprefix(f"{where}: ")
            if self.settings is None or isinstance(error, AmbiguousMaskError):
                raise DataError(f"{where}: {reason}") from error
            place, remedy = ": ".join(map(str, self.places)), getattr(error, "remedy", "")
            self.losses.append(Loss("records", "", None, reason, place, remedy=remedy))
        finally:
            self.places.pop()

    def skip(self, image: str, reason: str) -> None:
        """Note that the current record has no mask, such as a point or a box alone."""
        self.losses.append(Loss("shapes", image, None, reason, ": ".join(map(str, self.places))))

    @property
    def skipped(self) -> int:
        """Number of skipped records."""
        return sum(bool(loss.place) for loss in self.losses)

    def check_records(self, source: object, masks: int) -> None:
        """Raise BadRecordsError if invalid records are errors, or if no mask is left.

        Args:
            masks: Number of masks that were read.
        """
        if self.settings is None or not self.skipped:
            return
        if self.settings.on_bad == "error":
            self.refuse_records(
                source, 'skip it with --on-bad skip (in Python on_bad="skip")', shapes=True
            )
        if not masks:
            bad = [loss for loss in self.losses if loss.place]
            listed = "\n".join(f"  {line}" for line in self._record_lines(source))
            message = f"No valid record is left, because all {len(bad)} records are invalid."
            several = f"{source}: {message}\n{listed}"
            raise BadRecordsError(several if len(bad) > 1 else str(bad[0]), bad)

    def refuse_records(self, source: object, remedy: str, *, shapes: bool = False) -> None:
        """Raise BadRecordsError with a list of the invalid records, if there are any.

        Args:
            remedy: Alternative to correcting the records.
            shapes: Whether to list also valid records without a mask, such as points.
        """
        bad = [loss for loss in self.losses if loss.place and (shapes or loss.kind == "records")]
        if bad:
            listed = "\n".join(f"  {_short(loss.place, source)}: {loss.reason}" for loss in bad)
            raise BadRecordsError(
                f"{source}: {counted(len(bad), 'invalid record')}. Fix or remove the records "
                f"listed below, or {remedy}.\n{listed}",
                bad,
            )

    def counts(self) -> dict[str, int]:
        """Return the number of losses of each kind."""
        return dict(Counter(loss.kind for loss in self.losses))

    def lines(self, begin: str = "Not kept", source: object = "") -> list[str]:
        """Return one line per kind with its first case, and one for how masks were made.

        Skipped records have one line per reason, with the first places.

        Args:
            begin: First words of a line.
            source: The source that was read; it is removed from the start of places.
        """
        kept = [loss for loss in self.losses if not loss.place]
        first = {loss.kind: loss for loss in reversed(kept) if not loss.name}
        counts = Counter(loss.kind for loss in kept if loss.kind not in HOW_MADE and not loss.name)
        lines = [
            f"{begin}: {_WORDS.get(kind, kind)} ({counted(count, 'time')}), first: {first[kind]}"
            for kind, count in counts.items()
        ]
        if named := Counter((loss.name, loss.image == WHOLE_SET) for loss in kept if loss.name):
            keys = (
                name if whole else f"{name} ({counted(n, 'image')})"
                for (name, whole), n in named.items()
            )
            lines.append(f"{begin}: {', '.join(keys)}")
        if made := dict.fromkeys(loss.kind for loss in kept if loss.kind in HOW_MADE):
            lines.append(f"{begin}: {', '.join(made)}")
        return [*self.notes, *self._record_lines(source), *lines]

    def _record_lines(self, source: object) -> list[str]:
        """Return one line for each reason why records were skipped."""
        groups: dict[tuple[str, str], list[Loss]] = {}
        for loss in self.losses:
            if loss.place:
                kind = loss.summary if loss.kind == "shapes" else _VARIES.sub("#", loss.summary)
                groups.setdefault((kind, loss.remedy), []).append(loss)
        lines = []
        for few in groups.values():
            places = ", ".join(_short(loss.place, source) for loss in few[:LISTED_PLACES])
            more = f", and {len(few) - LISTED_PLACES} more" if len(few) > LISTED_PLACES else ""
            remedy = f". {few[0].remedy}" if few[0].remedy else ""
            why = few[0].summary
            why = why if why[1:2].isupper() else why[:1].lower() + why[1:]  # RLE stays
            lines.append(f"Skipped {counted(len(few), 'record')} ({why}): {places}{more}{remedy}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return counts and all losses as JSON values."""
        records = [
            {key: value for key, value in vars(loss).items() if value != ""} for loss in self.losses
        ]
        notes = {"notes": self.notes} if self.notes else {}
        return {"counts": self.counts(), "losses": records} | notes


def _short(place: str, source: object) -> str:
    """Return a place without the file or folder that was read."""
    for begin in (f"{source}: ", f"{source}/"):
        if place.startswith(begin) and len(place) > len(begin):
            return place.removeprefix(begin)
    return place
