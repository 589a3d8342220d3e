"""`Prediction`: the candidate masks for one prompt, and their postprocessing.

Postprocessing applies clicks, removes small regions and refines edges.

Letters: K candidates, H W the image or the window around the object, h w a low-resolution mask,
P clicks, m the side of low-resolution logits, n the cells of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, overload

import cv2
import numpy as np
from numpy.typing import NDArray

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
from anymask.masks import EDGE_SIDE as SIDE
from anymask.masks import (
    OPENCV,
    STABILITY_OFFSET,
    TOLERANCE,
    Geometry,
    LazyImage,
    Mask,
    Masks,
    MinArea,
    Origin,
    Polygon,
    Prompt,
    Rle,
    clean_logits,
    clean_mask,
    enlarged_rle,
    iou,
    logits_at,
    logits_to_image,
    logits_to_masks,
    logits_to_rles,
    mask_to_rle,
    percent,
    pixels_to_cells,
    point_pixels,
    preview_of,
    reduced,
    rle_to_mask,
    show_image,
    stability_score,
    violated_points,
    without_pixels,
)
from anymask.runtime import RefineEdge


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
        return logits_to_masks(self.shown_logits[None], self.geometry, self.threshold)[0]

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
        source_image: Function that reads the image for `show` and `save`, if known.
        origin: The model that predicted the masks, if known.
    """

    items: tuple[Candidate, ...]
    violated_points: tuple[int, ...] = ()
    prompt: Prompt | None = None
    source_image: LazyImage | None = None
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
            tuple(Candidate(plane, geometry, q, number, threshold) for plane, q, number in rows)
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
            mask, points = self.items[index], None if self.prompt is None else self.prompt.points
            made[index] = Mask(
                mask.rle(),
                mask.label,
                score=float(mask.score),
                stability=float(
                    stability_score(mask.shown_logits, mask.threshold, STABILITY_OFFSET)
                ),
                points=() if points is None else tuple((x, y) for x, y in points.tolist()),
                label_probability=mask.label_probability,
                source_image=self.source_image,
                origin=self.origin,
            )
        return made[index]

    def __repr__(self) -> str:
        height, width = self.geometry.image_hw
        scores = ", ".join(f"{mask.score:.2f} {percent(mask.coverage)}" for mask in self)
        toss = ", ambiguous" if self.ambiguous else ""
        return f"<Prediction: {len(self)} of {width}x{height}: {scores}{toss}>"

    def __getstate__(self) -> dict[str, Any]:
        made = ("logits", "scores", "order", "masks", "_made")
        kept = {k: value for k, value in vars(self).items() if k not in made}
        return kept | {"source_image": without_pixels(self.source_image)}

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
        return np.stack([mask.logits for mask in self.items])

    @property
    def shown_logits(self) -> FloatArray:
        """Logits (K, h, w) float32 of the displayed masks, unless their pixels are final."""
        return np.stack([mask.shown_logits for mask in self.items])

    @cached_property
    def scores(self) -> FloatArray:
        """Expected IoU of each mask (K,) float32, descending unless `granularity` chose a mask."""
        return np.array([mask.score for mask in self.items], np.float32)

    @cached_property
    def order(self) -> IntArray:
        """Index of each candidate in the order of the model, (K,) int64."""
        return np.array([mask.order for mask in self.items], np.int64)

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (K, H, W) bool in image pixels, cached."""
        if any(mask.finished is not None for mask in self.items):
            return np.stack([mask.pixels() for mask in self.items])
        return logits_to_masks(self.shown_logits, self.geometry, self.threshold)

    def rles(self) -> list[Rle]:
        """Run-length encodings of the masks."""
        if any(mask.finished is not None for mask in self.items):
            return [mask.rle() for mask in self.items]
        return logits_to_rles(self.shown_logits, self.geometry, self.threshold)

    def cells(self) -> IntArray:
        """Number of foreground cells of each low-resolution mask (K,), without the padding."""
        return np.array([mask.cells() for mask in self.items], np.int64)

    def picked(self, places: Sequence[int]) -> Prediction:
        """Select candidates in the given order.

        Raises:
            InputError: An index is invalid.
        """
        given: object = places
        for index in given if isinstance(given, Sequence | np.ndarray) else [given]:
            self._check_place(index)
        return replace(self, items=tuple(self.items[index] for index in places))

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

    def polygons(self, tolerance: float = TOLERANCE, min_area: float = 0.0) -> list[Polygon]:
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
        from anymask.formats import mask_image

        masks = Masks([self.best], source_image=self.source_image)
        return mask_image("overlay", masks, image, [*filter(None, [self.prompt])])

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

        masks = Masks([self.best], source_image=self.source_image)
        prompts = [*filter(None, [self.prompt])]
        return save_masks(masks, Path(path), image, plain="cutout", prompts=prompts, one=True)

    def show(self, image: UintImage | None = None) -> None:
        """Open the image with the first mask in the system's image viewer."""
        show_image(self.draw(image))

    def _repr_png_(self) -> bytes | None:
        return None if self.source_image is None else preview_of(self.draw)

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [repr(mask) for mask in self], self._repr_png_())


