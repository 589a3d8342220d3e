"""Name suggestions for masks, including the classes of a project.

A class that the model does not know is represented by the mean vector of the newest masks that
people gave it, as in `anymask names`. The page can therefore suggest project-specific classes after
a few masks.
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
from anymask.runtime import ImageRuntime, mask_vectors
from anymask.segment import EncodedImage, choose_names
from anymask.studio.errors import RequestError

NAMING_BATCH_SIZE = 16  # masks per model call; limits the delay of new images
MAX_CLASS_EXAMPLES = 8  # maximum number of masks per class
FIRST_LOOK = 48  # maximum number of new masks per request; limits its duration
MAX_CACHED_VECTORS = 4000  # maximum number of cached vectors
Unknown = Literal["refuse", "leave out", "examples"]


@dataclass(frozen=True)
class NamesAsked:
    """Settings of name suggestions."""

    names: list[str] | None  # Candidate names. None: all known names.
    # How to handle names that the model does not know: "refuse", "leave out", or "examples" (use
    # masks with this name, and leave out names without any)
    unknown: Unknown
    top: int  # Number of names per mask


@dataclass(frozen=True)
class Named:
    """Suggested names of each mask, most likely first; empty for an empty mask."""

    suggestions: list[list[LabelSuggestion]]
    among: bool  # Whether the names are from the list of the request


@brief
@dataclass(frozen=True)
class LabeledMask:
    """A mask with a class that a person chose."""

    key: str  # Identifier of this version of the mask
    on: str  # Identifier of its image
    image: Callable[[], UintImage]  # Function that reads the image (H, W, 3)
    rle: Rle  # Run-length encoded mask


class OwnNames:
    """Classes of one project that are represented by its masks.

    Args:
        examples: Function from a class and a maximum number to its newest masks, newest first.
    """

    def __init__(self, examples: Callable[[str, int], Sequence[LabeledMask]]) -> None:
        self._examples = examples
        self._seen: dict[str, FloatArray | None] = {}  # None if the image cannot be read

    def vectors(self, runtime: ImageRuntime, labels: Sequence[str]) -> dict[str, FloatArray]:
        """Unit vector (D,) of each class with masks.

        A request computes a limited number of new vectors, starting with the classes that have the
        fewest; later requests compute the rest.
        """
        by_label = {label: self._examples(label, MAX_CLASS_EXAMPLES) for label in labels}
        fresh = [
            (nth, mask)
            for examples in by_label.values()
            for nth, mask in enumerate(examples)
            if mask.key not in self._seen
        ]
        fresh.sort(key=lambda pair: pair[0])
        by_image: dict[str, list[LabeledMask]] = {}
        for _, mask in fresh[:FIRST_LOOK]:
            by_image.setdefault(mask.on, []).append(mask)
        for some in by_image.values():
            new: Sequence[FloatArray | None] = [None] * len(some)
            with suppress(AnymaskError, RequestError):  # missing or unreadable image
                new = list(mask_vectors(runtime, some[0].image(), [mask.rle for mask in some]))
            self._seen |= zip((mask.key for mask in some), new, strict=True)
        for old in list(self._seen)[: max(0, len(self._seen) - MAX_CACHED_VECTORS)]:
            del self._seen[old]
        means = {}
        for label, examples in by_label.items():
            known = [self._seen.get(mask.key) for mask in examples]
            vectors = [vector for vector in known if vector is not None]
            if vectors:
                total = np.sum(vectors, axis=0)
                means[label] = total / max(float(np.linalg.norm(total)), 1e-6)
        return means


def name_masks(
    runtime: ImageRuntime,
    source: UintImage | EncodedImage,
    rles: list[Rle],
    choice: NamesAsked,
    own: OwnNames | None = None,
) -> Named:
    """Suggest names for masks. Raises Refusal, or InputError for unknown names."""
    naming = runtime.naming
    if naming is None:
        raise RequestError(422, f"{runtime.spec.name} has no names. Serve {DEFAULT_VIDEO_MODEL}.")
    names, table = choice.names, naming.name_table()
    if names is None or choice.unknown == "refuse":
        chosen, among = choose_names(runtime, names), names is not None
    else:
        strange = [name for name in names if not table.knows(name)]
        vectors = own.vectors(runtime, strange) if own and choice.unknown == "examples" else {}
        known = [name for name in names if name in vectors or name not in strange]
        chosen, among = table.chosen(known or None, vectors), bool(known)
    image = _image_of(source, rles)
    shown = [index for index, rle in enumerate(rles) if rle_area(rle)]
    suggestions: list[list[LabelSuggestion]] = [[] for _ in rles]
    for start in range(0, len(shown), NAMING_BATCH_SIZE):
        part = shown[start : start + NAMING_BATCH_SIZE]
        vectors_of = mask_vectors(runtime, image, [rles[index] for index in part])
        for index, suggested in zip(part, chosen.suggest(vectors_of, choice.top), strict=True):
            suggestions[index] = suggested
    return Named(suggestions, among)


def _image_of(source: UintImage | EncodedImage, rles: list[Rle]) -> UintImage:
    """Pixels of the image. Raises Refusal if the masks have another size."""
    if not isinstance(source, EncodedImage):
        image, sizes = source, {source.shape[:2]}
    elif source.image is None:
        raise RequestError(404, "The server has only the embedding of this image. Send the image.")
    else:
        image, sizes = source.image, {source.image.shape[:2], source.embedding.image_hw}
    for rle in rles:
        if rle.size not in sizes:
            (height, width), (h, w) = max(sizes), rle.size
            raise RequestError(
                422, f"The masks have {w} x {h} pixels, but the image has {width} x {height}."
            )
    return np.asarray(image)
