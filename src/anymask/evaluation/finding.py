"""Metrics of text and exemplar prompts.

    precision, recall
             of instances, in images with the object: a predicted mask is correct if its IoU with a
             true mask that no other prediction matches is at least 0.50. Masks that lie mostly on
             unlabeled pixels are ignored; "unlabeled" is their fraction of all predicted masks
    candidates
             recall of all candidate masks, the upper limit of any selection
    cgF1     SA-Co (Carion et al. 2025, "SAM 3: Segment Anything with Concepts"): 100 pmF1 IL_MCC.
             pmF1 is the F1 of masks over all images with the object, averaged over IoU thresholds
             0.50 to 0.95; IL_MCC is Matthews' correlation of "something was found" with "the
             object is present" over all images
    AP       by phrase, as in LVIS: only in images where it is queried; 101 recalls, averaged over
             the same thresholds and over the phrases that are present
    mIoU     as in PerSeg (Zhang et al. 2023): IoU of the union, averaged over the images of an
             object, then over objects
    counting mean of |predicted - true count| per image

Deviation: masks are matched greedily by IoU, not by an optimal assignment. If annotations do not
overlap, both are the same from 0.50 on. Letters: n predictions, m annotations, T thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import cv2
import numpy as np

from anymask.base import BoolArray, DataError, FloatArray, Floats, UintImage, brief
from anymask.evaluation.coco import IOU_THRESHOLDS
from anymask.evaluation.report import Report, report_values
from anymask.find import (
    CandidateMasks,
    ExampleFinder,
    FindSettings,
    find_phrases,
    known_spelling,
    open_detector,
    read_phrases,
)
from anymask.formats import AnnotatedImage, Dataset, ReadKeywords, read, saco
from anymask.masks import Mask, Rle, rle_area, rle_intersection, rle_iou, rle_merge, rle_to_mask
from anymask.runtime import require
from anymask.segment import Model

RECALLS: Floats = np.linspace(0, 1, 101)
MATCH_IOU = 0.5  # minimum IoU of a correct mask
DEFAULT_LABEL = "thing"  # label in datasets without labels
MIN_EXAMPLE_AREA = 64  # minimum pixels of an exemplar
MIN_COLOR_OVERLAP = 0.4  # intersection of two color histograms (docs/explanation/text-prompts.md)


@brief
@dataclass(frozen=True, eq=False)
class FindAnswer:
    """Result of one query in one image."""

    phrase: str  # Text or label
    found: Sequence[Rle]  # n predicted masks
    scores: Sequence[float]  # n confidence scores
    truths: Sequence[Rle]  # m annotated masks; empty if the object is absent
    # Masks that the predictions were selected from, None if unknown
    candidates: Sequence[Rle] | None = None
    # All labelled pixels of the image, of any label. None if everything is labelled.
    labeled: Rle | None = None

    def unlabeled(self) -> BoolArray:  # -> (n,)
        """Return which predicted masks lie mostly on unlabeled pixels."""
        if self.labeled is None or not self.found:
            return np.zeros(len(self.found), np.bool_)
        areas = np.array([rle_area(rle) for rle in self.found])
        return 2 * rle_intersection(self.found, [self.labeled])[:, 0] < areas

    def candidate_recall(self) -> Floats:  # -> (m,)
        """Return which annotated masks overlap a candidate with an IoU of at least 0.50."""
        if not self.candidates or not self.truths:
            return np.zeros(len(self.truths))
        return (rle_iou(self.candidates, self.truths).max(0) >= MATCH_IOU).astype(np.float64)

    def matched(self) -> Floats:  # -> (n,)
        """Return the IoU of each predicted mask with its matched annotation, best pairs first."""
        ious = np.zeros(len(self.found))
        if self.found and self.truths:
            left = rle_iou(self.found, self.truths)
            for _ in range(min(left.shape)):
                row, column = np.unravel_index(left.argmax(), left.shape)
                ious[row] = max(float(left[row, column]), 0)
                left[row], left[:, column] = -1, -1
        return ious

    def union_iou(self) -> float:
        """Return the IoU of the union of predictions with the union of annotations."""
        if not self.found or not self.truths:
            return 0.0
        return float(rle_iou([rle_merge(self.found)], [rle_merge(self.truths)])[0, 0])


def measure_finding(answers: Sequence[FindAnswer]) -> dict[str, float]:
    """Compute the metrics of the module, NaN if undefined. "found": fraction of queries with the
    object and a prediction; "not here": fraction of queries without both."""
    there = [answer for answer in answers if answer.truths]
    absent = [answer for answer in answers if not answer.truths]
    correlation = image_correlation(
        [bool(answer.found) for answer in answers], [bool(answer.truths) for answer in answers]
    )
    f1 = matched_f1(
        [answer.matched() for answer in there], [len(answer.truths) for answer in there]
    )
    names = dict.fromkeys(answer.phrase for answer in there)
    precisions = [
        phrase_ap([answer for answer in answers if answer.phrase == name]) for name in names
    ]
    unions = [[answer.union_iou() for answer in there if answer.phrase == name] for name in names]
    errors = [abs(len(answer.found) - len(answer.truths)) for answer in answers]
    right = np.concatenate([np.zeros(0), *(answer.matched() for answer in there)]) >= MATCH_IOU
    apart = (
        np.concatenate([np.zeros(0, np.bool_), *(answer.unlabeled() for answer in there)]) & ~right
    )
    truths = sum(len(answer.truths) for answer in there)
    recalls = [answer.candidate_recall() for answer in there if answer.candidates is not None]
    return {
        "precision": float(right.sum() / (~apart).sum()) if (~apart).any() else math.nan,
        "recall": float(right.sum() / truths) if truths else math.nan,
        "AP50": _mean([float(precision[0]) for precision in precisions]),
        "unlabeled": _mean(apart),
        "candidates": _mean(np.concatenate(recalls)) if recalls else math.nan,
        "mIoU": _mean([_mean(values) for values in unions]),
        "cgF1": 100 * f1 * correlation,
        "pmF1": f1,
        "IL_MCC": correlation,
        "AP": _mean([float(precision.mean()) for precision in precisions]),
        "counting error": _mean(errors),
        "found": _mean([bool(answer.found) for answer in there]),
        "not here": _mean([not answer.found for answer in absent]),
    }


def _mean(values: Sequence[float] | Floats | BoolArray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def matched_f1(matched: Sequence[Floats], truths: Sequence[int]) -> float:
    """Compute F1 over all images, averaged over IoU thresholds; NaN without images.

    Args:
        matched: (n,) IoUs of the predictions of each image with their matches.
        truths: Number of annotations of each image.
    """
    fits = np.concatenate([np.zeros(0), *matched])
    hits = (fits >= IOU_THRESHOLDS[:, None]).sum(1)  # (T,)
    return float((2 * hits / (len(fits) + sum(truths))).mean()) if truths else math.nan


def image_correlation(is_found: Sequence[bool], is_there: Sequence[bool]) -> float:
    """Compute IL_MCC, Matthews' correlation; NaN without present or without absent objects.

    It is 0 by definition if everything or nothing is found.
    """
    found, there = np.array(is_found, bool), np.array(is_there, bool)
    if there.all() or not there.any():
        return math.nan
    tp, tn = float((found & there).sum()), float((~found & ~there).sum())
    fp, fn = float((found & ~there).sum()), float((~found & there).sum())
    sums = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(sums) if sums else 0.0


def phrase_ap(answers: Sequence[FindAnswer]) -> Floats:  # -> (T,)
    """Compute the average precision of one phrase at each threshold, over masks of all images."""
    truths = sum(len(answer.truths) for answer in answers)
    scores = np.array([score for answer in answers for score in answer.scores], float)
    order = np.argsort(-scores, kind="stable")
    averages = np.zeros(len(IOU_THRESHOLDS))
    for index, level in enumerate(IOU_THRESHOLDS):
        hits = np.concatenate([np.zeros(0), *(_hits(answer, level) for answer in answers)])[order]
        right = np.cumsum(hits)
        precision = right / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(right / max(truths, 1), RECALLS, "left")
        averages[index] = np.append(precision, 0)[np.minimum(at, len(precision))].mean()
    return averages


def _hits(one: FindAnswer, threshold: float) -> Floats:  # -> (n,)
    """Return which masks are matched with an annotation, in descending order of score."""
    hits = np.zeros(len(one.found))
    fits = rle_iou(one.found, one.truths) if one.truths and one.found else hits[:0]
    for row in np.argsort(-np.asarray(one.scores), kind="stable")[: len(fits)]:
        column = int(fits[row].argmax())
        if fits[row, column] >= threshold:
            hits[row], fits[:, column] = 1, -1
    return hits


Way = Literal["example", "words", "colors", "names"]
Ask = Callable[[UintImage], Sequence[Mask]]
Learn = Callable[[str, UintImage, Rle], Ask]  # label, and image and mask of an exemplar


def finding_by(way: Way, model: Model, settings: FindSettings) -> Learn:
    """Return a method for exemplar queries: the exemplar itself, or a baseline that filters
    automatic masks by the exemplar's colors or by its predicted name."""

    def learn(label: str, pixels: UintImage, rle: Rle) -> Ask:
        if way == "example":
            example = (pixels, {"mask": rle_to_mask(rle)})
            return ExampleFinder(model, example, None, settings).find
        if way == "colors":
            return lambda image: same_colors(model, image, histogram(pixels, rle), settings.score)
        label = model.suggest_labels(pixels, [Mask(rle)], top=1)[0][0].label
        return lambda image: model.find(
            image, [label], detector=settings.detector, score=settings.score, side=settings.side
        )

    return learn


