"""A project's own names: labels that the model does not know in, vectors of their masks out.

What a label is called after its newest masks: the mean of their vectors, as `anymask names` makes
them of a labelled set (`segment/names.py`). So the page suggests a name that only this
project has, after a few masks that people gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from anymask.base import AnymaskError, FloatArray, UintImage
from anymask.masks import Rle
from anymask.runtime import ImageRuntime
from anymask.segment import mask_vectors
from anymask.studio.refusals import Refusal

MOST = 8  # masks of a label that are looked at
AT_ONCE = 48  # masks that one request looks at: what it waits for
KEPT = 4000  # vectors in memory


@dataclass(frozen=True)
class LabelledMask:
    """A mask that a person gave a label.

    key    names this state of it
    photo  reads the picture (H, W, 3) that it lies on; `on` names that
    """

    key: str
    on: str
    photo: Callable[[], UintImage]
    rle: Rle


Examples = Callable[
    [str, int], Sequence[LabelledMask]
]  # label, how many at most -> the newest first


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
        self._look(runtime, [one for _, one in fresh[:AT_ONCE]])
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