Previous = Prediction | Sequence[Prediction | None] | None  # for one prompt, or for each of several


ImageClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) x and y in pixels, (P,) labels
NO_CLICKS: ImageClicks = (np.zeros((0, 2)), np.zeros(0))


# Clicks.
#
# Negative clicks are applied to the logits (`masks.apply_negative_points`), which are the mask
# prompt of the next prediction. At the end, a positive click outside the mask sets its own pixel in
# any case. If two clicks on one pixel contradict each other, the negative one takes precedence and
# the positive one is reported as violated.


def clicks_of(prompt: Prompt) -> ImageClicks:
    """Points and labels of a prompt, possibly empty."""
    if prompt.points is None or prompt.labels is None:
        return NO_CLICKS
    return prompt.points, prompt.labels


def violated(mask: Candidate, prompt: Prompt) -> tuple[int, ...]:
    """Indices of the clicks that a mask violates."""
    if prompt.points is None or prompt.labels is None:
        return ()
    if mask.finished is not None:
        return violated_points(mask.pixels(), prompt.points, prompt.labels)
    pixels = point_pixels(prompt.points, mask.geometry.image_hw)
    inside = logits_at(mask.shown_logits[None], pixels, mask.geometry)[0] > mask.threshold
    return tuple(int(index) for index in np.flatnonzero(inside != (prompt.labels == 1)))


def apply_clicks(answer: Prediction, prompt: Prompt) -> Prediction:
    """Set the clicked pixels of every candidate to their labels."""
    if prompt.points is None or prompt.labels is None:
        return answer
    pixels = point_pixels(prompt.points, answer.geometry.image_hw)
    items = []
    for mask in answer.items:
        if mask.finished is not None:
            later = LazyMask(partial(_with_clicked, mask, pixels, prompt.labels))
            mask = replace(mask, finished=later)
        elif violated(mask, prompt):
            mask = replace(mask, finished=_with_clicked(mask, pixels, prompt.labels))
        items.append(mask)
    return replace(answer, items=tuple(items), violated_points=violated(items[0], prompt))


def _with_clicked(mask: Candidate, pixels: NDArray[np.intp], labels: NDArray[Any]) -> Rle:
    """Run-length encoding of a mask with the clicked pixels set to their labels."""
    drawn, (columns, rows) = mask.pixels(), pixels.T
    if (drawn[rows, columns] == labels).all():
        return mask.rle()
    for label in (1, 0):
        drawn[rows[labels == label], columns[labels == label]] = label
    return mask_to_rle(drawn)


# Small regions.
#
# Shares of a mask are measured in cells of its logits, pixel counts in the image. Only the
# displayed mask is cleaned: the original logits are the mask prompt of the next click, because
# cleaned logits make its prediction worse (docs/explanation/prompts.md).


def without_small_regions(
    mask: Candidate, clicks: ImageClicks, holes: MinArea, islands: MinArea
) -> Candidate:
    """Remove holes and islands below some areas, except those with a click; unchanged if none."""
    points, labels = clicks
    if holes.share or islands.share:
        pixels = point_pixels(points, mask.geometry.image_hw)
        cells = pixels_to_cells(pixels, mask.logits.shape, mask.geometry), labels
        shares = (holes.share, islands.share)
        logits = clean_logits(
            mask.shown_logits, mask.geometry, cells, shares, mask.threshold, OPENCV
        )
        if logits is not mask.shown_logits:  # the mask prompt is unchanged
            mask = replace(mask, cleaned=logits, finished=None, tidied=False)
    if holes.pixels or islands.pixels:
        cleaned = clean_except_clicked(mask.pixels(), clicks, holes.pixels, islands.pixels)
        mask = mask.with_pixels(cleaned, tidied=True)
    return mask


