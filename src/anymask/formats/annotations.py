"""Annotated images: the one record of a picture with its masks that all readers give.

Readers and writers of formats note in a `LossReport` what does not survive.
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
from anymask.formats.fields import held
from anymask.formats.losses import LossReport as LossReport
from anymask.formats.sizes import other_size, record_of_other_size
from anymask.images import image_hw, load_image
from anymask.masks import UNLABELLED, Mask, Masks, Rle, rle_merge

if TYPE_CHECKING:
    from anymask.masks import ChannelMix

VOID_LABEL = "void"  # the label of a crowd that stands for pixels of every class

CommonTrait = Literal[
    "labels", "scores", "stability", "clicks", "crops", "ids", "crowds", "trees"
]  # fmt: skip
RareTrait = Literal["objectness", "label_probability", "runner_up", "annotator"]
Trait = CommonTrait | RareTrait
RARE: tuple[RareTrait, ...] = get_args(RareTrait)
IN_RECORDS: frozenset[Trait] = frozenset(  # what a record in JSON has a key for
    {"labels", "scores", "stability", "clicks", "crops", "ids", "crowds", *RARE}
)


@dataclass(frozen=True)
class SequencePlace:
    """Where a picture is in a clip or a stack: whose it is, and its frame or slice from 0 on."""

    sequence: str
    index: int


@brief
@dataclass(frozen=True, kw_only=True)
class Federated:
    """Which classes were looked for in a photo of a federated set (LVIS paper, section 3).

    Other labels that no mask of the photo has were not looked for: their answers do not count.

    Attributes:
        absent: Labels of which there is certainly none: an answer is wrong.
        partial: Labels of which not every object has a mask: an answer without a mask is not
            wrong.
    """

    absent: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()


@brief
@dataclass(frozen=True, kw_only=True)
class BenchmarkTruth:
    """What only single data sets say of a photo, for their own benchmarks.

    Attributes:
        image_id: The photo's number in its data set (COCO's image_id), or None.
        boundaries: The border pixels that each annotator drew (BSDS500); empty elsewhere.
        federated: Which classes were looked for (LVIS); None means all of the set.
    """

    image_id: int | None = None
    boundaries: tuple[Rle, ...] = ()
    federated: Federated | None = None


@brief
@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One picture and its masks, all of its size.

    Raises DataError when a mask has another size than the picture.

    Attributes:
        file_name: Of the picture, with forward slashes, relative to the data set.
        hw: (H, W) in pixels of the upright picture, as the data set says; `image()` checks it.
        masks: In the order of the file, crowds and pixels that do not count among them.
        place: Its place in a clip or stack; None for a photo on its own.
        source: The file of the picture, or its pixels (H, W, 3); None where the reader has
            neither.
        benchmark: What only single data sets say.
        extra: Keys that only the format knows that the picture came from.
    """

    file_name: str
    hw: tuple[int, int]
    masks: Masks = field(default_factory=Masks)
    place: SequencePlace | None = field(default=None, compare=False)
    source: Path | UintImage | None = field(default=None, repr=False, compare=False)
    benchmark: BenchmarkTruth = BenchmarkTruth()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        picture = getattr(self.masks, "picture", None)
        object.__setattr__(self, "masks", Masks(self.masks, image_hw=self.hw, picture=picture))
        for number, mask in enumerate(self.masks):
            if mask.rle.size != self.hw:
                raise DataError(
                    f"{self.file_name}, mask {number}: The mask has the size {mask.rle.size} "
                    f"(height, width), but the image has {self.hw}. It probably "
                    "belongs to another version of the image."
                )

    @classmethod
    def of(cls, masks: Masks) -> AnnotatedImage:
        """The picture of a list of masks. Raises InputError for an empty one of unknown size."""
        return cls(file_name=masks.image_name, hw=masks.image_hw, masks=masks)

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.file_name).name

    @cached_property
    def objects(self) -> tuple[Mask, ...]:
        """The masks of one object each: those that are no crowd."""
        return tuple(mask for mask in self.masks if not mask.crowd)

    @cached_property
    def rles(self) -> tuple[Rle, ...]:
        """The run-lengths of `objects`."""
        return tuple(mask.rle for mask in self.objects)

    def by_id(self) -> dict[int, Rle]:
        """The masks of the objects that have a number, by that number."""
        return {mask.id: mask.rle for mask in self.objects if mask.id is not None}

    @cached_property
    def ignore(self) -> Rle | None:
        """The pixels that count neither as right nor as wrong: all crowds, joined."""
        crowds = [mask.rle for mask in self.masks if mask.crowd]
        return crowds[0] if len(crowds) == 1 else rle_merge(crowds) if crowds else None

    def image(self) -> UintImage:  # (H, W, 3)
        """Open the picture; DataError when its size is not the one that the masks have."""
        if self.source is None:
            raise DataError(
                f"{self.file_name}: The location of the image file is unknown. Pass "
                "the folder of the images."
            )
        found = load_image(self.source) if isinstance(self.source, Path) else self.source
        self._check_size(found)
        return found

    def picture(self, mix: ChannelMix | None) -> NDArray[Any]:
        """As a model of these channels takes it: (H, W, 3), or (H, W, C). Raises as `image`."""
        if mix is None or self.source is None:
            return self.image()
        from anymask.images import load_for_mix

        found = load_for_mix(self.source, mix)
        self._check_size(found)
        return found

    def check_file(self) -> None:
        """Raises DataError where the picture's file has another size than the masks."""
        if not isinstance(self.source, Path):
            return
        try:
            hw = image_hw(self.source)
        except ImageError:  # which says more when the picture is opened
            return
        if hw != self.hw:
            raise record_of_other_size(self.source, self.hw, hw)

    def _check_size(self, image: NDArray[Any]) -> None:
        """Raises DataError where a picture has another size than the masks."""
        if image.shape[:2] != self.hw:
            where = self.source if isinstance(self.source, Path) else self.file_name
            height, width = image.shape[:2]
            raise other_size(where, self.hw, (height, width))

    def content(self) -> bytes:
        """The picture's bytes, to tell whether it is still the same: of the file, or the pixels."""
        if isinstance(self.source, Path):
            return self.source.read_bytes()
        return b"" if self.source is None else self.source.tobytes()


