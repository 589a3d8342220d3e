"""Edge detection by the boundary benchmark of Berkeley: edge maps in, ODS, OIS, AP, R50 out.

An edge map is thinned by non-maximum suppression, cut at 99 thresholds, thinned again, and matched
with each person's lines within .0075 of the photo's diagonal (`edge_matching`). A found pixel is
right when it is matched with anybody's line; recall is summed over the people. Then

    ODS   the best F over one threshold for all photos (optimal data set scale)
    OIS   F when every photo has its own best threshold (optimal image scale)
    AP    mean precision over recall 0 to 1
    R50   recall at precision .5: where the curve, from the lowest threshold on, first reaches it

as the benchmark (Arbelaez et al., PAMI 2011) and Structured Edges (Dollar and Zitnick, `edgesEval`)
compute them: ODS between thresholds by interpolation, AP from 101 recalls divided by 100. One
deviation: `edgesEval` sorts the curve by precision for R50, so that a plateau or a curve that falls
and rises again is read in the order of its rounding errors; here the thresholds are the order.
Counts are whole numbers and are summed as such: equal shares are equal bits on every processor.

Letters: I photos, L thresholds, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import BoolArray, FloatArray, Floats, IntArray, OnProgress, UintImage
from anymask.evaluation.metrics import draw_images
from anymask.evaluation.protocols import NotMeasured, Segmenter
from anymask.evaluation.results import Curve, MetricValue, SetResult
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.formats import AnnotatedImage
from anymask.masks import ModelSpec, Prompt, rle_to_mask
from anymask.segment.edge_maps import suppress
from research.paper.edge_levels import THRESHOLDS, cut, pixels_per_level, thin_levels
from research.paper.edge_maps import canny_edges, model_edges, region_edges, sobel_edges
from research.paper.edge_matching import match_levels

EDGE_TOLERANCE = 0.0075  # of the photo's diagonal
_TINY = np.finfo(np.float64).eps
_SAME = 1e-9  # what rounding makes of a precision of .5 is less


@dataclass(frozen=True, eq=False)
class EdgeDetector:
    """A method that only finds edges: (H, W, 3) uint8 -> (H, W) float32, 0..1."""

    name: str
    function: Callable[[UintImage], FloatArray]

    @property
    def spec(self) -> ModelSpec:
        """Its name; it takes no prompts."""
        return ModelSpec(name=self.name, accepts=frozenset())

    def encode(self, image: UintImage) -> UintImage:
        """The photo itself."""
        return image

    def segment(self, embedding: Any, *, prompts: Sequence[Prompt], **options: Any) -> list[Any]:
        """It has no masks."""
        raise NotMeasured("it finds edges, not masks")


EDGE_BASELINES = (EdgeDetector("sobel", sobel_edges), EdgeDetector("canny", canny_edges))


@dataclass(frozen=True, eq=False)
class EdgeCounts:
    """What the benchmark counts, (I, L) whole numbers each.

    Attributes:
        drawn_matched: Annotated pixels with a partner, summed over annotators.
        drawn: Annotated pixels, summed over annotators.
        found_matched: Detected pixels with a partner of any annotator.
        found: Detected pixels.
    """

    drawn_matched: IntArray
    drawn: IntArray
    found_matched: IntArray
    found: IntArray


def measure_edges(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress
) -> SetResult:
    """Measure a method's edges on photos that people divided into regions.

    Raises NotMeasured for a set without annotators, or a method that gives neither edges nor the
    logits of clicks.
    """
    chosen = np.unique(choose_masks(one.plan, one.samples, settings.limit).image)
    samples = [one.samples[int(n)] for n in chosen]
    samples = [s for s in samples if all(mask.annotator is not None for mask in s.objects)]
    if not samples:
        raise NotMeasured("edges need a set whose masks say who drew them")
    rows = []
    for done, sample in enumerate(samples, start=1):
        image = sample.image()
        edges = (
            method.function(image)
            if isinstance(method, EdgeDetector)
            else model_edges(method, image)
        )
        rows.append(count_edges(edges, sample_to_edges(sample)))
        progress(done, len(samples))
    counts = EdgeCounts(*np.stack(rows, axis=1))
    precision, recall, _ = counts_to_f(*(part.sum(axis=0) for part in _parts(counts)))
    return SetResult(
        figures=benchmark_figures(counts),
        curves=(
            Curve(title="edges", x=recall, y=precision, x_label="recall", y_label="precision"),
        ),
    )


def sample_to_edges(sample: AnnotatedImage) -> list[BoolArray]:
    """Each annotator's lines (H, W): those of the set, or the thin borders of the regions."""
    if sample.benchmark.boundaries:
        return [rle_to_mask(rle) for rle in sample.benchmark.boundaries]
    lines = []
    for person in sorted({mask.annotator for mask in sample.objects if mask.annotator is not None}):
        regions = np.zeros(sample.hw, np.int64)  # 0 where nobody's mask is
        for number, mask in enumerate(sample.objects):
            if mask.annotator == person:
                regions[rle_to_mask(mask.rle)] = number + 1
        lines.append(region_edges(regions))
    return lines


