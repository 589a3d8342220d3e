"""Annotated images: the common record of an image with its masks that all readers return.

Readers and writers of formats record lost information in a `LossReport`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

from numpy.typing import NDArray

from anymask.base import DataError, ImageError, UintImage, brief
from anymask.formats.fields import MAX_FILE_PIXELS, held
from anymask.formats.loss_report import LossReport as LossReport
from anymask.formats.sizes import size_error
from anymask.images import image_hw, load_image
from anymask.masks import UNLABELED, Mask, Masks, Rle, counted, rle_merge

if TYPE_CHECKING:
    from anymask.masks import ChannelMix

VOID_LABEL = "void"  # label of a crowd whose pixels are ignored for all classes

CommonTrait = Literal[
    "labels", "scores", "stability", "clicks", "crops", "ids", "crowds", "trees"
]  # fmt: skip
RareTrait = Literal["objectness", "label_probability", "runner_up", "annotator"]
Trait = CommonTrait | RareTrait
RARE: tuple[RareTrait, ...] = get_args(RareTrait)
IN_RECORDS: frozenset[Trait] = frozenset(  # traits with a key in JSON records
    {"labels", "scores", "stability", "clicks", "crops", "ids", "crowds", *RARE}
)


@dataclass(frozen=True)
class SequencePlace:
    """Position of an image in a clip or a stack: its name, and frame or slice counted from 0."""

    sequence: str
    index: int


@brief
@dataclass(frozen=True, kw_only=True)
class Federated:
    """Classes that were annotated in an image of a federated dataset (LVIS paper, section 3).

    Predictions of all other labels without a mask in the image are ignored.
    """

    # Labels that are certainly absent: a prediction is a false positive
    absent: frozenset[str] = frozenset()
    # Labels without exhaustive masks: an unmatched prediction is ignored
    partial: frozenset[str] = frozenset()


@brief
@dataclass(frozen=True, kw_only=True)
class BenchmarkTruth:
    """Information for the benchmarks of single datasets."""

    image_id: int | None = None  # Number of the image in its dataset (COCO's image_id), or None
    # Border pixels by annotator (BSDS500); empty for other datasets
    boundaries: tuple[Rle, ...] = ()
    # Annotated classes (LVIS). None means all classes of the dataset.
    federated: Federated | None = None


@brief
@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One image and its masks, all of the same size.

    Raises:
        DataError: A mask has another size than the image.
    """

    file_name: str  # Name of the image, with forward slashes, relative to the dataset
    # (H, W) in pixels of the upright image, as declared by the dataset; `image()` checks it
    hw: tuple[int, int]
    # Masks in the order of the file, including crowds and ignored pixels
    masks: Masks = field(default_factory=Masks)
    # Position in a clip or stack; None for a single image
    place: SequencePlace | None = field(default=None, compare=False)
    # Image file, or pixels (H, W, 3). None if the reader has neither.
    source: Path | UintImage | None = field(default=None, repr=False, compare=False)
    # Information for the benchmarks of single datasets
    benchmark: BenchmarkTruth = BenchmarkTruth()
    # Keys that only the original format supports
    extra: Mapping[str, Any] = field(default_factory=dict)
    # Whether later masks cover earlier ones, as in annotation tools. Otherwise, smaller masks are
    # painted over larger ones.
    layered: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        image = getattr(self.masks, "source_image", None)
        object.__setattr__(self, "masks", Masks(self.masks, image_hw=self.hw, source_image=image))
        for number, mask in enumerate(self.masks):
            if mask.rle.size != self.hw:
                raise DataError(
                    f"{self.file_name}, mask {number}: The mask has the size {mask.rle.size}, but "
                    f"the image has {self.hw} (height, width)."
                )

    @classmethod
    def of(cls, masks: Masks) -> AnnotatedImage:
        """Create an image from its masks. Raises InputError if they are empty without a size."""
        return cls(file_name=masks.image_name, hw=masks.image_hw, masks=masks)

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(self.file_name).name

    @cached_property
    def objects(self) -> tuple[Mask, ...]:
        """Masks of single objects, without crowds."""
        return tuple(mask for mask in self.masks if not mask.crowd)

    @cached_property
    def rles(self) -> tuple[Rle, ...]:
        """Run-length encodings of `objects`."""
        return tuple(mask.rle for mask in self.objects)

    def by_id(self) -> dict[int, Rle]:
        """Return the masks of numbered objects by number."""
        return {mask.id: mask.rle for mask in self.objects if mask.id is not None}

    @cached_property
    def ignore(self) -> Rle | None:
        """Ignored pixels: the union of all crowds."""
        crowds = [mask.rle for mask in self.masks if mask.crowd]
        return crowds[0] if len(crowds) == 1 else rle_merge(crowds) if crowds else None

    def image(self) -> UintImage:  # (H, W, 3)
        """Load the image.

        Raises:
            DataError: The file is unknown, or its size differs from that of the masks.
        """
        return self.model_input(None)

    def model_input(self, mix: ChannelMix | None) -> NDArray[Any]:
        """Load the image for a model: (H, W, 3), or (H, W, C) with a mix. Raises like `image`."""
        if self.source is None:
            raise DataError(
                f"{self.file_name}: The image file is unknown. Pass the folder of the images."
            )
        if mix is not None:
            from anymask.images import load_for_mix

            pixels = load_for_mix(self.source, mix)
        else:
            pixels = load_image(self.source) if isinstance(self.source, Path) else self.source
        if (hw := (pixels.shape[0], pixels.shape[1])) != self.hw:
            where = self.source if isinstance(self.source, Path) else self.file_name
            raise size_error(where, self.hw, hw)
        return pixels

    def check_file(self) -> None:
        """Raise DataError if the size of the image file differs from that of the masks."""
        if not isinstance(self.source, Path):
            return
        try:
            hw = image_hw(self.source, MAX_FILE_PIXELS)
        except ImageError:  # reported in detail when the image is loaded
            return
        if hw != self.hw:
            raise size_error(self.source, self.hw, hw, is_record=True)

    def content(self) -> bytes:
        """Return the file content or the pixels, to detect changes."""
        if isinstance(self.source, Path):
            return self.source.read_bytes()
        return b"" if self.source is None else self.source.tobytes()


