"""Matching by the rules of COCO and LVIS: ranked masks and truths in, matches out.

The best ranked mask takes the truth that it overlaps most, if by the threshold; then the next one.
A truth outside the area range, or of a crowd, is ignored: a mask that matches it counts neither
way. Nor does an unmatched mask outside the area range or, in a federated set, one of a class that
was not drawn exhaustively. The rules and their ties follow pycocotools (`cocoeval.py`,
BSD-2-Clause) and lvis-api (`lvis/eval.py`, BSD-2-Clause).

Letters: D ranked masks, G truths, T thresholds of IoU.

Instance segmentation AP.

Segment Anything, section 7.4 and appendix D.5: a detector's boxes are prompts, its classes and
scores stay. COCO: at most 100 masks a photo and class. LVIS is federated: at most 300 masks a photo
over all classes; a class counts in a photo only if it is drawn there or known to be absent; where
it is not drawn exhaustively, a mask without a truth is not wrong. AP of rare, common and frequent
classes is given where the classes say which they are.

The boxes lie beside the set in `detections.json`, as COCO writes results, with the classes' names:

    {"categories": [{"id": 1, "name": "cat", "frequency": "r"}],
     "annotations": [{"image": "a.jpg", "category_id": 1, "bbox": [x, y, w, h], "score": .9}]}

`image` is the photo's file name; `image_id`, the number in the data set, does as well.

The counting is that of pycocotools (the extra `evaluate`), to which LVIS's rules are added.
Deviation: one decoding a box; the paper refines each mask once more.

Letters: T thresholds of IoU, R recalls.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import BoolArray, DataError, Floats, IntArray, MissingExtra, parse_json
from anymask.evaluation.metrics import NAN
from anymask.evaluation.protocols import Segmenter, ask_in_parts
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, choose_masks
from anymask.evaluation.set_results import Curve, MetricValue, NotMeasured, SetResult
from anymask.formats import VOID_LABEL, AnnotatedImage
from anymask.masks import Prompt, Rle, mask_to_rle, rle_area, rle_intersection, rle_to_coco

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
AREA_RANGES: dict[str, tuple[float, float]] = {  # in pixels, both ends included
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}


@dataclass(frozen=True, eq=False)
class RankedMasks:
    """One photo's masks of one class, best first, and the truths of that class.

    overlap      (D, G) IoU; with a crowd the share of the mask that lies in it
    scores       (D,) falling
    areas        (D,) pixels
    truth_areas  (G,) pixels
    crowd        (G,) truths that are ignored and may be matched many times
    lenient      an unmatched mask is ignored: the class was not drawn exhaustively
    """

    overlap: Floats
    scores: Floats
    areas: IntArray
    truth_areas: IntArray
    crowd: BoolArray
    lenient: bool = False


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of one photo's masks within an area range.

    scores   (D,)
    hit      (T, D) matched with a truth
    ignored  (T, D) counts neither way
    truths   how many truths count
    """

    scores: Floats
    hit: BoolArray
    ignored: BoolArray
    truths: int

    def found(self, most: int | None = None) -> IntArray:
        """Truths that count and are found by the first `most` masks, (T,)."""
        hits: IntArray = (self.hit & ~self.ignored)[:, :most].sum(axis=1, dtype=np.int64)
        return hits


def rank_masks(
    masks: Sequence[Rle],
    scores: Floats,
    truths: Sequence[Rle],
    crowds: Sequence[Rle] = (),
    *,
    most: int,
    lenient: bool = False,
) -> RankedMasks:
    """Sort the masks of one photo and class by score, keep the best `most`, overlap them all."""
    order = np.argsort(-scores, kind="stable")[:most]
    chosen = [masks[int(n)] for n in order]
    everyone = [*truths, *crowds]
    areas = np.array([rle_area(rle) for rle in chosen], np.int64)
    truth_areas = np.array([rle_area(rle) for rle in everyone], np.int64)
    crowd = np.arange(len(everyone)) >= len(truths)
    common = rle_intersection(chosen, everyone)
    union = np.where(crowd, areas[:, None], areas[:, None] + truth_areas - common)
    overlap = common / np.maximum(union, 1)
    return RankedMasks(overlap, scores[order], areas, truth_areas, crowd, lenient)