def clean_except_clicked(
    mask: BoolArray, clicks: ImageClicks, max_hole_area: float, min_island_area: float
) -> BoolArray:  # (H, W)
    """`clean_mask`, but regions with a click are kept."""
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    points, labels = clicks
    lost = set(violated_points(cleaned, points, labels))
    lost -= set(violated_points(mask, points, labels))
    if not lost:
        return cleaned
    _, parts = cv2.connectedComponents((cleaned != mask).view(np.uint8), connectivity=8)
    for x, y in np.floor(points[sorted(lost)]).astype(int):
        spared = parts == parts[y, x]
        cleaned[spared] = mask[spared]
    return cleaned


# Edges at image resolution.
#
# Mask cells cover many pixels (nano: 128 cells along the image), so edges are accurate to about one
# cell, while the image shows them exactly. An edge network (`runtime.RefineEdge`), if the model
# has one, predicts a correction of the logits around the object. Pixels determined by a click or
# the box stay unchanged. Holes and islands along the edge below the settings' sizes are removed.

LONGEST = 2048  # pixels: larger images are downscaled for edge refinement


def with_fine_edges(
    answer: Prediction,
    image: UintImage,
    prompt: Prompt,
    least: tuple[MinArea, MinArea],
    network: RefineEdge,
) -> Prediction:
    """Refine the edges of the candidates, unless their pixels are final.

    The first mask is refined immediately, the others when their pixels are read.

    Args:
        answer: The prediction.
        image: Image (H, W, 3), possibly smaller than that of the prediction.
        prompt: Prompt in image pixels.
        least: Minimum areas of holes and islands.
        network: The edge network.
    """
    first = answer.first
    if first.finished is not None and not first.tidied:
        return answer
    height, width = reduced(answer.geometry, LONGEST).image_hw
    if max(height, width) <= first.logits.shape[-1]:  # the mask is as fine as the image
        return answer
    image = image_for_edges(image, answer.geometry)
    scale = width / answer.geometry.image_hw[1]
    prompt = scaled_prompt(prompt, scale)
    areas = scaled_area(least[0], scale), scaled_area(least[1], scale)
    later = []
    for mask in answer.items:  # each copies its window, because the caller may overwrite the image
        cells = mask.shown_logits - np.float32(mask.threshold)
        window = window_around(cells, reduced(mask.geometry, LONGEST))
        part = None if window is None else window_image(image, window)
        later.append(LazyMask(partial(_fine_pixels, mask, prompt, areas, network, window, part)))
    decided: list[Rle | LazyMask] = [later[0].rle, *later[1:]]
    items = zip(answer.items, decided, strict=True)
    return replace(
        answer, items=tuple(replace(mask, finished=done, tidied=False) for mask, done in items)
    )


def _fine_pixels(
    mask: Candidate,
    prompt: Prompt,
    areas: tuple[float, float],
    network: RefineEdge,
    window: EdgeWindow | None,
    image: UintImage | None,
) -> Rle:
    """Pixels of a candidate with refined edges, at the size of the image."""
    geometry = reduced(mask.geometry, LONGEST)
    drawn = logits_to_image(mask.shown_logits[None], geometry)[0] - np.float32(mask.threshold)
    fine = drawn > 0
    if window is not None and image is not None:
        cells = window_logits(mask.shown_logits - np.float32(mask.threshold), window)
        add_change(drawn, network(image, cells, window_prompt(prompt, window)), window)
        fine = np.where(prompt_fixed_pixels(prompt, geometry.image_hw), fine, drawn > 0)
    rle = mask_to_rle(remove_small_components(fine, clicks_of(prompt), areas))
    whole = mask.geometry.image_hw
    return rle if geometry.image_hw == whole else enlarged_rle(rle, whole)


