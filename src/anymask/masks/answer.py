"""Choose, rank and clean the masks of a decoder, in NumPy alone.

`anymask export` writes this file beside the `example.py` of an exported model, and the package
imports it, so both answer a prompt alike. It imports neither anymask nor OpenCV.

A decoder returns T masks for each prompt. Families of models choose by different rules:

sam                 a lone click: the three masks that were trained for whole, part and subpart;
                    a clear prompt: the first mask (Segment Anything, section 3, "Resolving
                    ambiguity")
sam_hq              one mask, the correction in the last one added (Ke et al. 2023, section 3.2)
efficient_sam       all masks for every prompt
with table ranking  `LearnedRules`: all T masks compete

Then negative clicks are applied (`apply_negative_points`), and small holes and islands removed
(`clean_logits`). The edits are made in the logits, so that the model sees them with the next click.

Letters: H W the image, S the side of the model's input, N prompts, P points, T masks of the
decoder, K candidates, m the side of a mask, h w its part that the image fills, F facts.
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

# The K candidates of one prompt, the first one first: logits (K, m, m); quality (K,), each mask's
# own number; order (K,), each candidate's place among the K in the model's own order.
Ordered = tuple[FloatArray, FloatArray, IntArray]
Multimask = bool | Literal["auto"]
Ranking = Literal["expected", "own"]
Tables = Mapping[str, Any]  # learned numbers by name, as the bundle's tables.json holds them


@dataclass(frozen=True)
class Geometry:
    """How one image lies in model space.

    Attributes:
        image_hw: The image, in pixels.
        input_hw: The part of the S x S model input that the image fills (the rest is padding).
        side: S.
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    side: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per image pixel, along x and along y."""
        return (self.input_hw[1] / self.image_hw[1], self.input_hw[0] / self.image_hw[0])

    def filled_cells(self, side: int) -> tuple[int, int]:
        """Rows and columns of a map of `side` x `side` cells that the image fills, the last ones
        perhaps in part."""
        rows, columns = (-(-filled * side // self.side) for filled in self.input_hw)
        return rows, columns


@dataclass(frozen=True, eq=False)
class ModelPrompts:
    """N prompts of equal length in model space, as a decoder takes them.

    Attributes:
        coords: (N, P, 2) float32, model pixels.
        labels: (N, P) int64: 1 object, 0 background, 2 and 3 box corners, -1 no point.
        masks: (N, 1, m, m) float32 logits, zeros where there is none.
        has_mask: (N,) float32, 1 where `masks` counts.
        vectors: (N, V, D) float32, tokens that come behind the points; None where there are
            none.
    """

    coords: FloatArray
    labels: IntArray
    masks: FloatArray
    has_mask: FloatArray
    vectors: FloatArray | None = None

    def __repr__(self) -> str:
        n, p = self.labels.shape
        return f"<ModelPrompts: {n} of {p} points, {int(self.has_mask.sum())} with a mask>"


Decode = Callable[[ModelPrompts], tuple[FloatArray, FloatArray]]  # -> (N, T, m, m), (N, T)


class MaskSpec(Protocol):
    """The part of a model's specification that the rules use."""

    @property
    def image_side(self) -> int: ...

    @property
    def mask_side(self) -> int: ...

    @property
    def mask_threshold(self) -> float: ...


# --- pixels of the image in cells of a mask


def point_pixels(points: ArrayLike, image_hw: tuple[int, int]) -> Indices:  # (P, 2) -> (P, 2)
    """The pixel (x, y) that holds each point; floor, as `clicks.violated_points` does."""
    height, width = image_hw
    pixels: Indices = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.intp)
    return np.clip(pixels, 0, (width - 1, height - 1))


def pixels_to_cells(
    pixels: Indices, low_hw: tuple[int, ...], geometry: Geometry
) -> Floats:  # (P, 2) x, y -> (P, 2) row, column
    """Pixels as low-resolution places, cell centres at whole numbers."""
    scale = np.array(geometry.input_hw) / geometry.image_hw * np.array(low_hw) / geometry.side
    places: Floats = (pixels[:, ::-1] + 0.5) * scale - 0.5
    return places