def count_edges(found: FloatArray, drawn: Sequence[BoolArray]) -> IntArray:  # -> (4, L)
    """One photo's row of `EdgeCounts`, in its order.

    Args:
        found: Edge map (H, W), 0..1, thick or thin.
        drawn: Thin lines (H, W), one map per annotator.
    """
    levels = len(THRESHOLDS)
    bits = thin_levels(cut(suppress(found)))
    radius = EDGE_TOLERANCE * float(np.hypot(*found.shape))
    anybody = np.zeros_like(bits)
    matched = np.zeros(levels, np.int64)
    for lines in drawn:
        partners = match_levels(bits, lines, radius, levels)
        matched += pixels_per_level(partners, levels)
        anybody |= partners
    total = np.full(levels, sum(int(lines.sum()) for lines in drawn), np.int64)
    right, all_found = (pixels_per_level(part, levels) for part in (anybody, bits))
    return np.stack([matched, total, right, all_found])


# ----------------------------------------------------------------------------------- the figures


def benchmark_figures(counts: EdgeCounts) -> tuple[MetricValue, ...]:
    """ODS, OIS, AP and R50, with 95 % intervals that draw whole photos."""
    images = len(counts.found)
    draws = draw_images(images)
    (values,) = benchmark_values(counts, np.ones((1, images), np.int64))
    low, high = np.quantile(benchmark_values(counts, draws), (0.025, 0.975), axis=0)
    names = ("ODS", "OIS", "AP", "R50")
    return tuple(
        MetricValue(name=name, value=float(values[n]), low=float(low[n]), high=float(high[n]))
        for n, name in enumerate(names)
    )


def benchmark_values(counts: EdgeCounts, weights: IntArray) -> Floats:  # (R, I) -> (R, 4)
    """ODS, OIS, AP and R50 when each photo counts so often."""
    parts = _parts(counts)
    best = counts_to_f(*parts)[2].argmax(axis=1)
    chosen = [part[np.arange(len(part)), best] for part in parts]
    precision, recall, _ = counts_to_f(*(weights @ part for part in parts))
    rows = zip(precision, recall, counts_to_f(*(weights @ part for part in chosen))[2], strict=True)
    return np.array(
        [[best_f(p, r), ois, average_precision(p, r), recall_at_half(p, r)] for p, r, ois in rows]
    )


def counts_to_f(
    drawn_matched: IntArray, drawn: IntArray, found_matched: IntArray, found: IntArray
) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F of counts of any one shape."""
    recall = drawn_matched / np.maximum(drawn, _TINY)
    precision = found_matched / np.maximum(found, _TINY)
    return precision, recall, _f_measure(precision, recall)


def _parts(counts: EdgeCounts) -> list[IntArray]:
    return [counts.drawn_matched, counts.drawn, counts.found_matched, counts.found]


def _f_measure(precision: Floats, recall: Floats) -> Floats:
    f: Floats = 2 * precision * recall / np.maximum(precision + recall, _TINY)
    return f


def best_f(precision: Floats, recall: Floats) -> float:  # (L,), (L,)
    """The best F at the thresholds and at 98 places between each two, interpolated."""
    share = np.linspace(0, 1, 100)[:, None]
    between = [part[1:] * share + part[:-1] * (1 - share) for part in (precision, recall)]
    return float(_f_measure(between[0], between[1]).max())


def average_precision(precision: Floats, recall: Floats) -> float:  # (L,), (L,)
    """The mean precision at recall 0, .01, ..., 1; 0 where the curve does not reach."""
    recall, first = np.unique(recall, return_index=True)
    if len(recall) < 2:
        return 0.0
    at = np.interp(np.arange(101) / 100, recall, precision[first], left=0, right=0)
    return float(at.sum() / 100)


def recall_at_half(precision: Floats, recall: Floats) -> float:  # (L,), (L,)
    """Recall where precision first reaches .5 from the lowest threshold on, interpolated; 0 where
    all of it is below."""
    reached = np.flatnonzero(precision >= 0.5 - _SAME)
    if not len(reached):
        return 0.0
    span = slice(max(reached[0] - 1, 0), reached[0] + 1)
    return float(np.interp(0.5, precision[span], recall[span]))