def image_for_edges(image: UintImage, geometry: Geometry) -> UintImage:
    """Image (H, W, 3) at the resolution of edge refinement."""
    height, width = reduced(geometry, LONGEST).image_hw
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_prompt(prompt: Prompt, scale: float) -> Prompt:
    """Scale the points and box of a prompt."""
    points, box = (
        None if part is None else part * np.float32(scale) for part in (prompt.points, prompt.box)
    )
    return replace(prompt, points=points, box=box)


def scaled_area(least: MinArea, scale: float) -> float:
    """Share of the mask, or pixels of the scaled image; 0 if below one pixel."""
    pixels = least.pixels * scale**2
    return least.share or (pixels if pixels >= 1 else 0.0)


def prompt_fixed_pixels(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:  # (H, W)
    """Pixels that the prompt determines: around the clicks and outside the box."""
    fixed = np.zeros(hw, np.bool_)
    if prompt.box is not None:
        x0, y0, x1, y1 = np.rint(prompt.box).astype(int).tolist()
        fixed[:] = True
        fixed[max(y0, 0) : y1, max(x0, 0) : x1] = False
    if prompt.points is not None:
        for x, y in point_pixels(prompt.points, hw).tolist():
            fixed[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    return fixed


def remove_small_components(
    mask: BoolArray, clicks: ImageClicks, least: tuple[float, float]
) -> BoolArray:  # (H, W) -> (H, W)
    """Remove holes and islands below a share of the mask (below 1) or a number of pixels.

    Regions with a click are kept.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not any(least) or not len(rows):
        return mask
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    points, labels = clicks[0] - np.array([columns[0], rows[0]], np.float32), clicks[1]
    inside = ((points >= 0) & (points < mask[window].shape[::-1])).all(axis=1)
    mask[window] = clean_except_clicked(mask[window], (points[inside], labels[inside]), *least)
    return mask


# Windows of the edge network.
#
# A window is a square of low-resolution cells around the object. The edge network
# (`models/edge_refiner.py`) receives the image inside it at `SIDE` x `SIDE` pixels, the cells, and
# the prompt as maps; its output is added to the logits of the image.

MIN_MARGIN, MARGIN_SHARE = 4, 0.12  # around the object: minimum cells, and share of its longer side
MIN_WINDOW_CELLS = 16  # minimum cells of a window
CLICK_SIGMA = 5.0  # sigma of a click in window pixels


@dataclass(frozen=True)
class EdgeWindow:
    """A square of cells, which may extend beyond the logits."""

    x: int  # Column of its first cell
    y: int  # Row of its first cell
    cells: int  # Number n of cells along a side
    pixel: tuple[float, float]  # Width and height of a cell in image pixels

    @property
    def to_image(self) -> FloatArray:  # (2, 3)
        """Affine map from window pixels to image pixels, with pixel centres at integers."""
        (px, py), step = self.pixel, self.cells / SIDE
        return np.array(
            [
                [step * px, 0, (self.x + step / 2) * px - 0.5],
                [0, step * py, (self.y + step / 2) * py - 0.5],
            ],
            np.float32,
        )


def window_around(logits: FloatArray, geometry: Geometry) -> EdgeWindow | None:  # (m, m)
    """Window of the object above 0, or None if there is no object in the image."""
    side = logits.shape[-1]
    rows, columns = geometry.filled_cells(side)
    shown = logits[:rows, :columns] > 0
    ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(ys):
        return None
    longer = int(max(xs[-1] - xs[0], ys[-1] - ys[0])) + 1
    margin = max(MIN_MARGIN, round(MARGIN_SHARE * longer))
    x0, x1 = max(int(xs[0]) - margin, 0), min(int(xs[-1]) + 1 + margin, columns)
    y0, y1 = max(int(ys[0]) - margin, 0), min(int(ys[-1]) + 1 + margin, rows)
    cells = max(x1 - x0, y1 - y0, MIN_WINDOW_CELLS)
    cell = geometry.side / side
    pixel = (cell / geometry.scale_xy[0], cell / geometry.scale_xy[1])
    return EdgeWindow((x0 + x1 - cells) // 2, (y0 + y1 - cells) // 2, cells, pixel)


def window_logits(logits: FloatArray, window: EdgeWindow) -> FloatArray:  # (m, m) -> (n, n)
    """Cells of the window, replicated beyond the logits."""
    rows = np.clip(np.arange(window.y, window.y + window.cells), 0, logits.shape[0] - 1)
    columns = np.clip(np.arange(window.x, window.x + window.cells), 0, logits.shape[1] - 1)
    return np.ascontiguousarray(logits[np.ix_(rows, columns)], np.float32)


def window_mask(mask: BoolArray, window: EdgeWindow) -> BoolArray:  # (H, W) -> (SIDE, SIDE)
    """Mask of the image in the window."""
    return window_image(mask.view(np.uint8) * np.uint8(255), window) > 127


def window_image(image: UintImage, window: EdgeWindow) -> UintImage:
    """Image in the window, (H, W, 3) -> (SIDE, SIDE, 3), by area mean if it shrinks."""
    matrix = window.to_image
    (x0, y0), (x1, y1) = (matrix @ (end, end, 1) for end in (-1.0, float(SIDE)))
    height, width = image.shape[:2]
    left, top = (int(np.clip(np.floor(v), 0, most - 1)) for v, most in ((x0, width), (y0, height)))
    right, bottom = (int(np.clip(np.ceil(v) + 1, low + 1, most))
                     for v, low, most in ((x1, left, width), (y1, top, height)))  # fmt: skip
    part = image[top:bottom, left:right]
    small = [
        max(1, round(length / max(1.0, float(step))))
        for length, step in ((right - left, matrix[0, 0]), (bottom - top, matrix[1, 1]))
    ]
    scale = np.array([small[0] / (right - left), small[1] / (bottom - top)])
    if small != [right - left, bottom - top]:
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
    inside = matrix.astype(np.float64) - [[0, 0, left], [0, 0, top]]
    inside *= scale[:, None]
    inside[:, 2] += (scale - 1) / 2  # pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(part, inside, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, np.uint8)


def window_prompt(prompt: Prompt, window: EdgeWindow) -> FloatArray:  # -> (2, SIDE, SIDE)
    """Prompt maps: clicks (1 foreground, -1 background), box (1 inside, -1 outside, 0 none)."""
    maps = np.zeros((2, SIDE, SIDE), np.float32)
    step = np.array(window.pixel) * window.cells / SIDE
    corner = np.array([window.x, window.y]) * window.pixel
    axis = np.arange(SIDE, dtype=np.float32)
    if prompt.points is not None and prompt.labels is not None:
        places = (prompt.points + 0.5 - corner) / step - 0.5
        for (x, y), label in zip(places.tolist(), prompt.labels.tolist(), strict=True):
            across, down = (np.exp(-(((axis - at) / CLICK_SIGMA) ** 2) / 2) for at in (x, y))
            spot = np.outer(down, across).astype(np.float32)
            maps[0] += spot if label > 0 else -spot
    if prompt.box is not None:
        (x0, y0), (x1, y1) = ((prompt.box.reshape(2, 2) - corner) / step).tolist()
        across, down = (
            (axis + 0.5 > low) & (axis + 0.5 < high) for low, high in ((x0, x1), (y0, y1))
        )
        maps[1] = 2 * np.outer(down, across).astype(np.float32) - 1
    return maps


def add_change(logits: FloatArray, change: FloatArray, window: EdgeWindow) -> None:
    """Add a window's correction (SIDE, SIDE) to the logits of an image (H, W), in place."""
    matrix = window.to_image.astype(np.float64)
    height, width = logits.shape
    (x0, y0), (x1, y1) = (matrix @ (end, end, 1) for end in (-0.5, SIDE - 0.5))
    left, top = (int(np.clip(np.ceil(v), 0, most)) for v, most in ((x0, width), (y0, height)))
    right, bottom = (
        int(np.clip(np.floor(v) + 1, 0, most)) for v, most in ((x1, width), (y1, height))
    )
    if right <= left or bottom <= top:
        return
    inside = np.array(
        [
            [1 / matrix[0, 0], 0, (left - matrix[0, 2]) / matrix[0, 0]],
            [0, 1 / matrix[1, 1], (top - matrix[1, 2]) / matrix[1, 1]],
        ]
    )
    logits[top:bottom, left:right] += cv2.warpAffine(
        change,
        inside,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