def add_part(masks: dict[object, Mask], key: object, mask: Mask) -> None:
    """Add a mask, or join it with the mask of the same key: another part of the same object."""
    if (whole := masks.get(key)) is not None:
        rle, extra = rle_merge([whole.rle, mask.rle]), {**whole.extra, **mask.extra}
        mask = replace(whole, rle=rle, score=max(whole.score, mask.score), extra=extra)
    masks[key] = mask


def annotated_image(
    image: Path,
    hw: tuple[int, int],
    masks: Iterable[Mask],
    *,
    place: SequencePlace | None = None,
    benchmark: BenchmarkTruth | None = None,
) -> AnnotatedImage:
    """Create the record of an image on disk. Raises DataError if the file is missing."""
    if not image.is_file():
        raise DataError(f"Image not found: {str(image)!r}. Check that the dataset is complete.")
    return AnnotatedImage(
        file_name=image.as_posix(),
        hw=hw,
        masks=Masks(masks, image_hw=hw),
        place=place,
        source=image,
        benchmark=benchmark or BenchmarkTruth(),
    )


def class_names(images: list[AnnotatedImage], first: Iterable[str] = ()) -> list[str]:
    """Return `first`, then all other labels sorted; masks without a label count as UNLABELLED."""
    used = {mask.label or UNLABELED for image in images for mask in image.masks}
    begun = list(dict.fromkeys(first))
    return begun + sorted(used - set(begun))


# Losses.


def report_unsupported_fields(
    report: LossReport,
    image: AnnotatedImage,
    kept: frozenset[Trait],
    keys: Container[str] = (),
    image_keys: Container[str] = (),
) -> None:
    """Report, once per image, the traits of its masks that a format does not support.

    Args:
        kept: Supported traits.
        keys: Keys of `Mask.extra` that the format supports.
        image_keys: Keys of `AnnotatedImage.extra` that the format supports.
    """
    for trait, count in Counter(trait for mask in image.masks for trait in _traits(mask)).items():
        if trait not in kept:
            report.add(trait, image.file_name, None, f"not supported: {trait} of {count} masks")
    rare = Counter(name for mask in image.masks for name in RARE if getattr(mask, name) is not None)
    extras = Counter(key for mask in image.masks for key in mask.extra if key not in keys)
    lost = {name: count for name, count in rare.items() if name not in kept}
    for key, count in [*lost.items(), *extras.items()]:
        reason = f"`{key}` of {counted(count, 'mask')} is not supported"
        report.add("extras", image.file_name, None, reason, key)
    for key in image.extra:
        if key not in image_keys:
            report.add("extras", image.file_name, None, f"`{key}` is not supported", key)


def _traits(mask: Mask) -> list[CommonTrait]:
    """Return the common traits that a mask has besides its pixels."""
    there: dict[CommonTrait, bool] = {
        "labels": mask.label is not None,
        "scores": mask.score != 0,
        "stability": mask.stability is not None,
        "clicks": bool(mask.points),
        "crops": mask.crop_box != (0, 0, *mask.rle.size[::-1]),
        "ids": mask.id is not None,
        "crowds": mask.crowd,
        "trees": mask.depth is not None,
    }
    return [trait for trait, is_there in there.items() if is_there]


def extras_of(mask: Mask, keys: Container[str]) -> dict[str, Any]:
    """Return the extra keys of a mask that an open record supports, and the annotator."""
    who = {} if mask.annotator is None else {"annotator": mask.annotator}
    return held(mask.extra, keys) | who


def attributes_of(mask: Mask) -> dict[str, str]:
    """Return attributes as text; booleans, lists and objects as JSON."""
    raw = mask.extra.get("attributes") or {}
    attributes = raw if isinstance(raw, Mapping) else {"attributes": raw}
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in attributes.items()
    }


def with_extras(mask: Mask, rest: dict[str, Any]) -> Mask:
    """Add the keys that the reader did not use (`fields.other_keys`) to a mask."""
    if not rest:
        return mask
    who = rest.pop("annotator") if type(rest.get("annotator")) is int else mask.annotator
    return replace(mask, annotator=who, extra=rest)


def report_unlabeled(report: LossReport, image: AnnotatedImage) -> None:
    """Report that masks without a label get the class UNLABELLED."""
    for number, mask in enumerate(image.masks):
        if mask.label is None:
            reason = f"has no label; its label was set to {UNLABELED!r}"
            report.add("labels", image.file_name, number, reason)


def distinct_groups(image: AnnotatedImage, report: LossReport) -> list[int | None]:
    """Return group ids with which a reader that joins groups does not join different masks."""
    visited, groups = set[tuple[str, int | None]](), list[int | None]()
    for number, mask in enumerate(image.masks):
        key = mask.label or UNLABELED, mask.id
        groups.append(None if key in visited else mask.id)
        if mask.id is not None and key in visited:
            reason = f"another mask has the same label and group {mask.id}; the two would be merged"
            report.add("ids", image.file_name, number, reason)
        visited.add(key)
    return groups