def annotated_photo(
    photo: Path,
    hw: tuple[int, int],
    masks: Iterable[Mask],
    *,
    place: SequencePlace | None = None,
    benchmark: BenchmarkTruth | None = None,
) -> AnnotatedImage:
    """A photo of a data set on disk. Raises DataError where the file is absent."""
    if not photo.is_file():
        raise DataError(f"Image not found: {str(photo)!r}. Check that the dataset is complete.")
    return AnnotatedImage(
        file_name=photo.as_posix(),
        hw=hw,
        masks=Masks(masks, image_hw=hw),
        place=place,
        source=photo,
        benchmark=benchmark or BenchmarkTruth(),
    )


def class_names(images: list[AnnotatedImage], first: Iterable[str] = ()) -> list[str]:
    """`first`, then every other label by the alphabet; masks without one count as UNLABELLED."""
    used = {mask.label or UNLABELLED for image in images for mask in image.masks}
    begun = list(dict.fromkeys(first))
    return begun + sorted(used - set(begun))


# What is lost.


def note_traits(
    report: LossReport,
    image: AnnotatedImage,
    kept: frozenset[Trait],
    keys: Container[str] = (),
    image_keys: Container[str] = (),
) -> None:
    """Note, once an image, what its masks carry beside their pixels and the format does not.

    Args:
        keys: Of `Mask.extra` that the format holds.
        image_keys: Of `AnnotatedImage.extra`, the same.
    """
    traits = Counter(trait for mask in image.masks for trait in _traits(mask))
    for trait, count in traits.items():
        if trait not in kept:
            report.add(trait, image.file_name, None, f"not supported: {trait} of {count} masks")
    rare = Counter(one for mask in image.masks for one in RARE if getattr(mask, one) is not None)
    extras = Counter(key for mask in image.masks for key in mask.extra if key not in keys)
    lost = {one: count for one, count in rare.items() if one not in kept}
    for key, count in [*lost.items(), *extras.items()]:
        masks = "1 mask" if count == 1 else f"{count} masks"
        report.add("extras", image.file_name, None, f"`{key}` of {masks} is not supported", key)
    for key in image.extra:
        if key not in image_keys:
            report.add("extras", image.file_name, None, f"`{key}` is not supported", key)


def _traits(mask: Mask) -> list[CommonTrait]:
    """What a mask carries beside its pixels, but rare fields and its extras."""
    height, width = mask.rle.size
    there: dict[CommonTrait, bool] = {
        "labels": mask.label is not None,
        "scores": mask.score != 0,
        "stability": mask.stability is not None,
        "clicks": bool(mask.points),
        "crops": mask.crop_box != (0, 0, width, height),
        "ids": mask.id is not None,
        "crowds": mask.crowd,
        "trees": mask.depth is not None,
    }
    return [trait for trait, is_there in there.items() if is_there]


def extras_of(mask: Mask, keys: Container[str]) -> dict[str, Any]:
    """What an open record holds of a mask beside its fields: these keys, and who drew it."""
    who = {} if mask.annotator is None else {"annotator": mask.annotator}
    return held(mask.extra, keys) | who


def attributes_of(mask: Mask) -> dict[str, str]:
    """Attributes as text: true and false of a checkbox, JSON of lists and objects."""
    found = mask.extra.get("attributes") or {}
    told = found if isinstance(found, Mapping) else {"attributes": found}
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in told.items()
    }


def with_extras(mask: Mask, rest: dict[str, Any]) -> Mask:
    """The mask with the keys that its reader did not use (`fields.rest_of`)."""
    if not rest:
        return mask
    who = rest.pop("annotator") if type(rest.get("annotator")) is int else mask.annotator
    return replace(mask, annotator=who, extra=rest)


def note_unlabelled(report: LossReport, image: AnnotatedImage) -> None:
    """Note that masks without a label get the class UNLABELLED."""
    for number, mask in enumerate(image.masks):
        if mask.label is None:
            report.add(
                "labels",
                image.file_name,
                number,
                f"has no label; its label was set to {UNLABELLED!r}",
            )