def match_masks(ranked: RankedMasks, area_range: tuple[float, float]) -> Matches:
    """Match every mask in its rank, at every threshold."""
    low, high = area_range
    outside = (ranked.truth_areas < low) | (ranked.truth_areas > high)
    skipped: BoolArray = ranked.crowd | outside
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    shape = len(least), len(ranked.scores)
    hit, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    open_to = np.ones((len(least), len(skipped)), np.bool_)
    for mask in np.flatnonzero((ranked.overlap >= least[0]).any(axis=1)):
        overlap = ranked.overlap[mask]
        may = open_to & (overlap >= least[:, None])
        best = _last_best(np.where(may & ~skipped, overlap, -1))
        spare = _last_best(np.where(may & skipped, overlap, -1))
        chosen = np.where(best >= 0, best, spare)
        levels = np.flatnonzero(chosen >= 0)
        chosen = chosen[levels]
        hit[levels, mask] = True
        ignored[levels, mask] = skipped[chosen]
        open_to[levels, chosen] = ranked.crowd[chosen]
    off: BoolArray = (ranked.areas < low) | (ranked.areas > high) | ranked.lenient
    return Matches(ranked.scores, hit, ignored | (~hit & off), int((~skipped).sum()))


def _last_best(overlap: Floats) -> IntArray:  # (T, G) -> (T,)
    """The last place of each row's largest value, -1 where all are -1."""
    if not overlap.shape[1]:
        return np.full(len(overlap), -1)
    place = overlap.shape[1] - 1 - overlap[:, ::-1].argmax(axis=1)
    there = overlap.max(axis=1) >= 0
    chosen: IntArray = np.where(there, place, -1)
    return chosen


DETECTIONS_FILE = "detections.json"
MOST_A_CLASS = 100  # COCO
MOST_A_PHOTO = 300  # LVIS
FREQUENCIES = {"r": "APr", "c": "APc", "f": "APf"}

FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """What a detector found: x0, y0, x1, y1 in pixels, the class, how sure it is."""

    box: FloatBox
    label: str
    score: float


@dataclass(frozen=True)
class Detections:
    """A detector's answers to a set.

    photos     those of each photo, beside the samples
    frequency  "r", "c" or "f" of the classes that say it
    """

    photos: tuple[tuple[Detection, ...], ...]
    frequency: Mapping[str, str]


@dataclass(frozen=True)
class DetectedPhoto:
    """One photo's truth, and the masks with the labels and scores of their boxes."""

    truth: AnnotatedImage
    masks: tuple[Rle, ...]
    detections: tuple[Detection, ...]