def same_colors(model: Model, image: UintImage, requested: FloatArray, score: Any) -> list[Mask]:
    """Return automatic masks whose color histogram is similar to the given one."""
    least = MIN_COLOR_OVERLAP if score is None else score
    masks = model.everything(image)
    alike = [float(np.minimum(requested, histogram(image, mask.rle)).sum()) for mask in masks]
    return [
        replace(mask, score=share)
        for mask, share in zip(masks, alike, strict=True)
        if share >= least
    ]


def histogram(image: UintImage, rle: Rle, bins: int = 8) -> FloatArray:  # -> (bins ** 3,)
    """Return the fractions of a mask's pixels in cubes of Lab space."""
    lab, mask = cv2.cvtColor(image, cv2.COLOR_RGB2LAB), rle_to_mask(rle).view(np.uint8)
    counts = cv2.calcHist([lab], [0, 1, 2], mask, [bins] * 3, [0, 256] * 3).ravel()
    return np.asarray(counts / max(float(counts.sum()), 1.0), np.float32)


def query_images(
    learn: Learn, there: Dataset, absent: Dataset | None = None, limit: int | None = None
) -> Iterator[FindAnswer]:
    """Query every image for each label that another image of the dataset has as well.

    The exemplar is the largest mask of the label in another such image. One image without the label
    is queried as well, from `absent` or from the same dataset.

    Args:
        limit: Maximum number of (label, image) pairs.
    """
    images = [(image, of_label(image)) for image in there]
    others = [] if absent is None else [*absent]
    labels = sorted({label for _, masks in images for label in masks})
    pairs = []
    for label in labels:
        same = [sample for sample in images if label in sample[1]]
        pairs += [(label, sample, same[n - 1]) for n, sample in enumerate(same) if len(same) > 1]
    chosen = np.linspace(0, len(pairs) - 1, min(limit or len(pairs), len(pairs))).astype(int)
    for number, index in enumerate(chosen):
        label, (image, masks), (other, examples) = pairs[index]
        example = max(examples[label], key=rle_area)
        if rle_area(example) < MIN_EXAMPLE_AREA:
            continue
        method = learn(label, there.pixels(other), example)
        queries = [(there, image, masks[label])]
        without = others or [image for image, shown in images if label not in shown]
        if without:
            source = absent if absent is not None and others else there
            queries.append((source, without[number % len(without)], []))
        for source, target, truths in queries:
            records = method(source.pixels(target))
            yield FindAnswer(label, [m.rle for m in records], [m.score for m in records], truths)


