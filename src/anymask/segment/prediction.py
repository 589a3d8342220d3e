"""`Prediction`: the candidate masks for one prompt.

Letters: K candidates, H W the image, h w a low-resolution mask.
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
    without_pixels,
)


class LazyMask:
    """A mask that is computed on first access, and pickled as run-length encoding."""

    def __init__(self, decide: Callable[[], Rle]) -> None:
        self._decide: Callable[[], Rle] | None = decide
        self._rle: Rle | None = None

    @property
    def rle(self) -> Rle:
        """Run-length encoding at the size of the image."""
        decide = self._decide
        if self._rle is None and decide is not None:
            self._rle, self._decide = decide(), None  # releases the image
        assert self._rle is not None
        return self._rle

    def __reduce__(self) -> tuple[Callable[[Rle], Rle], tuple[Rle]]:
        return replace, (self.rle,)


@brief
@dataclass(frozen=True, eq=False)
class Candidate:
    """One candidate of a prediction, as logits or as final pixels."""

    logits: FloatArray  # Decoder logits (h, w) float32 in model space, used as mask prompt
    geometry: Geometry  # Position of the image in model space
    score: float  # Expected IoU of this mask; calibrated for single clicks (`answer.expected_iou`)
    order: int = 0  # Index in the order of the model
    threshold: float = 0.0  # Logits above it are foreground
    # Logits (h, w) without small holes and islands, used for the displayed mask, or None
    cleaned: FloatArray | None = None
    # Run-length encoding at the size of the image, or a lazy one, if a step has set pixels
    finished: Rle | LazyMask | None = None
    # Whether `finished` only lacks small regions, so that its edge may still be refined
    tidied: bool = False
    label: str | None = None  # Class, for a model that was fine-tuned on classes
    label_probability: float | None = None  # Probability of the class

    @property
    def shown_logits(self) -> FloatArray:
        """Logits (h, w) of the displayed mask: the cleaned ones if available."""
        return self.logits if self.cleaned is None else self.cleaned

    def pixels(self) -> BoolArray:  # (H, W)
        """Decode the mask (H, W). Not cached."""
        if self.finished is not None:
            return rle_to_mask(self.rle())
        drawn: BoolArray = logits_to_masks(self.shown_logits[None], self.geometry, self.threshold)[
            0
        ]
        return drawn

    def rle(self) -> Rle:
        """Run-length encoding of the same pixels."""
        if isinstance(self.finished, LazyMask):
            return self.finished.rle
        if self.finished is not None:
            return self.finished
        return logits_to_rles(self.shown_logits[None], self.geometry, self.threshold)[0]

    def with_logits(self, logits: FloatArray) -> Candidate:
        """Copy with other logits (h, w), also used as mask prompt."""
        return replace(self, logits=logits, cleaned=None, finished=None, tidied=False)

    def with_cleaned(self, logits: FloatArray) -> Candidate:
        """Copy with cleaned logits (h, w); the mask prompt is unchanged."""
        return replace(self, cleaned=logits, finished=None, tidied=False)

    def with_pixels(self, pixels: BoolArray, *, tidied: bool = False) -> Candidate:
        """Copy with final pixels (H, W); the mask prompt is unchanged."""
        return replace(self, finished=mask_to_rle(pixels), tidied=tidied)

    def cells(self) -> int:
        """Number of foreground cells of the logits, without the padding."""
        rows, columns = self.geometry.filled_cells(self.logits.shape[-1])
        return int(np.count_nonzero(self.shown_logits[:rows, :columns] > self.threshold))


AMBIGUITY_MARGIN = 0.03  # minimum score difference of an unambiguous first mask
AMBIGUITY_IOU = 0.65  # masks with a higher IoU are equivalent to most users


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
        """Create from decoder output, best candidate first."""
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
        scores = ", ".join(f"{one.score:.2f} {percent(one.coverage)}" for one in self)
        toss = ", ambiguous" if self.ambiguous else ""
        return f"<Prediction: {len(self)} of {width}x{height}: {scores}{toss}>"

    def __getstate__(self) -> dict[str, Any]:
        made = ("logits", "scores", "order", "masks", "_made")
        kept = {k: value for k, value in vars(self).items() if k not in made}
        return kept | {"picture": without_pixels(self.picture)}

    @property
    def first(self) -> Candidate:
        """Data of the first mask."""
        return self.items[0]

    @property
    def best(self) -> Mask:
        """The most likely mask: the first one."""
        return self[0]

    @property
    def mask(self) -> BoolArray:
        """Pixels of the best mask, (H, W) bool. Not cached."""
        return self.first.pixels()

    @property
    def ambiguous(self) -> bool:
        """Whether the first two masks differ and the score of the first is hardly higher.

        Their IoU is below AMBIGUITY_IOU, and the first score exceeds the second by less than
        AMBIGUITY_MARGIN. For one-click predictions of the bundled model, the second mask is then
        nearly as often the better one (docs/explanation/prompts.md). Add a click or a box to
        resolve it.
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
        """Position of the image in model space."""
        return self.first.geometry

    @property
    def threshold(self) -> float:
        """Logits above it are foreground."""
        return self.first.threshold

    @cached_property
    def logits(self) -> FloatArray:
        """Decoder logits (K, h, w) float32 in model space, for use as mask prompt (`mask=`).

        The displayed masks may lack small holes and islands; see `shown_logits`.
        """
        return np.stack([one.logits for one in self.items])

    @property
    def shown_logits(self) -> FloatArray:
        """Logits (K, h, w) float32 of the displayed masks, unless their pixels are final."""
        return np.stack([one.shown_logits for one in self.items])

    @cached_property
    def scores(self) -> FloatArray:
        """Expected IoU of each mask (K,) float32, descending unless `granularity` chose a mask."""
        return np.array([one.score for one in self.items], np.float32)

    @cached_property
    def order(self) -> IntArray:
        """Index of each candidate in the order of the model, (K,) int64."""
        return np.array([one.order for one in self.items], np.int64)

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (K, H, W) bool in image pixels, cached."""
        if any(one.finished is not None for one in self.items):
            return np.stack([one.pixels() for one in self.items])
        return logits_to_masks(self.shown_logits, self.geometry, self.threshold)

    def rles(self) -> list[Rle]:
        """Run-length encodings of the masks."""
        if any(one.finished is not None for one in self.items):
            return [one.rle() for one in self.items]
        return logits_to_rles(self.shown_logits, self.geometry, self.threshold)

    def cells(self) -> IntArray:
        """Number of foreground cells of each low-resolution mask (K,), without the padding."""
        return np.array([one.cells() for one in self.items], np.int64)

    def picked(self, places: Sequence[int]) -> Prediction:
        """Select candidates in the given order.

        Raises:
            InputError: An index is invalid.
        """
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
        """Granularity of a candidate, for `segment(..., granularity=...)` of later clicks.

        Returns:
            A number from 0, the smallest candidate (a part), to 1, the largest (the whole), or
            "all" if there is no choice.

        Raises:
            InputError: The index is invalid.
        """
        self._check_place(index)
        sizes = self.cells()
        some = np.flatnonzero(sizes)
        if len(some) < 2 or not sizes[index]:
            return "all"
        by_size = some[np.argsort(sizes[some], kind="stable")].tolist()
        return float(by_size.index(index) / (len(some) - 1))

    # Conversion and output.

    def polygons(self, tolerance: float = SMOOTH, min_area: float = 0.0) -> list[Polygon]:
        """Return the outlines of the first mask (see `Mask.polygons`)."""
        return self.best.polygons(tolerance, min_area)

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> dict[str, Any]:
        """Return a COCO annotation of the first mask, with RLE."""
        return self.best.to_coco(1, image_id, category_id)

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections` of all candidates.

        Raises:
            InputError: supervision is not installed.
        """
        return Masks(self).to_supervision()

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame` with one row per candidate.

        Raises:
            InputError: pandas is not installed.
        """
        return Masks(self).to_dataframe()

    def draw(self, image: UintImage | None = None) -> UintImage:  # (H, W, 3)
        """Draw the first mask and the prompt on the image.

        Raises:
            InputError: No image is known, or it has another size.
        """
        from anymask.formats import mask_picture

        masks = Masks([self.best], picture=self.picture)
        drawn: UintImage = mask_picture("overlay", masks, image, [*filter(None, [self.prompt])])
        return drawn

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write the first mask. The suffix selects the format, as on the command line.

        .png, .webp, .tif: cut-out. .jpg, .overlay.png: image with the mask. .mask.png: binary mask.
        .json, .csv, .svg, .geojson, .txt (YOLO), .npy (H, W) bool.

        Args:
            path: Output file. Parent folders are created.
            image: Image (H, W, 3), if the prediction has no reference to it.

        Raises:
            InputError: The suffix is unknown, the format requires an image, or the output is the
                image.
        """
        from anymask.formats import save_masks

        masks = Masks([self.best], picture=self.picture)
        prompts = [*filter(None, [self.prompt])]
        return save_masks(masks, Path(path), image, plain="cutout", prompts=prompts, one=True)

    def show(self, image: UintImage | None = None) -> None:
        """Open the image with the first mask in the system's image viewer."""
        show_picture(self.draw(image))

    def _repr_png_(self) -> bytes | None:
        return None if self.picture is None else preview_of(self.draw)

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [repr(one) for one in self], self._repr_png_())


Previous = Prediction | Sequence[Prediction | None] | None  # for one prompt, or for each of several
