"""`Prediction`: the alternatives for one prompt, as logits or decided pixels, and as masks.

Letters: K candidates, H W the photo, h w a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from anymask.base import (
    BoolArray,
    FloatArray,
    InputError,
    IntArray,
    UintImage,
    brief,
    explain_keywords,
    preview_html,
)
from anymask.masks import (
    SMOOTH,
    STABILITY_OFFSET,
    Geometry,
    Mask,
    Masks,
    Origin,
    Picture,
    Polygon,
    Prompt,
    Rle,
    iou,
    logits_to_masks,
    logits_to_rles,
    mask_to_rle,
    percent,
    preview_of,
    rle_to_mask,
    show_picture,
    stability_score,
    without_held,
)


class LazyMask:
    """Pixels of a mask that are decided when they are first read, and pickled as run-lengths."""

    def __init__(self, decide: Callable[[], Rle]) -> None:
        self._decide: Callable[[], Rle] | None = decide
        self._rle: Rle | None = None

    @property
    def rle(self) -> Rle:
        """The run-lengths, of the photo's size."""
        decide = self._decide
        if self._rle is None and decide is not None:
            self._rle, self._decide = decide(), None  # the photo is let go with it
        assert self._rle is not None
        return self._rle

    def __reduce__(self) -> tuple[Callable[[Rle], Rle], tuple[Rle]]:
        return replace, (self.rle,)


@brief
@dataclass(frozen=True, eq=False)
class Candidate:
    """One alternative of an answer, as its logits draw it or as its pixels were decided.

    Attributes:
        logits: (h, w) float32, model space: what the decoder answered, and what is fed back to
            it.
        geometry: How the logits lie over the photo.
        score: This mask's own number, raw.
        order: Its place in the model's own order.
        threshold: Logits above it are object.
        cleaned: (h, w) the logits without small holes and islands, which is what is shown;
            None: the logits are.
        finished: Run-lengths of the photo's size, or what makes them, where a step decided on
            pixels.
        tidied: Whether these are the drawn pixels without small regions: its edge may still
            move.
        label: The class and its chance, of a model that was tuned on classes.
        label_probability: Like `label`.
    """

    logits: FloatArray
    geometry: Geometry
    score: float
    order: int = 0
    threshold: float = 0.0
    cleaned: FloatArray | None = None
    finished: Rle | LazyMask | None = None
    tidied: bool = False
    label: str | None = None
    label_probability: float | None = None

    @property
    def shown_logits(self) -> FloatArray:
        """(h, w) what the mask is drawn from: the clean logits where there are any."""
        return self.logits if self.cleaned is None else self.cleaned

    def pixels(self) -> BoolArray:  # (H, W)
        """The mask in the photo, made each time."""
        if self.finished is not None:
            return rle_to_mask(self.rle())
        drawn: BoolArray = logits_to_masks(self.shown_logits[None], self.geometry, self.threshold)[
            0
        ]
        return drawn

    def rle(self) -> Rle:
        """The run-lengths of the same pixels."""
        if isinstance(self.finished, LazyMask):
            return self.finished.rle
        if self.finished is not None:
            return self.finished
        return logits_to_rles(self.shown_logits[None], self.geometry, self.threshold)[0]

    def with_logits(self, logits: FloatArray) -> Candidate:
        """The same mask drawn by other logits (h, w), which are fed back as well."""
        return replace(self, logits=logits, cleaned=None, finished=None, tidied=False)

    def with_cleaned(self, logits: FloatArray) -> Candidate:
        """The same mask drawn by clean logits (h, w); its own stay what is fed back."""
        return replace(self, cleaned=logits, finished=None, tidied=False)

    def with_pixels(self, pixels: BoolArray, *, tidied: bool = False) -> Candidate:
        """The same mask with decided pixels (H, W); the logits stay what is fed back."""
        return replace(self, finished=mask_to_rle(pixels), tidied=tidied)

    def cells(self) -> int:
        """The size of the object in the cells of the logits that are photo."""
        rows, columns = self.geometry.filled_cells(self.logits.shape[-1])
        return int(np.count_nonzero(self.shown_logits[:rows, :columns] > self.threshold))


AMBIGUITY_MARGIN = 0.03  # a first mask that is better by less does not say which mask is meant
AMBIGUITY_IOU = 0.65  # masks that overlap more are the same answer to most users