def measure_instance_ap(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> SetResult:
    """Measure the masks that a method makes of a detector's boxes.

    Raises NotMeasured for a set without `detections.json` or a method that takes no boxes, and
    DataError for a broken file.
    """
    if "box" not in method.spec.accepts:
        raise NotMeasured("it takes no boxes")
    path = one.info.folder / DETECTIONS_FILE
    if not path.is_file():
        raise NotMeasured(
            f"instance AP needs a detector's boxes in {DETECTIONS_FILE} beside the set"
        )
    found = read_detections(path, one.samples)
    images = np.unique(choose_masks(one.plan, one.samples, settings.limit).image)
    answered = []
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        answered.append(_answer(method, sample, found.photos[int(number)]))
        told(done, len(images))
    return ap_result(answered, found.frequency)


def _answer(method: Segmenter, sample: AnnotatedImage, boxes: Sequence[Detection]) -> DetectedPhoto:
    """The mask of every box."""
    embedding = method.encode(sample.image()) if boxes else None
    prompts = [Prompt.of(box=one.box) for one in boxes]
    answers = ask_in_parts(method, embedding, prompts, multimask=False)
    masks = [mask_to_rle(answer.masks[0]) for answer in answers]
    return DetectedPhoto(sample, tuple(masks), tuple(boxes))


# ------------------------------------------------------------------------------------- the rules


def ap_result(
    photos: Sequence[DetectedPhoto], frequency: Mapping[str, str] | None = None
) -> SetResult:
    """AP, AP50, AP75, by size and by frequency; the curve over IoU.

    Raises MissingExtra without pycocotools.
    """
    by_size = _precisions(photos)
    whole = by_size["all"]
    figures = [_ap("AP", whole), _ap("AP50", whole, 0), _ap("AP75", whole, 5)]
    figures += [
        _ap(name, by_size[size])
        for name, size in (("APs", "small"), ("APm", "medium"), ("APl", "large"))
    ]
    for kind, name in FREQUENCIES.items() if frequency else ():
        part = {label: p for label, p in whole.items() if (frequency or {}).get(label) == kind}
        figures.append(_ap(name, part))
    levels = np.array([_ap("", whole, level).value for level in range(len(IOU_THRESHOLDS))])
    curve = Curve(title="instance AP", x=IOU_THRESHOLDS, y=levels, x_label="IoU", y_label="AP")
    return SetResult(figures=tuple(figures), curves=(curve,), notes=(f"{len(whole)} classes",))


def _ap(name: str, precision: Mapping[str, Floats], level: int | None = None) -> MetricValue:
    """The mean over classes, recalls and thresholds (or one of these)."""
    tables = [table if level is None else table[level] for table in precision.values()]
    return MetricValue(name=name, value=float(np.mean(tables)) if tables else NAN)


def _precisions(photos: Sequence[DetectedPhoto]) -> dict[str, dict[str, Floats]]:
    """Of each range of areas and class with truths the precision at every recall, (T, R)."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingExtra("pycocotools", "evaluate", "average precision") from error
    compared = [_compare(photo) for photo in photos]
    labels = sorted({label for one in compared for label in one.labels})
    if not labels:
        return {size: {} for size in AREA_RANGES}
    federated = any(photo.truth.benchmark.federated for photo in photos)
    with redirect_stdout(io.StringIO()):  # it tells every step
        sides = []
        for rows in ([one.truths for one in compared], [one.found for one in compared]):
            side = COCO()
            side.dataset = _to_coco(rows, labels, [photo.truth.hw for photo in photos])
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, "segm")
        run.params.maxDets = [MOST_A_PHOTO if federated else MOST_A_CLASS]
        run.params.areaRng = [list(areas) for areas in AREA_RANGES.values()]
        run.params.areaRngLbl = list(AREA_RANGES)
        run.evaluate()
        for row in filter(None, run.evalImgs):  # LVIS: what nobody looked for is not wrong
            if labels[row["category_id"] - 1] in compared[row["image_id"] - 1].partial:
                row["dtIgnore"] |= row["dtMatches"] == 0
        run.accumulate()
    table: Floats = run.eval["precision"][..., 0]  # (T, R, classes, sizes); -1 without truths
    return {
        size: {label: table[:, :, k, a] for k, label in enumerate(labels) if table[0, 0, k, a] >= 0}
        for a, size in enumerate(AREA_RANGES)
    }


@dataclass(frozen=True)
class _Compared:
    """What is compared in one photo: COCO's rows, their category the class's name.

    labels   the classes that count there
    partial  those that were not drawn exhaustively
    """

    labels: frozenset[str]
    partial: frozenset[str]
    truths: list[dict[str, Any]]
    found: list[dict[str, Any]]


def _compare(photo: DetectedPhoto) -> _Compared:
    """The classes that count in a photo, their truths, crowds and masks."""
    sample, federated = photo.truth, photo.truth.benchmark.federated
    drawn = {mask.label for mask in sample.objects if mask.label is not None}
    scores = np.array([one.score for one in photo.detections], np.float64)
    kept = np.sort(np.argsort(-scores, kind="stable")[: MOST_A_PHOTO if federated else None])
    labels = drawn | {photo.detections[int(n)].label for n in kept}
    if federated:
        labels &= drawn | federated.absent
    truths = [_coco_row(mask.rle, mask.label) for mask in sample.objects if mask.label in labels]
    truths += [
        _coco_row(rle, label, iscrowd=1) for label in labels for rle in _crowds(sample, label)
    ]
    found = [
        _coco_row(photo.masks[int(n)], one.label, score=one.score)
        for n in kept
        if (one := photo.detections[int(n)]).label in labels
    ]
    partial = frozenset(federated.partial if federated else ())
    return _Compared(frozenset(labels), partial, truths, found)


def _coco_row(rle: Rle, label: str | None, **more: float) -> dict[str, Any]:
    return {
        "segmentation": rle_to_coco(rle),
        "area": rle_area(rle),
        "iscrowd": 0,
        "category_id": label,
    } | more


def _to_coco(
    photos: Sequence[Sequence[dict[str, Any]]],
    labels: Sequence[str],
    sizes: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """COCO's document; photos and classes are numbered from 1."""
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    rows = [
        row | {"image_id": image, "category_id": numbers[row["category_id"]]}
        for image, photo in enumerate(photos, start=1)
        for row in photo
    ]
    return {
        "images": [{"id": n, "height": h, "width": w} for n, (h, w) in enumerate(sizes, start=1)],
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
        "annotations": [row | {"id": number} for number, row in enumerate(rows, start=1)],
    }


def _crowds(sample: AnnotatedImage, label: str) -> list[Rle]:
    """What a mask of this class may lie in without being wrong."""
    crowds = [mask for mask in sample.masks if mask.crowd]
    return [mask.rle for mask in crowds if mask.label in (label, VOID_LABEL)]


# -------------------------------------------------------------------------------------- the file


def read_detections(path: Path, samples: Sequence[AnnotatedImage]) -> Detections:
    """A detector's boxes for these photos; those of other photos are left out.

    Raises DataError that names file, record and reason.
    """
    try:
        raw: Any = parse_json(path.read_bytes(), path)
        classes = {int(row["id"]): row for row in raw["categories"]}
        names = {number: str(row["name"]) for number, row in classes.items()}
        rows = list(raw["annotations"])
    except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: wanted COCO's JSON with `categories` and `annotations`, got something else "
            f"({type(error).__name__}: {error})"
        ) from error
    places: dict[str | int, int] = {one.name: n for n, one in enumerate(samples)}
    ids = [one.benchmark.image_id for one in samples]
    places |= {image_id: n for n, image_id in enumerate(ids) if image_id is not None}
    photos: list[list[Detection]] = [[] for _ in samples]
    for number, row in enumerate(rows):
        try:
            place = places.get(_photo_of(row))
            detection = _detection(row, names)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, annotation {number}: wanted image (or image_id), category_id, bbox "
                f"[x, y, w, h] and score; {type(error).__name__}: {error}"
            ) from error
        if place is not None:
            photos[place].append(detection)
    frequency = {
        names[number]: str(row["frequency"])
        for number, row in classes.items()
        if "frequency" in row
    }
    return Detections(tuple(tuple(photo) for photo in photos), frequency)


def _photo_of(row: Mapping[str, Any]) -> str | int:
    return Path(str(row["image"])).name if "image" in row else int(row["image_id"])


def _detection(row: Mapping[str, Any], names: Mapping[int, str]) -> Detection:
    x, y, width, height = (float(value) for value in row["bbox"])
    if not (width > 0 and height > 0 and np.isfinite([x, y, width, height]).all()):
        raise ValueError(f"a box needs a width and a height above 0, got {row['bbox']}")
    label = names[int(row["category_id"])]
    return Detection((x, y, x + width, y + height), label, float(row["score"]))
