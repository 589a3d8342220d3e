"""Names of masks: what was seen of a photo and run-lengths in, the likeliest names of each out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from anymask.base import UintImage
from anymask.masks import Rle, rle_area
from anymask.models.rules import DEFAULT_MODEL, ChosenNames, LabelSuggestion
from anymask.runtime import ImageRuntime, MaskNaming
from anymask.segment import EncodedPhoto, choose_names, mask_vectors
from anymask.studio.own_names import OwnNames
from anymask.studio.refusals import Refusal

AT_ONCE = 16  # masks of one piece of the model's work: what a new photo may have to wait for


Unknown = Literal["refuse", "leave out", "examples"]


@dataclass(frozen=True)
class NamesAsked:
    """What masks may be called.

    names    to choose from; None: all that were learned
    unknown  what becomes of names that the model does not know: refused, left out, or explained
             by masks that have them, and left out where there is none
    top      names of each mask
    """

    names: list[str] | None
    unknown: Unknown
    top: int


@dataclass(frozen=True)
class Named:
    """The likeliest names of each mask, the likeliest first; none for an empty mask.

    among  whether they were chosen among the names that were given
    """

    suggestions: list[list[LabelSuggestion]]
    among: bool


def name_masks(
    runtime: ImageRuntime,
    look: UintImage | EncodedPhoto,
    rles: list[Rle],
    asked: NamesAsked,
    own: OwnNames | None = None,
) -> Named:
    """The names of masks. Raises Refusal, InputError for names that are not known."""
    chosen, among = _choose(runtime, asked, own)
    photo = _photo_of(look, rles)
    shown = [place for place, rle in enumerate(rles) if rle_area(rle)]
    told: list[list[LabelSuggestion]] = [[] for _ in rles]
    for start in range(0, len(shown), AT_ONCE):
        part = shown[start : start + AT_ONCE]
        vectors = mask_vectors(runtime, photo, [rles[place] for place in part])
        for place, suggested in zip(part, chosen.suggest(vectors, asked.top), strict=True):
            told[place] = suggested
    return Named(told, among)


def _choose(
    runtime: ImageRuntime, asked: NamesAsked, own: OwnNames | None
) -> tuple[ChosenNames, bool]:
    naming = runtime.capability(MaskNaming)
    if naming is None:
        raise Refusal(
            422,
            "a model that names masks",
            f"{runtime.spec.name}, which has no names",
            f"start the server with --model {DEFAULT_MODEL}",
        )
    names, table = asked.names, naming.name_table()
    if names is None or asked.unknown == "refuse":
        return choose_names(runtime, names), names is not None
    strange = [name for name in names if not table.knows(name)]
    vectors = own.vectors(runtime, strange) if own and asked.unknown == "examples" else {}
    known = [name for name in names if name in vectors or name not in strange]
    return table.chosen(known or None, vectors), bool(known)


def _photo_of(look: UintImage | EncodedPhoto, rles: list[Rle]) -> UintImage:
    """The photo's pixels. Raises Refusal for masks of another size."""
    if not isinstance(look, EncodedPhoto):
        photo, sizes = look, {look.shape[:2]}
    elif look.photo is None:
        raise Refusal(404, "a photo that this server keeps", "its embedding", "send the image")
    else:
        photo, sizes = look.photo, {look.photo.shape[:2], look.embedding.image_hw}
    for rle in rles:
        if rle.size not in sizes:
            height, width = max(sizes)
            raise Refusal(
                422,
                f"masks of a photo of {width} x {height}",
                f"one of {rle.size[1]} x {rle.size[0]}",
                "send the photo that they were made for",
            )
    return np.asarray(photo)
