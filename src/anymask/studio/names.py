"""Names of masks: the likeliest names of each, a project's own ones among them.

A label that the model does not know is explained by the newest masks that people gave it: the mean
of their vectors, as `anymask names` makes them of a labelled set. So the page suggests a name that
only this project has after a few masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anymask.base import AnymaskError, FloatArray, UintImage, brief
from anymask.masks import Rle, rle_area
from anymask.models.rules import DEFAULT_VIDEO_MODEL, LabelSuggestion
from anymask.runtime import ImageRuntime, MaskNaming, mask_vectors
from anymask.segment import EncodedPhoto, choose_names
from anymask.studio.errors import Refusal

AT_ONCE = 16  # masks of one piece of the model's work: what a new photo may have to wait for
MOST = 8  # masks of a label that are looked at
FIRST_LOOK = 48  # masks of labels that one request looks at: what it waits for
KEPT = 4000  # vectors in memory
Unknown = Literal["refuse", "leave out", "examples"]


@dataclass(frozen=True)
class NamesAsked:
    """What masks may be called.

    Attributes:
        names: To choose from; None: all that were learned.
        unknown: What becomes of names that the model does not know: refused, left out, or
            explained by masks that have them, and left out where there is none.
        top: Names of each mask.
    """

    names: list[str] | None
    unknown: Unknown
    top: int


@dataclass(frozen=True)
class Named:
    """The likeliest names of each mask, the likeliest first; none for an empty mask.

    Attributes:
        among: Whether they were chosen among the names that were given.
    """

    suggestions: list[list[LabelSuggestion]]
    among: bool


@brief
@dataclass(frozen=True)
class LabelledMask:
    """A mask that a person gave a label.

    Attributes:
        key: Names this state of it.
        photo: Reads the picture (H, W, 3) that it lies on; `on` names that.
    """

    key: str
    on: str
    photo: Callable[[], UintImage]
    rle: Rle


Examples = Callable[[str, int], Sequence[LabelledMask]]  # label, most -> the newest first


class OwnNames:
    """The names of one project that its masks explain."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._seen: dict[str, FloatArray | None] = {}  # None of a photo that cannot be read

    def vectors(self, runtime: ImageRuntime, labels: Sequence[str]) -> dict[str, FloatArray]:
        """Of each label that has masks a vector (D,) of length 1.

        Where many masks are new, further requests look at the rest: those of labels of which the
        least is known come first.
        """
        found = {label: self._examples(label, MOST) for label in labels}
        fresh = [
            (nth, one)
            for examples in found.values()
            for nth, one in enumerate(examples)
            if one.key not in self._seen
        ]
        fresh.sort(key=lambda pair: pair[0])
        self._look(runtime, [one for _, one in fresh[:FIRST_LOOK]])
        means = {}
        for label, examples in found.items():
            known = [self._seen.get(one.key) for one in examples]
            vectors = [vector for vector in known if vector is not None]
            if vectors:
                total = np.sum(vectors, axis=0)
                means[label] = total / max(float(np.linalg.norm(total)), 1e-6)
        return means

    def _look(self, runtime: ImageRuntime, examples: Sequence[LabelledMask]) -> None:
        by_photo: dict[str, list[LabelledMask]] = {}
        for one in examples:
            by_photo.setdefault(one.on, []).append(one)
        for some in by_photo.values():
            told: Sequence[FloatArray | None] = [None] * len(some)
            with suppress(AnymaskError, Refusal):  # a photo that was taken away, or cannot be read
                photo = some[0].photo()
                told = list(mask_vectors(runtime, photo, [one.rle for one in some]))
            self._seen |= zip((one.key for one in some), told, strict=True)
        for old in list(self._seen)[: max(0, len(self._seen) - KEPT)]:
            del self._seen[old]


def name_masks(
    runtime: ImageRuntime,
    look: UintImage | EncodedPhoto,
    rles: list[Rle],
    asked: NamesAsked,
    own: OwnNames | None = None,
) -> Named:
    """The names of masks. Raises Refusal, InputError for names that are not known."""
    naming = runtime.capability(MaskNaming)
    if naming is None:
        raise Refusal(
            422,
            (
                f"Model {runtime.spec.name} cannot suggest names. Start the server "
                f"with the model {DEFAULT_VIDEO_MODEL}."
            ),
        )
    names, table = asked.names, naming.name_table()
    if names is None or asked.unknown == "refuse":
        chosen, among = choose_names(runtime, names), names is not None
    else:
        strange = [name for name in names if not table.knows(name)]
        vectors = own.vectors(runtime, strange) if own and asked.unknown == "examples" else {}
        known = [name for name in names if name in vectors or name not in strange]
        chosen, among = table.chosen(known or None, vectors), bool(known)
    photo = _photo_of(look, rles)
    shown = [place for place, rle in enumerate(rles) if rle_area(rle)]
    told: list[list[LabelSuggestion]] = [[] for _ in rles]
    for start in range(0, len(shown), AT_ONCE):
        part = shown[start : start + AT_ONCE]
        vectors_of = mask_vectors(runtime, photo, [rles[place] for place in part])
        for place, suggested in zip(part, chosen.suggest(vectors_of, asked.top), strict=True):
            told[place] = suggested
    return Named(told, among)


def _photo_of(look: UintImage | EncodedPhoto, rles: list[Rle]) -> UintImage:
    """The photo's pixels. Raises Refusal for masks of another size."""
    if not isinstance(look, EncodedPhoto):
        photo, sizes = look, {look.shape[:2]}
    elif look.photo is None:
        message = (
            "The server has only the embedding of this image, not its pixels. Send the "
            "image instead of its hash."
        )
        raise Refusal(404, message)
    else:
        photo, sizes = look.photo, {look.photo.shape[:2], look.embedding.image_hw}
    for rle in rles:
        if rle.size not in sizes:
            (height, width), (h, w) = max(sizes), rle.size
            raise Refusal(
                422,
                (
                    f"The masks have the size {w} x {h}, but the image has {width} x "
                    f"{height} pixels. Send the image that belongs to the masks."
                ),
            )
    return np.asarray(photo)