def _query_words(
    model: Model,
    there: Dataset,
    settings: FindSettings,
    labels: Sequence[str],
    absent: Dataset | None,
    limit: int | None,
) -> Iterator[FindAnswer]:
    """Query evenly chosen images for labels as text prompts, at most `limit` present ones.

    Absent labels are queried in the same image, or in one of `absent`: all of them without a
    detector, where this costs nothing, else as many as are present. If an image lists its absent
    phrases, as in SA-Co, only these are queried.
    """
    images = [(image, of_label(image)) for image in there]
    shown = [(image, masks) for image, masks in images if set(masks) & set(labels)]
    total = sum(len(set(masks) & set(labels)) for _, masks in shown)
    count = -(-min(total, limit or total) * len(shown) // max(total, 1))
    others = [] if absent is None else [*absent]
    for index in np.linspace(0, len(shown) - 1, count).astype(int).tolist():
        image, masks = shown[index]
        present = [label for label in labels if label in masks]
        missing = [label for label in labels if label not in masks]
        if (negatives := image.extra.get(saco.ABSENT_PHRASES)) is not None:
            missing = [label for label in missing if label in negatives]
        if settings.detector is not None:
            start = index * len(present) % max(len(missing), 1)
            missing = (missing[start:] + missing[:start])[: len(present)]
        whole = rle_merge([rle for rles in masks.values() for rle in rles])
        queries = {label: masks[label] for label in present}
        if absent is None or not others:
            queries |= {label: [] for label in missing}
        yield from _query_image(model, settings, there.pixels(image), queries, whole)
        if absent is not None and others:
            other = absent.pixels(others[index % len(others)])
            yield from _query_image(model, settings, other, {label: [] for label in present}, None)


def _query_image(
    model: Model,
    settings: FindSettings,
    image: UintImage,
    queries: Mapping[str, list[Rle]],
    labeled: Rle | None,
) -> Iterator[FindAnswer]:
    """Query one image for labels with these annotated masks."""
    detector, candidates, encoded = None, None, None
    if settings.detector is None:
        encoded = CandidateMasks.of(model, image)
        candidates = [record.rle for record in encoded.records]
    else:
        detector = open_detector(settings.detector, settings.device)
    for label, truths in queries.items():
        phrases = read_phrases([label], settings.score)
        masks = find_phrases(model, image, phrases, detector, settings, encoded)
        rles, scores = [mask.rle for mask in masks], [mask.score for mask in masks]
        yield FindAnswer(label, rles, scores, truths, candidates, labeled)


def of_label(image: AnnotatedImage) -> dict[str, list[Rle]]:
    """Return the masks of an image by label."""
    by_label: dict[str, list[Rle]] = {}
    for mask in image.objects:
        if rle_area(mask.rle):
            by_label.setdefault(mask.label or DEFAULT_LABEL, []).append(mask.rle)
    return by_label


def evaluate_finding(
    model: Model,
    data: str | Path,
    way: Way = "example",
    absent: str | Path | None = None,
    limit: int | None = None,
    settings: FindSettings = FindSettings(),  # noqa: B008 - it is frozen
    split: str | None = None,
    **reading: Unpack[ReadKeywords],
) -> Report:
    """Evaluate text or exemplar prompts on a labelled dataset.

    Raises DataError if no label of the dataset can be queried.

    Args:
        absent: Images without any of the dataset's objects.
        split: Split of the dataset, such as "val".
        reading: Fields of `anymask.formats.ReadSettings`.
    """
    other = None if absent is None else read(absent, **reading)
    there = read(data, split=split, **reading).with_sizes_checked()
    notes = []
    if way == "words":
        labels = sorted({mask.label for image in there for mask in image.objects if mask.label})
        if settings.detector is None:
            table = require(model.runtime, model.runtime.naming, "mask naming").name_table()
            skipped = [label for label in labels if known_spelling(table, label) is None]
            labels = [label for label in labels if label not in skipped]
            if skipped:
                notes.append(f"Skipped labels that the model has no name for: {', '.join(skipped)}")
        answers = [*_query_words(model, there, settings, labels, other, limit)]
        each = "one for each label of each image"
        requested = "any label that the model has a name for. Text prompts require known names"
    else:
        answers = [*query_images(finding_by(way, model, settings), there, other, limit)]
        each = "each exemplar is the largest mask with its label"
        requested = (
            "any label that occurs in at least two images. An exemplar prompt requires "
            "another image with the same label"
        )
    if not answers:
        raise DataError(f"{data} does not have {requested}.")
    notes = [f"{model.name}, {len(answers)} prompts: {each}", *notes, *there.unread_lines()]
    report = report_values(
        f"Text and exemplar prompts on {data}", way, measure_finding(answers), notes
    )
    about = {"model": model.name, "data": str(data), "questions": len(answers)}
    metrics = report.rows[0]
    return replace(report, rows=[{"way": way, **metrics}], data=about | {way: metrics})