@explain_keywords
@dataclass(frozen=True, eq=False)
class Prediction:
    """One to three candidate masks for one prompt, best first, as a sequence of `Mask`.

    Attributes:
        items: Data from which each of the K masks is decoded.
        violated_points: Indices of points that the first mask does not satisfy.
        prompt: The prompt of the prediction, if known.
        picture: Function that reads the image for `show` and `save`, if known.
        origin: The model that predicted the masks, if known.
    """

    items: tuple[Candidate, ...]
    violated_points: tuple[int, ...] = ()
    prompt: Prompt | None = None
    picture: Picture | None = None
    origin: Origin | None = None

    @classmethod
    def of_logits(
        cls,
        logits: FloatArray,
        quality: FloatArray,
        order: IntArray,
        geometry: Geometry,
        threshold: float = 0.0,
    ) -> Prediction:  # (K, h, w), (K,), (K,)
        """What a decoder said, the first candidate first."""
        rows = zip(logits, quality.tolist(), order.tolist(), strict=True)
        return cls(
            tuple(Candidate(plane, geometry, q, place, threshold) for plane, q, place in rows)
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Mask]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Mask: ...

    @overload
    def __getitem__(self, index: slice) -> Prediction: ...

    def __getitem__(self, index: int | slice) -> Mask | Prediction:
        if isinstance(index, slice):
            return self.picked(range(len(self))[index])
        made = vars(self).setdefault("_made", {})
        if index not in made:
            made[index] = self._mask_of(self.items[index])
        found: Mask = made[index]
        return found

    def _mask_of(self, one: Candidate) -> Mask:
        points = None if self.prompt is None else self.prompt.points
        return Mask(
            one.rle(),
            one.label,
            score=float(one.score),
            stability=float(stability_score(one.shown_logits, one.threshold, STABILITY_OFFSET)),
            points=() if points is None else tuple((x, y) for x, y in points.tolist()),
            label_probability=one.label_probability,
            picture=self.picture,
            origin=self.origin,
        )

    def __repr__(self) -> str:
        height, width = self.geometry.image_hw
        told = ", ".join(f"{one.score:.2f} {percent(one.coverage)}" for one in self)
        toss = ", ambiguous" if self.ambiguous else ""
        return f"<Prediction: {len(self)} of {width}x{height}: {told}{toss}>"

    def __getstate__(self) -> dict[str, Any]:
        made = ("logits", "scores", "order", "masks", "_made")
        return without_held({k: value for k, value in vars(self).items() if k not in made})

    @property
    def first(self) -> Candidate:
        """What the mask that is shown first is made from."""
        return self.items[0]

    @property
    def best(self) -> Mask:
        """The mask that is most likely meant: the first one."""
        return self[0]

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool, the pixels of the best mask, made each time."""
        return self.first.pixels()

    @property
    def ambiguous(self) -> bool:
        """Whether the first two masks differ and the first has hardly the higher quality.

        Their IoU is below AMBIGUITY_IOU, and the first quality exceeds the second by less than
        AMBIGUITY_MARGIN, or below it where a learned order overrules the qualities. Measured on
        one-click answers of the bundled model, the second is then nearly as often the better mask
        (docs/explanation/prompts.md). Another click, or a box, decides.
        """
        if len(self) < 2:
            return False
        one, two = self.items[:2]
        if one.score - two.score >= AMBIGUITY_MARGIN:
            return False
        return (
            iou(one.shown_logits > one.threshold, two.shown_logits > two.threshold) < AMBIGUITY_IOU
        )

    @property
    def geometry(self) -> Geometry:
        """How the logits lie over the photo."""
        return self.first.geometry

    @property
    def threshold(self) -> float:
        """Logits above it are object."""
        return self.first.threshold

    @cached_property
    def logits(self) -> FloatArray:
        """(K, h, w) float32, model space: what the decoder answered, to be fed back (`mask=`).

        Not what is shown where small holes and islands were removed: that is `shown_logits`.
        """
        return np.stack([one.logits for one in self.items])

    @property
    def shown_logits(self) -> FloatArray:
        """(K, h, w) float32: what the masks are drawn from, unless their pixels were decided."""
        return np.stack([one.shown_logits for one in self.items])

    @cached_property
    def scores(self) -> FloatArray:
        """(K,) float32, each mask's own number, raw: the first one is not always the largest."""
        return np.array([one.score for one in self.items], np.float32)

    @cached_property
    def order(self) -> IntArray:
        """(K,) int64, each candidate's place in the model's own order."""
        return np.array([one.order for one in self.items], np.int64)

    @cached_property
    def masks(self) -> BoolArray:
        """(K, H, W) bool in image pixels, made when first looked at."""
        if any(one.finished is not None for one in self.items):
            return np.stack([one.pixels() for one in self.items])
        return logits_to_masks(self.shown_logits, self.geometry, self.threshold)

    def rles(self) -> list[Rle]:
        """The run-lengths of each mask's pixels."""
        if any(one.finished is not None for one in self.items):
            return [one.rle() for one in self.items]
        return logits_to_rles(self.shown_logits, self.geometry, self.threshold)

    def cells(self) -> IntArray:
        """(K,) the size of each object, in the low-resolution mask's cells that are photo."""
        return np.array([one.cells() for one in self.items], np.int64)

    def picked(self, places: Sequence[int]) -> Prediction:
        """Some of the candidates, in the given order. Raises InputError for an unknown one."""
        given: object = places
        for place in given if isinstance(given, Sequence | np.ndarray) else [given]:
            self._check_place(place)
        return replace(self, items=tuple(self.items[place] for place in places))

    def _check_place(self, place: object) -> None:
        if not isinstance(place, int | np.integer) or not 0 <= place < len(self):
            raise InputError(
                f"Candidate {str(place)[:60]} does not exist. This prediction has "
                f"candidates 0 to {len(self) - 1}."
            )

    def granularity_of(self, index: int) -> float | Literal["all"]:
        """The user's choice of a candidate, for `segment(..., granularity=...)` of later clicks.

        From 0, the smallest of the candidates (a part), to 1, the largest (the whole); "all" where
        there is nothing to choose from. Raises InputError when there is no such candidate.
        """
        self._check_place(index)
        sizes = self.cells()
        some = np.flatnonzero(sizes)
        if len(some) < 2 or not sizes[index]:
            return "all"
        by_size = some[np.argsort(sizes[some], kind="stable")].tolist()
        return float(by_size.index(index) / (len(some) - 1))

    # What users do with an answer.

    def polygons(self, tolerance: float = SMOOTH, min_area: float = 0.0) -> list[Polygon]:
        """The outlines of the first mask (see `Mask.polygons`)."""
        return self.best.polygons(tolerance, min_area)

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> dict[str, Any]:
        """The first mask as an annotation of COCO, with run-lengths."""
        return self.best.to_coco(1, image_id, category_id)

    def to_supervision(self) -> Any:
        """A `supervision.Detections` of all candidates. Raises InputError where it is absent."""
        return Masks(self).to_supervision()

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, a row a candidate. Raises InputError where pandas is absent."""
        return Masks(self).to_dataframe()

    def draw(self, image: UintImage | None = None) -> UintImage:  # (H, W, 3)
        """The photo with the first mask and the prompt. Raises InputError without the photo."""
        from anymask.formats import mask_picture

        masks = Masks([self.best], picture=self.picture)
        drawn: UintImage = mask_picture("overlay", masks, image, [*filter(None, [self.prompt])])
        return drawn

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write the first mask; the end of the name says what, as on the command line.

        .png .webp .tif a cut-out, .jpg and other pictures the photo with the mask,
        .overlay.png and .mask.png what they say, .json .csv .svg .geojson .txt (YOLO) .npy

        Raises InputError for another suffix, a picture of a photo that is not known, the photo.

        Args:
            path: Parent folders are made.
            image: (H, W, 3) the photo, where the answer does not know it.
        """
        from anymask.formats import save_masks

        masks = Masks([self.best], picture=self.picture)
        prompts = [*filter(None, [self.prompt])]
        return save_masks(masks, Path(path), image, plain="cutout", prompts=prompts, one=True)

    def show(self, image: UintImage | None = None) -> None:
        """Open the photo with the first mask in the system's viewer of pictures."""
        show_picture(self.draw(image))

    def _repr_png_(self) -> bytes | None:
        return None if self.picture is None else preview_of(self.draw)

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [repr(one) for one in self], self._repr_png_())


Previous = Prediction | Sequence[Prediction | None] | None  # of one prompt, or of each of several
