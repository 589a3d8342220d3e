"""A picture with its masks, whatever format it came from, and what a format could not keep.

Every format of this floor reads into `AnnotatedImage` and is written from it. Readers and writers
note in a `LossReport` whatever does not survive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anymask.primitives.errors import DataError
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import Rle

UNLABELLED = "object"  # the class of a mask without a label, where a format wants one

LossKind = Literal[
    "holes", "parts", "overlaps", "pixels", "empty", "shapes", "frames", "labels", "quality",
    "stability", "clicks", "crops", "groups", "crowds", "trees", "extras",
]  # fmt: skip
Trait = Literal[
    "labels", "quality", "stability", "clicks", "crops", "groups", "crowds", "trees", "extras"
]  # fmt: skip
IN_RECORDS: frozenset[Trait] = frozenset(  # what a record in JSON has a key for
    {"labels", "quality", "stability", "clicks", "crops", "groups", "crowds"}
)


@dataclass(frozen=True, kw_only=True)
class AnnotatedMask:
    """One mask of a picture.

    record  run-lengths, box, label and the model's numbers
    group   a number that belongs to one object of the picture, or of the video; None without
    crowd   many objects in one mask (COCO's iscrowd), or pixels that do not count
    extra   keys that only the format knows that the mask came from
    """

    record: MaskRecord
    group: int | None = None
    crowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rle(self) -> Rle:
        """The mask's run-lengths."""
        return self.record.rle

    @property
    def label(self) -> str | None:
        """The mask's class, None where nobody gave one."""
        return self.record.label


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One picture's masks, all of its size.

    file_name  of the picture, with forward slashes, relative to the data set
    hw         (H, W) in pixels of the upright picture
    masks      in the order of the file
    extra      keys that only the format knows that the picture came from

    Raises DataError when a mask has another size than the picture.
    """

    file_name: str
    hw: tuple[int, int]
    masks: tuple[AnnotatedMask, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, mask in enumerate(self.masks):
            if mask.rle.size != self.hw:
                raise DataError(
                    f"{self.file_name}, mask {number}: wanted the picture's (H, W) = {self.hw}, "
                    f"the mask has {mask.rle.size}; it belongs to another version of the picture"
                )


def annotated_mask(
    rle: Rle,
    label: str | None = None,
    quality: float = 0.0,
    *,
    group: int | None = None,
    crowd: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> AnnotatedMask:
    """A mask from run-lengths; box and area are worked out."""
    record = record_from_rle(rle, quality=quality, label=label)
    return AnnotatedMask(record=record, group=group, crowd=crowd, extra=extra or {})


def class_names(images: list[AnnotatedImage]) -> list[str]:
    """Every label in alphabetical order; masks without one count as UNLABELLED."""
    return sorted({mask.label or UNLABELLED for image in images for mask in image.masks})


# What is lost.


@dataclass(frozen=True)
class Loss:
    """One thing that a format could not keep.

    kind    what it was
    image   the picture's file name
    mask    the mask's index in the picture; None where it concerns the whole picture
    reason  what happened to it
    """

    kind: LossKind
    image: str
    mask: int | None
    reason: str

    def __str__(self) -> str:
        where = self.image if self.mask is None else f"{self.image}, mask {self.mask}"
        return f"{where}: {self.reason}"


@dataclass
class LossReport:
    """What one conversion lost, in the order in which it was noticed."""

    losses: list[Loss] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.losses)

    def add(self, kind: LossKind, image: str, mask: int | None, reason: str) -> None:
        """Note one loss."""
        self.losses.append(Loss(kind, image, mask, reason))

    def counts(self) -> dict[str, int]:
        """How many losses there are of each kind."""
        return dict(Counter(loss.kind for loss in self.losses))

    def lines(self) -> list[str]:
        """A line a kind, with the first case as an example."""
        first: dict[str, Loss] = {}
        for loss in self.losses:
            first.setdefault(loss.kind, loss)
        return [
            f"not kept: {kind} ({count} {'time' if count == 1 else 'times'}), first: {first[kind]}"
            for kind, count in self.counts().items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Counts and every single loss, ready for JSON."""
        return {"counts": self.counts(), "losses": [vars(loss) for loss in self.losses]}


def note_traits(report: LossReport, image: AnnotatedImage, kept: frozenset[Trait]) -> None:
    """Note, once a picture, what its masks carry beside their pixels and the format does not."""
    held = Counter(trait for mask in image.masks for trait in _traits(mask))
    for trait, count in held.items():
        if trait not in kept:
            report.add(trait, image.file_name, None, f"{trait} of {count} masks have no place")
    if image.extra and "extras" not in kept:
        report.add("extras", image.file_name, None, f"the keys {sorted(image.extra)} have no place")


def _traits(mask: AnnotatedMask) -> list[Trait]:
    """What a mask carries beside its pixels."""
    record, (height, width) = mask.record, mask.rle.size
    held: dict[Trait, bool] = {
        "labels": record.label is not None,
        "quality": record.quality != 0,
        "stability": record.stability != 0,
        "clicks": bool(record.points),
        "crops": record.crop_box != (0, 0, width, height),
        "groups": mask.group is not None,
        "crowds": mask.crowd,
        "trees": record.depth is not None,
        "extras": bool(mask.extra),
    }
    return [trait for trait, there in held.items() if there]


def note_unlabelled(report: LossReport, image: AnnotatedImage) -> None:
    """Note that masks without a label get the class UNLABELLED."""
    for number, mask in enumerate(image.masks):
        if mask.label is None:
            report.add("labels", image.file_name, number, f"has no label; became {UNLABELLED!r}")