def cell_weights(
    pixels: Indices, low_side: int, geometry: Geometry, axis: int
) -> FloatArray:  # (P,) -> (P, low_side)
    """How much each low-resolution row (axis 0) or column (axis 1) counts for each pixel."""
    weights = np.zeros((len(pixels), low_side), np.float32)
    rows = np.arange(len(pixels))
    for place, share in _pairs(pixels, geometry.input_hw[axis], geometry.image_hw[axis]):
        for cell, part in _pairs(place, low_side, geometry.side):
            np.add.at(weights, (rows, cell), share * part)
    return weights


def _pairs(places: Indices, old: int, new: int) -> list[tuple[Indices, FloatArray]]:
    """The two of `old` places around each of `new`, and how much each counts."""
    first, second, share = bilinear_taps(places, old, new)
    return [(first, 1 - share), (second, share)]


def bilinear_taps(
    places: Indices, old: int, new: int
) -> tuple[Indices, Indices, FloatArray]:  # (P,) -> (P,) each
    """For half-pixel places of `new`: the two of `old` around each, and the second's weight."""
    place = np.maximum((places + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(place.astype(np.intp), old - 1)
    return first, np.minimum(first + 1, old - 1), (place - first).astype(np.float32)


# --- measures of a mask


class Shapes(NamedTuple):
    """Functions that measure a mask (h, w): those of `shapes.py`, or OpenCV's in the package.

    Attributes:
        parts: Mask, connectivity 4 or 8 -> (h, w) integers: 0 outside, 1, 2, ... for each part.
        depths: Mask -> (h, w) float32: distance to the mask's edge, in cells; so is the border.
    """

    parts: Callable[[BoolArray, int], NDArray[Any]]
    depths: Callable[[BoolArray], FloatArray]


# --- candidates of a prompt


def lone_clicks(prompts: ModelPrompts) -> list[bool]:
    """Which prompts are one positive click and nothing else: the ambiguous case."""
    labels = prompts.labels
    single = ((labels == POSITIVE).sum(axis=1) == 1) & ((labels >= 0).sum(axis=1) == 1)
    alone: list[bool] = (single & (prompts.has_mask == 0)).tolist()
    return alone


def wants_many(prompts: ModelPrompts, multimask: Multimask) -> list[bool]:
    """Which prompts are answered with several candidates."""
    if multimask == "auto":
        return lone_clicks(prompts)
    return [bool(multimask)] * len(prompts.labels)


def by_quality(logits: FloatArray, quality: FloatArray) -> Ordered:  # (K, m, m), (K,)
    """The candidates with the highest quality first; equal ones stay in their order."""
    return in_order(logits, quality, np.argsort(-quality, kind="stable"))


def in_order(logits: FloatArray, quality: FloatArray, order: Any) -> Ordered:
    """The candidates in a given order."""
    places = np.asarray(order, np.int64)
    return logits[places], quality[places], places


# (N, T, m, m), (N, T) -> (N, K, m, m), (N, K)
Choice = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def _last_three(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits[:, 1:], quality[:, 1:]


def _first(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits[:, :1], quality[:, :1]


def _every(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits, quality


def _best_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    best = quality[:, 1 : logits.shape[1] - 1].argmax(axis=1) + 1
    return _corrected(logits, quality, best)


def _first_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _corrected(logits, quality, np.zeros(len(logits), np.int64))


def _corrected(
    logits: FloatArray, quality: FloatArray, chosen: IntArray
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T), (N,) -> (N, 1, m, m), (N, 1)
    """The chosen masks with the last one added; the quality may leave out the correction."""
    rows = np.arange(len(logits))
    masks = logits[rows, chosen] + logits[:, -1]
    return masks[:, None], quality[rows, chosen][:, None]


# By family: the masks of an ambiguous prompt, and those of a clear one.
CHOICES: Mapping[str, tuple[Choice, Choice]] = {
    "sam": (_last_three, _first),
    "sam_hq": (_best_corrected, _first_corrected),
    "efficient_sam": (_every, _every),
}


def choose(
    decode: Decode, prompts: ModelPrompts, multimask: Multimask, choices: tuple[Choice, Choice]
) -> list[Ordered]:
    """Decode N prompts, and order each one's candidates by the network's own numbers."""
    logits, quality = decode(prompts)
    answers = []
    for row, many in enumerate(wants_many(prompts, multimask)):
        pick = choices[0] if many else choices[1]
        masks, numbers = pick(logits[row : row + 1], quality[row : row + 1])
        answers.append(by_quality(masks[0], numbers[0]))
    return answers


def answer(
    decode: Decode, prompts: ModelPrompts, place: Geometry, family: str, rules: LearnedRules
) -> list[Ordered]:
    """The candidates of N prompts by the rules of a family, as `Model.segment` returns them."""
    if "ranking" in rules.tables:
        return rules.answer(decode, prompts, place, "auto", "expected")
    return choose(decode, prompts, "auto", CHOICES[family])


# --- learned rules
#
# Every one of the four tokens of `nano` and `small` learned from every kind of prompt, so all of
# them compete.
#
# A lone click is answered with three of them, each cut to the connected part under the click.
# Fifteen facts of each (`FACTS`) go through a network with eight hidden units, which also has their
# mean as input, and give the chance that this mask is meant (`chances`). The mask with the largest
# expected IoU with the one that is meant comes first (`worth`); the one that the others can best do
# without is left out: an unlikely one, or a near duplicate. The weights are the table "ranking",
# fitted on training images by `research/fit_ranking.py`. The score of each is the IoU that may be
# expected of a first mask with the network's own number (`expected_iou`; the table "scores" of the
# same program).
#
# A clear prompt is answered with the mean of the four (`consensus`), in which a mask counts more
# the larger its expected IoU is, where each is as likely as its quality. Small parts without a
# click are removed before that (`without_parts`). A bare box is decoded a second time, with the
# first answer and a click at its deepest cell, as in training (`training/interaction.py`).

MIN_PART = 0.2  # of a mask's largest part
FAVOUR = 8.0  # a mask of half the expected IoU counts exp(-4) times as much
MIN_REGION = 0.05  # of a mask: smaller holes and islands are removed, unless a setting differs
CLEAR = 2.0  # logits from the threshold that a cell gets at least which is filled or removed
SURE = 1.0  # logits within it of the threshold are a doubt
MIN_NUMBER = 1e-4  # of the network, and as far from 1
FARTHEST = 2.0  # of the distances between click and middle, in sides of a mask

FACTS = (
    "quality",  # the network's own number
    "depth",  # of the click, as a part of the mask's deepest place
    "size",  # logarithm of the share of the photo
    "stability",  # what is surely inside, as a part of what may be inside
    "certain",  # chance that the click's cell is inside
    "rough",  # logarithm of the outline's length in sides of the mask
    "fill",  # share of its box
    "thick",  # its deepest place, in sides
    "aside",  # from the click to the mask's mean place, in sides
    "within",  # mean share of it that lies inside another mask
    "doubt",  # cells in doubt for each cell of the outline
    "first",  # its place in the model's order
    "second",
    "third",
    "fourth",
)


@dataclass(frozen=True, eq=False, repr=False)
class RankingWeights:
    """Of the ranking network: direct and out are added, each hidden unit is a tanh.

    Attributes:
        direct: (F,) from the facts.
        own: (F, 8) from the facts to the hidden units.
        mean: (F, 8) from their mean over the T masks.
        bias: (8,).
        out: (8,).
    """

    direct: Floats
    own: Floats
    mean: Floats
    bias: Floats
    out: Floats

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> RankingWeights:
        """Of lists, as the table has them."""
        return cls(**{name: np.array(values) for name, values in table.items()})


@dataclass(frozen=True)
class LearnedRules:
    """All T masks compete; `tables` holds "ranking" and perhaps "scores"."""

    spec: MaskSpec
    tables: Tables
    shapes: Shapes

    @cached_property
    def weights(self) -> RankingWeights:
        """Of the network that orders a lone click's masks."""
        return RankingWeights.of(self.tables["ranking"])

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the three of the highest quality, in the model's order."""
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
        """Decode N prompts, and order each one's candidates."""
        logits, quality = decode(prompts)
        if multimask is not True:
            logits, quality = self._decode_boxes_again(decode, prompts, (logits, quality))
        rows = zip(wants_many(prompts, multimask), lone_clicks(prompts), strict=True)
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
                ordered = by_quality(*self.consensus(logits[row], quality[row], cells))
            answers.append(ordered)
        return answers

    def ranked(
        self, logits: FloatArray, quality: FloatArray, click: FloatArray, place: Geometry
    ) -> Ordered:  # (T, m, m), (T,), (2,) in model pixels
        """The three masks of a lone click that are worth the most, in the learned order."""
        cells = [clicked_cell(click, place, self.spec)]
        logits = without_parts(logits, cells, np.inf, self.spec.mask_threshold, self.shapes)
        found, shared = facts(quality, logits, click, place, self.spec, self.shapes)
        shown = order_masks(chances(found, self.weights), shared)[:3]
        kept = sorted(shown)
        scores = expected_iou(quality[kept], self.tables.get("scores"))
        return in_order(logits[kept], scores, [kept.index(token) for token in shown])

    def _decode_boxes_again(
        self, decode: Decode, prompts: ModelPrompts, answer: tuple[FloatArray, FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """The same answer with those to bare boxes replaced by a second one."""
        logits, quality = answer
        bare = ((prompts.labels == NO_POINT) | np.isin(prompts.labels, CORNERS)).all(axis=1)
        boxed = np.isin(prompts.labels, CORNERS).any(axis=1)
        rows = np.flatnonzero(bare & boxed & (prompts.has_mask == 0))
        if not len(rows):
            return answer
        part = replace(
            prompts,
            coords=prompts.coords[rows],
            labels=prompts.labels[rows],
            masks=prompts.masks[rows],
            has_mask=prompts.has_mask[rows],
        )
        again = with_middle_clicks(part, logits[rows], quality[rows], self)
        logits, quality = logits.copy(), quality.copy()
        logits[rows], quality[rows] = decode(again)
        return logits, quality

    def consensus(
        self, logits: FloatArray, quality: FloatArray, cells: Sequence[tuple[int, int]]
    ) -> tuple[FloatArray, FloatArray]:  # (T, m, m), (T,) -> (1, m, m), (1,)
        """The mean of the masks without small parts, weighted by their expected IoU.

        Args:
            logits: (T, m, m) of the decoder.
            quality: (T,) of each mask, taken as its probability.
            cells: (x, y) of the clicked cells.

        Returns:
            The mean logits, and the quality of the mask with the largest weight.
        """
        threshold = self.spec.mask_threshold
        logits = without_parts(logits, cells, MIN_PART, threshold, self.shapes)
        value = worth(np.maximum(quality, 0), iou_of_pairs(common_cells(logits > threshold)))
        best = int(value.argmax())
        if value[best] <= 0:
            return logits[best : best + 1], quality[best : best + 1]
        weights = np.exp(FAVOUR * (value / value[best] - 1))
        mean = np.tensordot(weights / weights.sum(), logits.astype(np.float64), 1)
        return mean[None].astype(np.float32), quality[best : best + 1]


# --- one mask for a clear prompt


def without_parts(
    logits: FloatArray,
    cells: Sequence[tuple[int, int]],
    least: float,
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (T, m, m) -> (T, m, m)
    """Each mask without the connected parts that no cell x, y lies in and that are too small.

    Args:
        least: Share of the largest part; at least one part stays. What the network adds
            elsewhere is mostly another object.
    """
    kept = logits.copy()
    for plane in kept:
        labels = shapes.parts(plane > threshold, 4)
        sizes = np.bincount(labels.ravel())[1:]  # the first is what is no mask
        if len(sizes) < 2:
            continue
        stays = np.zeros(len(sizes) + 1, np.bool_)
        stays[1:] = sizes >= least * sizes.max()
        stays[[labels[y, x] for x, y in cells]] = True
        stays[0] = False
        if not stays.any():
            stays[1 + sizes.argmax()] = True
        plane[(labels > 0) & ~stays[labels]] = threshold - CLEAR
    return kept


def with_middle_clicks(
    given: ModelPrompts, logits: FloatArray, quality: FloatArray, rules: LearnedRules
) -> ModelPrompts:  # P points -> P + 1 points
    """N prompts with the masks that answered them, each clicked at its deepest cell."""
    answers, spec = zip(logits, quality, strict=True), rules.spec
    masks = np.concatenate([rules.consensus(*answer, ())[0] for answer in answers])
    clicks = [deepest_cell(mask > spec.mask_threshold, spec, rules.shapes) for mask in masks]
    places = np.array([click or (0.0, 0.0) for click in clicks], np.float32)[:, None]
    labels = np.array([POSITIVE if click else NO_POINT for click in clicks], np.int64)[:, None]
    return replace(
        given,
        coords=np.concatenate([given.coords, places], axis=1),
        labels=np.concatenate([given.labels, labels], axis=1),
        masks=masks[:, None],
        has_mask=np.ones(len(masks), np.float32),
    )


def deepest_cell(
    mask: BoolArray, spec: MaskSpec, shapes: Shapes
) -> tuple[float, float] | None:  # (m, m)
    """Where a mask is thickest, x and y in model pixels; None where it is empty."""
    if not mask.any():
        return None
    rounded = np.round(shapes.depths(mask), 3)  # equal depths are equal, whatever the steps' order
    y, x = np.unravel_index(int(rounded.argmax()), mask.shape)
    cell = spec.image_side / spec.mask_side
    return (float(x) + 0.5) * cell, (float(y) + 0.5) * cell


# --- the order of a lone click's masks


def clicked_cell(click: FloatArray, place: Geometry, spec: MaskSpec) -> tuple[int, int]:
    """The cell x, y of a mask that a click lies in, one of those that the photo fills."""
    rows, columns = place.filled_cells(spec.mask_side)
    x, y = np.clip(click * (spec.mask_side / spec.image_side), 0, (columns - 1, rows - 1))
    return int(x), int(y)


def order_masks(likely: Floats, shared: Floats) -> list[int]:  # (T,), (T, T)
    """The masks, the one of the most worth first, the one that can be spared last."""
    value = worth(likely, shared)
    first = int(value.argmax())
    apart = 1 - np.where(np.eye(len(likely), dtype=np.bool_), -np.inf, shared).max(axis=1)
    loss = likely * apart
    loss[first] = np.inf
    spared = int(loss.argmin())
    return sorted(range(len(likely)), key=lambda n: (n == spared, n != first, -value[n]))


def worth(likely: Floats, shared: Floats) -> Floats:  # (T,), (T, T) -> (T,)
    """The IoU of each mask with the one that is meant, as it may be expected."""
    value: Floats = shared @ likely
    return value


def chances(found: Floats, weights: RankingWeights) -> Floats:  # (T, F) -> (T,)
    """How likely each mask is the one that is meant; they sum to 1."""
    hidden = np.tanh(found @ weights.own + found.mean(axis=0) @ weights.mean + weights.bias)
    score = found @ weights.direct + hidden @ weights.out
    chance = np.exp(score - score.max())
    likely: Floats = chance / chance.sum()
    return likely


def expected_iou(quality: FloatArray, table: Mapping[str, float] | None) -> FloatArray:
    """What the network's own numbers of a lone click's masks are worth: (K,) -> (K,) in 0..1.

    Args:
        table: "factor" and "shift" of their logits (Platt's scaling); None: they stay as they
            are.
    """
    if table is None:
        return quality
    sure = np.clip(quality, MIN_NUMBER, 1 - MIN_NUMBER)
    odds = np.exp(table["shift"]) * (sure / (1 - sure)) ** table["factor"]
    expected: FloatArray = odds / (1 + odds)
    return expected.astype(np.float32)


def facts(
    quality: FloatArray,
    logits: FloatArray,
    click: FloatArray,
    place: Geometry,
    spec: MaskSpec,
    shapes: Shapes,
) -> tuple[Floats, Floats]:  # (T,), (T, m, m), (2,) in model pixels -> (T, F), (T, T)
    """What is known of each mask, in the order of `FACTS`, and the IoU of every two."""
    rows, columns = place.filled_cells(spec.mask_side)
    planes = logits[:, :rows, :columns] - np.float32(spec.mask_threshold)
    masks = planes > 0
    x, y = clicked_cell(click, place, spec)
    both = common_cells(masks)
    area = np.maximum(np.diag(both), 1)
    sides = np.sqrt(area)
    inner, outer = (np.count_nonzero(planes > at, axis=(1, 2)) for at in (SURE, -SURE))
    outline = np.count_nonzero(masks[:, 1:] != masks[:, :-1], axis=(1, 2))
    outline = outline + np.count_nonzero(masks[:, :, 1:] != masks[:, :, :-1], axis=(1, 2))
    deep = [shapes.depths(mask) for mask in masks]
    deepest = np.array([depth.max() for depth in deep])
    box, middle = box_cells(masks)
    found = np.empty((len(quality), len(FACTS)))
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
            np.minimum(np.hypot(*(middle - (x, y)).T) / sides, FARTHEST),
            (both.sum(axis=1) - np.diag(both)) / (area * (len(area) - 1)),
            (outer - inner) / np.maximum(outline, 1),
        ],
        axis=1,
    )
    found[:, 11:] = np.eye(len(quality))
    return found, iou_of_pairs(both)


def box_cells(masks: BoolArray) -> tuple[Floats, Floats]:  # (T, h, w) -> (T,), (T, 2)
    """Cells of each mask's box, at least 1, and its mean place (x, y); (0, 0) of an empty one."""
    sizes, means = [], []
    for axis in (1, 2):
        counts = np.count_nonzero(masks, axis=axis)  # over the columns, then over the rows
        filled = counts > 0
        last = counts.shape[1] - filled[:, ::-1].argmax(axis=1)
        sizes.append(last - filled.argmax(axis=1))
        means.append(counts @ np.arange(counts.shape[1]) / np.maximum(counts.sum(axis=1), 1))
    box = np.where(masks.any(axis=(1, 2)), sizes[0] * sizes[1], 1)
    return box.astype(np.float64), np.stack(means, axis=1)


def common_cells(masks: BoolArray) -> Floats:  # (T, h, w) -> (T, T)
    """The cells that every pair of masks shares."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    both: Floats = (flat @ flat.T).astype(np.float64)
    return both


def iou_of_pairs(both: Floats) -> Floats:  # (T, T) -> (T, T)
    """The IoU of every two masks, of the cells that they share; 1 of each with itself."""
    areas = np.diag(both)
    shared: Floats = both / np.maximum(np.add.outer(areas, areas) - both, 1)
    np.fill_diagonal(shared, 1)
    return shared


# --- negative clicks
#
# The rule for negative clicks, applied to every candidate: if the model still marks the clicked
# pixel or one of the eight around it, then
#
# - the whole connected part under the click is taken back, if it holds no positive click and
#   another part does, or the rest of the mask is larger;
# - otherwise a disc around the click is taken back, which reaches at most half the way to the
#   nearest positive click and at most a tenth of the part's size (the root of its area), but always
#   far enough to clear the nine pixels.
#
# So adding a negative click can never switch its own place on. Where a positive click lies so close
# that both share a cell of the low-resolution mask, the negative one wins and the positive one is
# reported as violated. The edit happens in the logits, so that feeding them back shows it to the
# model.

CLEARED = 2.0  # logits below the threshold that a cleared cell gets at least
REACH = 0.1  # of the root of the part's area: how far a disc reaches at most


def apply_negative_points(
    logits: FloatArray,
    clicks: tuple[NDArray[Any], NDArray[Any]],
    geometry: Geometry,
    threshold: float,
    shapes: Shapes,
) -> FloatArray:  # (K, h, w) -> (K, h, w)
    """The same logits, cleared around the negative clicks that they do not obey.

    Args:
        clicks: (P, 2) x and y in pixels of the image, and their (P,) labels.
    """
    points, labels = clicks
    if labels.all():
        return logits
    low_hw = logits.shape[1:]
    pixels = point_pixels(points, geometry.image_hw)
    positive = pixels_to_cells(pixels[labels == POSITIVE], low_hw, geometry)
    cleared = logits.copy()
    for pixel in pixels[labels == NEGATIVE]:
        # The cells that the pixel and its eight neighbours are made of, (3, h) and (3, w).
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
        centre = pixels_to_cells(pixel[None], low_hw, geometry)[0]
        for plane in cleared:
            if (rows @ plane @ columns.T > threshold).any():
                parts = shapes.parts(plane > threshold, 8)
                part = _part_to_clear(parts, touched, centre, positive)
                plane[part] = np.minimum(plane[part], threshold - CLEARED)
    return cleared


def _part_to_clear(
    labels: NDArray[Any],
    touched: BoolArray,
    centre: Floats,
    positive: Floats,
) -> BoolArray:  # (h, w) -> (h, w)
    """The cells that a violated negative click takes back."""
    mask = labels > 0
    under_click: BoolArray = np.isin(labels, np.unique(labels[touched & mask]))
    clicked = np.rint(positive).astype(np.intp).clip(0, np.array(mask.shape) - 1)
    rest = mask & ~under_click
    is_wanted = under_click[tuple(clicked.T)].any()
    if not is_wanted and (rest[tuple(clicked.T)].any() or rest.sum() > under_click.sum()):
        return under_click | touched
    reach = REACH * float(np.sqrt(under_click.sum()))
    if len(positive):
        reach = min(reach, float(np.linalg.norm(positive - centre, axis=1).min()) / 2)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disc: BoolArray = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= reach**2
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
    """A mask without holes and islands below a share of its cells; itself if it has none.

    Args:
        place: The photo in the model's square; what lies beside it is not looked at.
        clicks: (P, 2) row and column in cells, centres at whole numbers, and their (P,) labels:
            a part that a positive one touches stays, and so does a hole that a negative one
            touches.
        shares: Of holes and of islands; 0 leaves them alone.
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
            seen[gone] = np.minimum(seen[gone], threshold - CLEAR)
        else:
            seen[gone] = np.maximum(seen[gone], threshold + CLEAR)
    return logits if np.array_equal(cleaned, logits) else cleaned


def small_regions(
    mask: BoolArray, label: int, area: float, places: Any, reach: float, shapes: Shapes
) -> BoolArray:  # (h, w), (P, 2) -> (h, w)
    """The islands (label POSITIVE) or enclosed holes (NEGATIVE) below an area; not the largest one.

    Args:
        places: In cells: a region that a click's pixel is interpolated from is left out.
        reach: Like `places`.
    """
    labels = shapes.parts(mask if label == POSITIVE else ~mask, 8)
    sizes = np.bincount(labels.ravel())
    small = sizes < area
    small[0] = False
    if label == POSITIVE and len(small) > 1:
        small[1 + sizes[1:].argmax()] = False
    if label == NEGATIVE:
        for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            small[border] = False  # is not enclosed
    for place in places:
        low, high = np.floor(place - reach), np.floor(place + reach) + 1
        (y0, x0), (y1, x1) = (
            np.clip(n, 0, np.array(mask.shape) - 1).astype(int) for n in (low, high)
        )
        small[labels[y0 : y1 + 1, x0 : x1 + 1]] = False
    found: BoolArray = small[labels] if small.any() else np.zeros_like(mask)
    return found


# --- steps

MAX_STEPS = 8  # of one prompt: the clicks before the last seven are decoded together


def click_steps(labels: Sequence[int], answered: int = 0, *, alone: bool = True) -> list[list[int]]:
    """The clicks of each step, as indices in the order of the prompt; one step without clicks.

    Args:
        labels: (P,) 1 foreground, 0 background.
        answered: Number of clicks, the first ones, that an earlier answer is about already.
        alone: Whether nothing else says where the object is. Then the first foreground click comes
            before all others, as a background click means nothing without an object.
    """
    order = list(range(len(labels)))
    first = next((place for place in order if labels[place] == 1), 0)
    if alone and not answered and first:
        order.insert(0, order.pop(first))
    together = answered + max(len(order) - answered - MAX_STEPS + 1, 1)
    ends = range(min(together, len(order)), len(order) + 1)
    return [sorted(order[:end]) for end in ends]
