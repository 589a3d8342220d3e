"""Choose, rank and clean the masks of a decoder, using only NumPy.

`anymask export` copies this file next to the `example.py` of an exported model, so that the package
and the export share one implementation. It must not import anymask or OpenCV.

A decoder returns T masks for each prompt. The selection depends on the model family:

    sam                 a single click: the three masks trained for whole, part and subpart;
                        an unambiguous prompt: the first mask (Segment Anything, section 3,
                        "Resolving ambiguity")
    sam_hq              one mask, with the last one added as a correction (Ke et al. 2023,
                        section 3.2)
    efficient_sam       all masks for every prompt
    with table ranking  `LearnedRules`: all T masks compete

Then negative clicks are applied (`apply_negative_points`), and small holes and islands are removed
(`clean_logits`). Both edit the logits, which are the mask prompt of the next click.

Letters: H W the image, S the side of the model's input, N prompts, P points, T masks of the
decoder, K candidates, m the side of a mask, h w its part covered by the image, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Floats = NDArray[np.float64]
IntArray = NDArray[np.int64]
Indices = NDArray[np.intp]

NO_POINT, NEGATIVE, POSITIVE, CORNERS = -1, 0, 1, (2, 3)  # values of ModelPrompts.labels

# The K candidates of one prompt, best first: logits (K, m, m); quality (K,), predicted IoU of each
# mask; order (K,), index of each candidate in the order of the model.
Ordered = tuple[FloatArray, FloatArray, IntArray]
Multimask = bool | Literal["auto"]
Ranking = Literal["expected", "own"]
Start = Literal["click", "box", "mask"]
Tables = Mapping[str, Any]  # learned parameters by name, as in the bundle's tables.json


@dataclass(frozen=True)
class Geometry:
    """Position of an image in model space."""

    image_hw: tuple[int, int]  # Height and width of the image in pixels
    # Height and width of the S x S model input covered by the image; the rest is padding
    input_hw: tuple[int, int]
    side: int  # Side S of the model input

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per image pixel, along x and along y."""
        return (self.input_hw[1] / self.image_hw[1], self.input_hw[0] / self.image_hw[0])

    def filled_cells(self, side: int) -> tuple[int, int]:
        """Rows and columns of a `side` x `side` map that the image covers, at least in part."""
        rows, columns = (-(-filled * side // self.side) for filled in self.input_hw)
        return rows, columns


@dataclass(frozen=True, eq=False)
class ModelPrompts:
    """N prompts of equal length in model space, the input of a decoder."""

    coords: FloatArray  # Points (N, P, 2) float32 in model pixels
    # Labels (N, P) int64: 1 object, 0 background, 2 and 3 box corners, -1 no point
    labels: IntArray
    masks: FloatArray  # Logits (N, 1, m, m) float32, zeros without a mask prompt
    has_mask: FloatArray  # (N,) float32, 1 if `masks` is used
    vectors: FloatArray | None = None  # Tokens (N, V, D) float32 appended to the points, or None

    def __repr__(self) -> str:
        n, p = self.labels.shape
        return f"<ModelPrompts: {n} of {p} points, {int(self.has_mask.sum())} with a mask>"


Decode = Callable[[ModelPrompts], tuple[FloatArray, FloatArray]]  # -> (N, T, m, m), (N, T)


class MaskSpec(Protocol):
    """Fields of a model specification that the selection requires."""

    @property
    def image_side(self) -> int: ...

    @property
    def mask_side(self) -> int: ...

    @property
    def mask_threshold(self) -> float: ...


# --- image pixels to mask cells


def point_pixels(points: ArrayLike, image_hw: tuple[int, int]) -> Indices:  # (P, 2) -> (P, 2)
    """Pixel (x, y) that contains each point; rounds down, as `prompts.violated_points` does."""
    height, width = image_hw
    pixels: Indices = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.intp)
    return np.clip(pixels, 0, (width - 1, height - 1))


def pixels_to_cells(
    pixels: Indices, low_hw: tuple[int, ...], geometry: Geometry
) -> Floats:  # (P, 2) x, y -> (P, 2) row, column
    """Convert pixels to low-resolution coordinates, with cell centres at integers."""
    scale = np.array(geometry.input_hw) / geometry.image_hw * np.array(low_hw) / geometry.side
    places: Floats = (pixels[:, ::-1] + 0.5) * scale - 0.5
    return places


def cell_weights(
    pixels: Indices, low_side: int, geometry: Geometry, axis: int
) -> FloatArray:  # (P,) -> (P, low_side)
    """Bilinear weight of each low-resolution row (axis 0) or column (axis 1) for each pixel."""
    weights = np.zeros((len(pixels), low_side), np.float32)
    rows = np.arange(len(pixels))
    for place, share in _pairs(pixels, geometry.input_hw[axis], geometry.image_hw[axis]):
        for cell, part in _pairs(place, low_side, geometry.side):
            np.add.at(weights, (rows, cell), share * part)
    return weights


def _pairs(places: Indices, old: int, new: int) -> list[tuple[Indices, FloatArray]]:
    """Both neighbours of each place and their bilinear weights."""
    first, second, share = bilinear_taps(places, old, new)
    return [(first, 1 - share), (second, share)]


def bilinear_taps(
    places: Indices, old: int, new: int
) -> tuple[Indices, Indices, FloatArray]:  # (P,) -> (P,) each
    """Both neighbours among `old` samples of each half-pixel place, and the second's weight."""
    place = np.maximum((places + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(place.astype(np.intp), old - 1)
    return first, np.minimum(first + 1, old - 1), (place - first).astype(np.float32)


# --- measures of a mask


class Shapes(NamedTuple):
    """Functions that measure a mask (h, w): those of `shapes.py`, or OpenCV's in the package."""

    # Mask and connectivity (4 or 8) -> (h, w) integers: 0 outside, 1, 2, ... per part.
    parts: Callable[[BoolArray, int], NDArray[Any]]
    # Mask -> (h, w) float32 distance to the background in cells. The border counts as background.
    depths: Callable[[BoolArray], FloatArray]


# --- candidates of a prompt


def is_single_click(prompts: ModelPrompts) -> list[bool]:
    """Whether each prompt is a single positive click without a mask (the ambiguous case)."""
    labels = prompts.labels
    single = ((labels == POSITIVE).sum(axis=1) == 1) & ((labels >= 0).sum(axis=1) == 1)
    alone: list[bool] = (single & (prompts.has_mask == 0)).tolist()
    return alone


def is_multimask(prompts: ModelPrompts, multimask: Multimask) -> list[bool]:
    """Whether each prompt returns several candidates."""
    if multimask == "auto":
        return is_single_click(prompts)
    return [bool(multimask)] * len(prompts.labels)


def by_quality(logits: FloatArray, quality: FloatArray) -> Ordered:  # (K, m, m), (K,)
    """Sort candidates by quality, highest first; the sort is stable."""
    return in_order(logits, quality, np.argsort(-quality, kind="stable"))


def in_order(logits: FloatArray, quality: FloatArray, order: Any) -> Ordered:
    """Reorder candidates."""
    places = np.asarray(order, np.int64)
    return logits[places], quality[places], places


# (N, T, m, m), (N, T) -> (N, K, m, m), (N, K)
Choice = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def _masks(start: int, stop: int | None) -> Choice:
    """Select the masks from `start` to `stop`, in the order of the model."""
    return lambda logits, quality: (logits[:, start:stop], quality[:, start:stop])


def _best_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    best = quality[:, 1 : logits.shape[1] - 1].argmax(axis=1) + 1
    return _corrected(logits, quality, best)


def _first_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _corrected(logits, quality, np.zeros(len(logits), np.int64))


def _corrected(
    logits: FloatArray, quality: FloatArray, chosen: IntArray
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T), (N,) -> (N, 1, m, m), (N, 1)
    """Add the last mask to the chosen ones; the quality array may omit the correction."""
    rows = np.arange(len(logits))
    masks = logits[rows, chosen] + logits[:, -1]
    return masks[:, None], quality[rows, chosen][:, None]


# By family: the selection for an ambiguous prompt, and for an unambiguous one.
CHOICES: Mapping[str, tuple[Choice, Choice]] = {
    "sam": (_masks(1, None), _masks(0, 1)),
    "sam_hq": (_best_corrected, _first_corrected),
    "efficient_sam": (_masks(0, None), _masks(0, None)),
}


def choose(
    decode: Decode, prompts: ModelPrompts, multimask: Multimask, choices: tuple[Choice, Choice]
) -> list[Ordered]:
    """Decode N prompts and sort the candidates of each by predicted IoU."""
    logits, quality = decode(prompts)
    answers = []
    for row, many in enumerate(is_multimask(prompts, multimask)):
        pick = choices[0] if many else choices[1]
        masks, numbers = pick(logits[row : row + 1], quality[row : row + 1])
        answers.append(by_quality(masks[0], numbers[0]))
    return answers


def answer(
    decode: Decode, prompts: ModelPrompts, place: Geometry, family: str, rules: LearnedRules
) -> list[Ordered]:
    """Candidates of N prompts by the rules of a family, as `Model.segment` returns them."""
    if "ranking" in rules.tables:
        return rules.answer(decode, prompts, place, "auto", "expected")
    return choose(decode, prompts, "auto", CHOICES[family])


# --- learned rules
#
# All four mask tokens of `nano` and `small` are trained on every kind of prompt, so all of them
# compete.
#
# A single click returns three of them, each reduced to the connected part under it. A network with
# eight hidden units predicts the probability that each mask is the intended one (`probabilities`)
# from 15 features (`CHOICE_FEATURES`) and their mean over the masks. The mask with the highest
# expected IoU (`expected_ious`) comes first; the least useful one is dropped: an unlikely mask or a
# near duplicate. The weights are the table "ranking", fitted on training images by
# `research/fit_ranking.py`. The score is calibrated from predicted IoU and `expected_ious`
# (`expected_iou`; the table "expected" of the same program), and descends in this order.
#
# An unambiguous prompt returns the mean of the four (`weighted_mean_mask`), weighted by expected
# IoU, with quality as the probability of each mask. Small parts without a click are removed first
# (`without_parts`). A box without clicks is decoded a second time, with the first mask and a click
# at its deepest cell, as in training (`training/interaction.py`).

MIN_PART = 0.2  # of the area of a mask's largest part
IOU_TEMPERATURE = 8.0  # a mask of half the expected IoU has exp(-4) times the weight
MIN_REGION = 0.05  # of the mask's area: smaller holes and islands are removed by default
LOGIT_MARGIN = 2.0  # minimum distance in logits to the threshold of a filled or removed cell
UNCERTAIN_LOGIT = 1.0  # logits within this distance of the threshold are uncertain
MIN_NUMBER = 1e-4  # predicted IoU is clipped to this distance from 0 and 1
MAX_CENTROID_DISTANCE = 2.0  # upper limit of the distance between click and centroid, in mask sides

CHOICE_FEATURES = (
    "quality",  # predicted IoU
    "depth",  # of the click, relative to the deepest cell of the mask
    "size",  # logarithm of the share of the image
    "stability",  # area that is certainly inside, relative to the area that may be inside
    "certain",  # probability that the click's cell is inside
    "rough",  # logarithm of the outline length in mask sides
    "fill",  # share of its box
    "thick",  # depth of its deepest cell, in sides
    "aside",  # distance from the click to the centroid, in sides
    "within",  # mean share of it inside another mask
    "doubt",  # uncertain cells per outline cell
    "first", "second", "third", "fourth",  # one-hot index of the mask token
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class RankingWeights:
    """Parameters of the ranking network, a linear part plus a tanh hidden layer."""

    direct: Floats  # Linear weights (F,)
    own: Floats  # Hidden weights (F, 8) of the features
    mean: Floats  # Hidden weights (F, 8) of the mean features over the T masks
    bias: Floats  # Hidden bias (8,)
    out: Floats  # Output weights (8,)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> RankingWeights:
        """Create from lists, as stored in the table."""
        return cls(**{name: np.array(values) for name, values in table.items()})


@dataclass(frozen=True)
class LearnedRules:
    """Selection where all T masks compete; `tables` has "ranking" and perhaps "expected"."""

    spec: MaskSpec
    tables: Tables
    shapes: Shapes

    @cached_property
    def weights(self) -> RankingWeights:
        """Parameters of the network that ranks the masks of a single click."""
        return RankingWeights.of(self.tables["ranking"])

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Select the three masks of highest quality, (N, T, m, m), in the order of the model."""
        rows = np.arange(len(logits))[:, None]
        best = np.sort(np.argsort(-quality, axis=1, kind="stable")[:, :3], axis=1)
        return logits[rows, best], quality[rows, best]

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """Decode N prompts and sort the candidates of each."""
        logits, quality = decode(prompts)
        if multimask is not True:
            logits, quality = self._decode_boxes_again(decode, prompts, (logits, quality))
        rows = zip(is_multimask(prompts, multimask), is_single_click(prompts), strict=True)
        answers = []
        for row, (many, lone) in enumerate(rows):
            if many and lone and ranking == "expected":
                ordered = self.ranked(logits[row], quality[row], prompts.coords[row, 0], place)
            elif many:
                masks, numbers = self.candidates(logits[row : row + 1], quality[row : row + 1])
                ordered = by_quality(masks[0], numbers[0])
            else:
                clicks = prompts.coords[row, prompts.labels[row] == POSITIVE]
                cells = [clicked_cell(click, place, self.spec) for click in clicks]
                ordered = by_quality(*self.weighted_mean_mask(logits[row], quality[row], cells))
            answers.append(ordered)
        return answers

    def ranked(
        self, logits: FloatArray, quality: FloatArray, click: FloatArray, place: Geometry
    ) -> Ordered:  # (T, m, m), (T,), (2,) in model pixels
        """Rank the masks of a single click and return the best three."""
        cells = [clicked_cell(click, place, self.spec)]
        logits = without_parts(logits, cells, np.inf, self.spec.mask_threshold, self.shapes)
        found, shared = mask_features(quality, logits, click, place, self.spec, self.shapes)
        likely = probabilities(found, self.weights)
        shown = rank_masks(likely, shared)[:3]
        places = np.array([sorted(shown).index(token) for token in shown], np.int64)
        scores = expected_iou(quality[shown], expected_ious(likely, shared)[shown], self.tables)
        return logits[shown], scores, places

    def _decode_boxes_again(
        self, decode: Decode, prompts: ModelPrompts, answer: tuple[FloatArray, FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Replace the masks of boxes without clicks by those of a second decoding."""
        logits, quality = answer
        bare = ((prompts.labels == NO_POINT) | np.isin(prompts.labels, CORNERS)).all(axis=1)
        boxed = np.isin(prompts.labels, CORNERS).any(axis=1)
        rows = np.flatnonzero(bare & boxed & (prompts.has_mask == 0))
        if not len(rows):
            return answer
        part = replace(
            prompts, coords=prompts.coords[rows], labels=prompts.labels[rows],
            masks=prompts.masks[rows], has_mask=prompts.has_mask[rows],
        )  # fmt: skip
        again = with_middle_clicks(part, logits[rows], quality[rows], self)
        logits, quality = logits.copy(), quality.copy()
        logits[rows], quality[rows] = decode(again)
        return logits, quality

    def weighted_mean_mask(
        self, logits: FloatArray, quality: FloatArray, cells: Sequence[tuple[int, int]]
    ) -> tuple[FloatArray, FloatArray]:  # (T, m, m), (T,) -> (1, m, m), (1,)
        """Average the masks without small parts, weighted by their expected IoU.

        Args:
            logits: Decoder logits (T, m, m).
            quality: Predicted IoU (T,), used as probability.
            cells: Clicked cells (x, y).

        Returns:
            The mean logits, and the quality of the mask with the largest weight.
        """
        threshold = self.spec.mask_threshold
        logits = without_parts(logits, cells, MIN_PART, threshold, self.shapes)
        value = expected_ious(
            np.maximum(quality, 0), pairwise_iou(pairwise_intersection(logits > threshold))
        )
        best = int(value.argmax())
        if value[best] <= 0:
            return logits[best : best + 1], quality[best : best + 1]
        weights = np.exp(IOU_TEMPERATURE * (value / value[best] - 1))
        mean = np.tensordot(weights / weights.sum(), logits.astype(np.float64), 1)
        return mean[None].astype(np.float32), quality[best : best + 1]


# --- one mask for an unambiguous prompt


def without_parts(
    logits: FloatArray,
    cells: Sequence[tuple[int, int]],
    least: float,
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (T, m, m) -> (T, m, m)
    """Remove small connected parts without a clicked cell; they are mostly other objects.

    Args:
        cells: Clicked cells (x, y).
        least: Minimum area relative to the largest part. At least one part stays.
    """
    kept = logits.copy()
    for plane in kept:
        labels = shapes.parts(plane > threshold, 4)
        sizes = np.bincount(labels.ravel())[1:]  # without the background
        if len(sizes) < 2:
            continue
        stays = np.zeros(len(sizes) + 1, np.bool_)
        stays[1:] = sizes >= least * sizes.max()
        stays[[labels[y, x] for x, y in cells]] = True
        stays[0] = False
        if not stays.any():
            stays[1 + sizes.argmax()] = True
        plane[(labels > 0) & ~stays[labels]] = threshold - LOGIT_MARGIN
    return kept


def with_middle_clicks(
    given: ModelPrompts, logits: FloatArray, quality: FloatArray, rules: LearnedRules
) -> ModelPrompts:  # P points -> P + 1 points
    """Add to N prompts their predicted masks and a click at each deepest cell."""
    answers, spec = zip(logits, quality, strict=True), rules.spec
    masks = np.concatenate([rules.weighted_mean_mask(*answer, ())[0] for answer in answers])
    clicks = [deepest_cell(mask > spec.mask_threshold, spec, rules.shapes) for mask in masks]
    places = np.array([click or (0.0, 0.0) for click in clicks], np.float32)[:, None]
    labels = np.array([POSITIVE if click else NO_POINT for click in clicks], np.int64)[:, None]
    coords = np.concatenate([given.coords, places], axis=1)
    labels = np.concatenate([given.labels, labels], axis=1)
    has_mask = np.ones(len(masks), np.float32)
    return replace(given, coords=coords, labels=labels, masks=masks[:, None], has_mask=has_mask)


def deepest_cell(
    mask: BoolArray, spec: MaskSpec, shapes: Shapes
) -> tuple[float, float] | None:  # (m, m)
    """Deepest point of a mask, (x, y) in model pixels, or None if it is empty."""
    if not mask.any():
        return None
    rounded = np.round(shapes.depths(mask), 3)  # makes ties independent of rounding errors
    y, x = np.unravel_index(int(rounded.argmax()), mask.shape)
    cell = spec.image_side / spec.mask_side
    return (float(x) + 0.5) * cell, (float(y) + 0.5) * cell


# --- order of the masks of a single click


def clicked_cell(click: FloatArray, place: Geometry, spec: MaskSpec) -> tuple[int, int]:
    """Mask cell (x, y) that contains a click, clipped to the cells that the image covers."""
    rows, columns = place.filled_cells(spec.mask_side)
    x, y = np.clip(click * (spec.mask_side / spec.image_side), 0, (columns - 1, rows - 1))
    return int(x), int(y)


def rank_masks(probabilities: Floats, pairwise: Floats) -> list[int]:  # (T,), (T, T)
    """Sort the masks: highest expected IoU first, most dispensable last."""
    value = expected_ious(probabilities, pairwise)
    first = int(value.argmax())
    distinctness = 1 - np.where(np.eye(len(probabilities), dtype=np.bool_), -np.inf, pairwise).max(
        axis=1
    )
    loss = probabilities * distinctness
    loss[first] = np.inf
    dispensable = int(loss.argmin())
    return sorted(
        range(len(probabilities)), key=lambda n: (n == dispensable, n != first, -value[n])
    )


def expected_ious(probabilities: Floats, pairwise: Floats) -> Floats:  # (T,), (T, T) -> (T,)
    """Expected IoU of each mask with the intended one."""
    value: Floats = pairwise @ probabilities
    return value


def probabilities(found: Floats, weights: RankingWeights) -> Floats:  # (T, F) -> (T,)
    """Probability that each mask is the intended one; sums to 1."""
    hidden = np.tanh(found @ weights.own + found.mean(axis=0) @ weights.mean + weights.bias)
    score = found @ weights.direct + hidden @ weights.out
    chance = np.exp(score - score.max())
    likely: Floats = chance / chance.sum()
    return likely


def expected_iou(quality: FloatArray, value: Floats, tables: Tables) -> FloatArray:
    """Scores of the masks of a single click, best first, (K,) -> (K,) in 0..1, descending.

    A logistic fit (the table "expected") on the mean logit of the predicted IoU, which measures how
    clear the click is, and on the logit of each mask's worth, by which the masks are ordered.

    Args:
        quality: Predicted IoU (K,).
        value: The `expected_ious` of each mask (K,).
        tables: Earlier bundles have "scores" instead of "expected", Platt scaling of `quality`
            alone, or neither: their scores need not descend.
    """
    sure: FloatArray = np.clip(quality, MIN_NUMBER, 1 - MIN_NUMBER)
    likely: FloatArray = np.clip(value, MIN_NUMBER, 1 - MIN_NUMBER)
    if line := tables.get("expected"):
        clear = line["quality"] * float(np.log(sure / (1 - sure)).mean()) + line["shift"]
        odds = np.exp(clear) * (likely / (1 - likely)) ** line["worth"]
    elif line := tables.get("scores"):
        odds = np.exp(line["shift"]) * (sure / (1 - sure)) ** line["factor"]
    else:
        return quality
    expected: FloatArray = odds / (1 + odds)
    return expected.astype(np.float32)


def mask_features(
    quality: FloatArray,
    logits: FloatArray,
    click: FloatArray,
    place: Geometry,
    spec: MaskSpec,
    shapes: Shapes,
) -> tuple[Floats, Floats]:  # (T,), (T, m, m), (2,) in model pixels -> (T, F), (T, T)
    """Features of each mask in the order of `CHOICE_FEATURES`, and the IoU of every pair."""
    rows, columns = place.filled_cells(spec.mask_side)
    planes = logits[:, :rows, :columns] - np.float32(spec.mask_threshold)
    masks = planes > 0
    x, y = clicked_cell(click, place, spec)
    both = pairwise_intersection(masks)
    area = np.maximum(np.diag(both), 1)
    sides = np.sqrt(area)
    inner, outer = (
        np.count_nonzero(planes > at, axis=(1, 2)) for at in (UNCERTAIN_LOGIT, -UNCERTAIN_LOGIT)
    )
    outline = np.count_nonzero(masks[:, 1:] != masks[:, :-1], axis=(1, 2))
    outline = outline + np.count_nonzero(masks[:, :, 1:] != masks[:, :, :-1], axis=(1, 2))
    deep = [shapes.depths(mask) for mask in masks]
    deepest = np.array([depth.max() for depth in deep])
    sizes, means = [], []
    for axis in (1, 2):
        counts = np.count_nonzero(masks, axis=axis)  # per column, then per row
        filled = counts > 0
        last = counts.shape[1] - filled[:, ::-1].argmax(axis=1)
        sizes.append(last - filled.argmax(axis=1))
        means.append(counts @ np.arange(counts.shape[1]) / np.maximum(counts.sum(axis=1), 1))
    box = np.where(masks.any(axis=(1, 2)), sizes[0] * sizes[1], 1)
    box, middle = box.astype(np.float64), np.stack(means, axis=1)
    found = np.empty((len(quality), len(CHOICE_FEATURES)))
    found[:, :11] = np.stack(
        [
            quality,
            np.array([depth[y, x] for depth in deep]) / np.maximum(deepest, 1),
            np.log(area / (rows * columns)),
            inner / np.maximum(outer, 1),
            1 / (1 + np.exp(-planes[:, y, x])),
            np.log((outline + 4) / sides),
            np.diag(both) / box,
            deepest / sides,
            np.minimum(np.hypot(*(middle - (x, y)).T) / sides, MAX_CENTROID_DISTANCE),
            (both.sum(axis=1) - np.diag(both)) / (area * (len(area) - 1)),
            (outer - inner) / np.maximum(outline, 1),
        ],
        axis=1,
    )
    found[:, 11:] = np.eye(len(quality))
    return found, pairwise_iou(both)


def pairwise_intersection(masks: BoolArray) -> Floats:  # (T, h, w) -> (T, T)
    """Number of common cells of every pair of masks."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    both: Floats = (flat @ flat.T).astype(np.float64)
    return both


def pairwise_iou(both: Floats) -> Floats:  # (T, T) -> (T, T)
    """IoU of every pair, from their common cells; 1 on the diagonal."""
    areas = np.diag(both)
    pairwise: Floats = both / np.maximum(np.add.outer(areas, areas) - both, 1)
    np.fill_diagonal(pairwise, 1)
    return pairwise


# --- negative clicks
#
# Rule for negative clicks, applied to every candidate. If the mask still contains the clicked pixel
# or one of its eight neighbours:
#
# - The whole connected part under the click is removed, if it contains no positive click and either
#   another part contains one or the rest of the mask is larger.
# - Otherwise a disc around the click is removed. Its radius is at most half the distance to the
#   nearest positive click and at most a tenth of the part's size (square root of its area), but
#   always large enough to clear the nine pixels.
#
# A negative click therefore never adds its own pixel. If a positive click shares a low-resolution
# cell with it, the negative click takes precedence and the positive one is reported as violated.
# The logits are edited because they are the mask prompt of the next click.

CLEARED_MARGIN = 2.0  # minimum distance of a cleared cell below the threshold, in logits
DISC_RADIUS = 0.1  # maximum radius of a disc, relative to the square root of the part's area


def apply_negative_points(
    logits: FloatArray,
    clicks: tuple[NDArray[Any], NDArray[Any]],
    geometry: Geometry,
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (K, h, w) -> (K, h, w)
    """Clear the logits around violated negative clicks.

    Args:
        clicks: Points (P, 2), x and y in image pixels, and labels (P,).
    """
    points, labels = clicks
    if labels.all():
        return logits
    low_hw = logits.shape[1:]
    pixels = point_pixels(points, geometry.image_hw)
    positive = pixels_to_cells(pixels[labels == POSITIVE], low_hw, geometry)
    cleared = logits.copy()
    for pixel in pixels[labels == NEGATIVE]:
        # Interpolation weights of the pixel and its eight neighbours, (3, h) and (3, w).
        rows, columns = (
            cell_weights(
                np.clip(pixel[1 - axis] + np.arange(-1, 2), 0, geometry.image_hw[axis] - 1),
                low_hw[axis],
                geometry,
                axis=axis,
            )
            for axis in (0, 1)
        )
        touched = np.logical_and.outer(rows.any(axis=0), columns.any(axis=0))
        center = pixels_to_cells(pixel[None], low_hw, geometry)[0]
        for plane in cleared:
            if (rows @ plane @ columns.T > threshold).any():
                parts = shapes.parts(plane > threshold, 8)
                part = _part_to_clear(parts, touched, center, positive)
                plane[part] = np.minimum(plane[part], threshold - CLEARED_MARGIN)
    return cleared


UNCHANGED_IOU = 0.8  # minimum IoU with the previous mask after a negative click outside it


def keep_previous(
    logits: FloatArray,
    previous: FloatArray,
    clicks: tuple[NDArray[Any], NDArray[Any]],
    geometry: Geometry,
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (K, m, m), (m, m) -> (K, m, m)
    """Undo a large change of the first mask by negative clicks outside the previous mask.

    Such clicks confirm the previous mask, but the decoder may switch to another object. The
    previous mask is kept if the IoU of both is below `UNCHANGED_IOU`. Only for steps without a
    further positive click, which may request a larger or smaller object.
    """
    obeyed = apply_negative_points(previous[None], clicks, geometry, threshold, shapes)[0]
    if not np.array_equal(obeyed, previous):
        return logits
    rows, columns = geometry.filled_cells(len(previous))
    masks = np.stack([previous, logits[0]])[:, :rows, :columns] > threshold
    if pairwise_iou(pairwise_intersection(masks))[0, 1] >= UNCHANGED_IOU:
        return logits
    return np.concatenate([previous[None], logits[1:]])


def _part_to_clear(
    labels: NDArray[Any], touched: BoolArray, center: Floats, positive: Floats
) -> BoolArray:  # (h, w) -> (h, w)
    """Cells that a violated negative click removes."""
    mask = labels > 0
    under_click: BoolArray = np.isin(labels, np.unique(labels[touched & mask]))
    clicked = np.rint(positive).astype(np.intp).clip(0, np.array(mask.shape) - 1)
    rest = mask & ~under_click
    is_requested = under_click[tuple(clicked.T)].any()
    if not is_requested and (rest[tuple(clicked.T)].any() or rest.sum() > under_click.sum()):
        return under_click | touched
    reach = DISC_RADIUS * float(np.sqrt(under_click.sum()))
    if len(positive):
        reach = min(reach, float(np.linalg.norm(positive - center, axis=1).min()) / 2)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disc: BoolArray = (y - center[0]) ** 2 + (x - center[1]) ** 2 <= reach**2
    return disc | touched


# --- small holes and islands


def clean_logits(
    logits: FloatArray,
    place: Geometry,
    clicks: tuple[Any, Any],
    shares: tuple[float, float],
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (m, m) -> (m, m)
    """Remove holes and islands below a share of the mask's area.

    Args:
        place: Position of the image in the model's square. Padding is ignored.
        clicks: Cells (P, 2), row and column with centres at integers, and labels (P,). Parts that
            a positive click touches and holes that a negative click touches stay.
        shares: Minimum share of holes and of islands. 0 for no removal.

    Returns:
        The cleaned logits, or `logits` itself if nothing changed.
    """
    cell = place.side / len(logits)
    rows, columns = (min(len(logits), int((n - 0.5) / cell - 0.5) + 2) for n in place.input_hw)
    cleaned = logits.copy()
    seen = cleaned[:rows, :columns]
    area = np.count_nonzero(seen > threshold)
    for label, share in zip((NEGATIVE, POSITIVE), shares, strict=True):
        places = clicks[0][clicks[1] == label]
        gone = small_regions(seen > threshold, label, share * area, places, 1 / cell, shapes)
        if not gone.any():
            continue
        if label == POSITIVE:
            seen[gone] = np.minimum(seen[gone], threshold - LOGIT_MARGIN)
        else:
            seen[gone] = np.maximum(seen[gone], threshold + LOGIT_MARGIN)
    return logits if np.array_equal(cleaned, logits) else cleaned


def small_regions(
    mask: BoolArray, label: int, area: float, places: Any, reach: float, shapes: Shapes
) -> BoolArray:  # (h, w), (P, 2) -> (h, w)
    """Islands (label POSITIVE, without the largest) or enclosed holes (NEGATIVE) below an area.

    Args:
        places: Clicks (P, 2) in cells. Regions that a click is interpolated from are excluded.
        reach: Half the width of a click in cells.
    """
    labels = shapes.parts(mask if label == POSITIVE else ~mask, 8)
    sizes = np.bincount(labels.ravel())
    small = sizes < area
    small[0] = False
    if label == POSITIVE and len(small) > 1:
        small[1 + sizes[1:].argmax()] = False
    if label == NEGATIVE:
        for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            small[border] = False  # not enclosed
    for place in places:
        low, high = np.floor(place - reach), np.floor(place + reach) + 1
        (y0, x0), (y1, x1) = (
            np.clip(n, 0, np.array(mask.shape) - 1).astype(int) for n in (low, high)
        )
        small[labels[y0 : y1 + 1, x0 : x1 + 1]] = False
    found: BoolArray = small[labels] if small.any() else np.zeros_like(mask)
    return found


# --- steps

MAX_STEPS = 8  # per prompt; earlier clicks than the last seven are decoded together


def click_steps(
    labels: Sequence[int], answered: int = 0, start: Start = "click"
) -> list[list[int]]:
    """Split the clicks of a prompt into steps, each a list of indices; one step without clicks.

    Args:
        labels: Labels (P,): 1 foreground, 0 background.
        answered: Number of leading clicks that an earlier prediction includes.
        start: What selects the object: a "click" (the first foreground one moves to the front), a
            "box" (decoded without clicks first, if the first one takes away) or a "mask".
    """
    order = list(range(len(labels)))
    first = next((place for place in order if labels[place] == 1), 0)
    if start == "click" and not answered and first:
        order.insert(0, order.pop(first))
    together = answered + max(len(order) - answered - MAX_STEPS + 1, 1)
    ends = [*range(min(together, len(order)), len(order) + 1)]
    if start == "box" and not answered and labels and labels[0] == 0:
        ends.insert(0, 0)
    return [sorted(order[:end]) for end in ends]
