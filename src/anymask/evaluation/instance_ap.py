"""Instance segmentation AP: a detector's boxes in, AP of their masks by COCO's or LVIS's rules out.

Segment Anything, section 7.4 and appendix D.5: a detector's boxes are prompts, its classes and
scores stay. COCO: at most 100 masks a photo and class. LVIS is federated: at most 300 masks a photo
over all classes; a class counts in a photo only if it is drawn there or known to be absent; where
it is not drawn exhaustively, a mask without a truth is not wrong. AP of rare, common and frequent
classes is given where the classes say which they are.

The boxes lie beside the set in `detections.json`, as COCO writes results, with the classes' names:

    {"categories": [{"id": 1, "name": "cat", "frequency": "r"}],
     "annotations": [{"image": "a.jpg", "category_id": 1, "bbox": [x, y, w, h], "score": .9}]}

`image` is the photo's file name; `image_id`, the number in the data set, does as well.

Deviation: one decoding a box; the paper refines each mask once more.

Letters: T thresholds of IoU, R recalls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.data.annotations import VOID_LABEL, AnnotatedImage
from anymask.evaluation.coco_rules import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    Matches,
    RankedMasks,
    match_masks,
    precision_at_recalls,
    rank_masks,
)
from anymask.evaluation.metrics import NAN
from anymask.evaluation.protocols import Segmenter, ask_in_parts
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, choose_masks
from anymask.evaluation.set_results import Curve, MetricValue, NotMeasured, SetResult
from anymask.primitives.errors import DataError
from anymask.primitives.notation import parse_json
from anymask.primitives.prompts import Prompt
from anymask.primitives.rle import Rle, mask_to_rle
from anymask.primitives.types import Floats

DETECTIONS_FILE = "detections.json"
MOST_A_CLASS = 100  # COCO
MOST_A_PHOTO = 300  # LVIS
FREQUENCIES = {"r": "APr", "c": "APc", "f": "APf"}

FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """What a detector found: x0, y0, x1, y1 in pixels, the class, how sure it is."""

    box_xyxy: FloatBox
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
    embedding = method.embed(sample.image()) if boxes else None
    prompts = [Prompt.of(box=one.box_xyxy) for one in boxes]
    answers = ask_in_parts(method, embedding, prompts, multimask=False)
    masks = [mask_to_rle(answer.masks[0]) for answer in answers]
    return DetectedPhoto(sample, tuple(masks), tuple(boxes))


# ------------------------------------------------------------------------------------- the rules


def ap_result(
    photos: Sequence[DetectedPhoto], frequency: Mapping[str, str] | None = None
) -> SetResult:
    """AP, AP50, AP75, by size and by frequency; the curve over IoU."""
    ranks = _by_class(photos)
    by_size = {
        size: {
            label: precision
            for label, ranked in ranks.items()
            if (precision := _precision(ranked, areas)) is not None
        }
        for size, areas in AREA_RANGES.items()
    }
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


def _precision(
    ranked: Sequence[RankedMasks], areas: tuple[float, float]
) -> Floats | None:  # (T, R)
    matches: list[Matches] = [match_masks(one, areas) for one in ranked]
    return precision_at_recalls(matches)


def _by_class(photos: Sequence[DetectedPhoto]) -> dict[str, list[RankedMasks]]:
    """What is compared in every photo, for each class."""
    ranks: dict[str, list[RankedMasks]] = {}
    for photo in photos:
        for label, ranked in _ranked_classes(photo):
            ranks.setdefault(label, []).append(ranked)
    return ranks


def _ranked_classes(photo: DetectedPhoto) -> Iterator[tuple[str, RankedMasks]]:
    """The classes that count in a photo, each with its masks and truths."""
    sample, federated = photo.truth, photo.truth.benchmark.federated
    drawn = {mask.label for mask in sample.objects if mask.label is not None}
    scores = np.array([one.score for one in photo.detections], np.float64)
    labels = np.array([one.label for one in photo.detections], np.str_)
    kept = np.argsort(-scores, kind="stable")[: MOST_A_PHOTO if federated else None]
    for label in sorted(drawn | {str(name) for name in labels[kept]}):
        if federated and label not in drawn | federated.absent:
            continue
        own = np.sort(kept[labels[kept] == label])
        yield (
            label,
            rank_masks(
                [photo.masks[int(n)] for n in own],
                scores[own],
                [mask.rle for mask in sample.objects if mask.label == label],
                _crowds(sample, label),
                most=MOST_A_PHOTO if federated else MOST_A_CLASS,
                lenient=bool(federated and label in federated.partial),
            ),
        )


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
