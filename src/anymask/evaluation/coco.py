"""COCO and LVIS evaluation with pycocotools: matches of one image, and AP of box-prompted masks.

Segment Anything, section 7.4 and appendix D.5: the boxes of a detector are prompts, and its classes
and scores are kept. COCO: at most 100 masks per image and class. LVIS is federated: at most 300
masks per image over all classes; a class counts in an image only if it is annotated there or known
to be absent; if it is not annotated exhaustively, an unmatched mask is not a false positive. AP of
rare, common and frequent classes is computed if the classes declare their frequency.

The evaluation is that of pycocotools (extra `evaluate`), with LVIS's rules added. Deviation: each
box is decoded once; the paper refines each mask once more.

Letters: D masks, T IoU thresholds, R recalls.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import BoolArray, Floats, IntArray, OnProgress, brief, need_packages
from anymask.evaluation.detections import DETECTIONS_FILE, Detection, read_detections
from anymask.evaluation.metrics import NAN
from anymask.evaluation.protocols import NotMeasured, Segmenter, predict_in_parts
from anymask.evaluation.report import Report, report_values
from anymask.evaluation.results import Curve, MetricValue, SetResult
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.formats import (
    VOID_LABEL,
    AnnotatedImage,
    LossReport,
    fields,
    located,
    read_annotations,
    read_json,
    segmentation_to_rle,
)
from anymask.masks import Prompt, Rle, counted, mask_to_rle, rle_area, rle_to_coco

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
AREA_RANGES: dict[str, tuple[float, float]] = {  # in pixels, inclusive
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
COCO_STATS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
MAX_A_CLASS = 100  # COCO
MAX_A_IMAGE = 300  # LVIS
FREQUENCIES = {"r": "APr", "c": "APc", "f": "APf"}


@dataclass(frozen=True)
class ComparedImage:
    """Rows of one image in COCO format, with class names as categories."""

    hw: tuple[int, int]  # (H, W)
    truths: list[dict[str, Any]]  # Annotated masks
    found: list[dict[str, Any]]  # Predicted masks
    labels: frozenset[str]  # Classes that count in this image
    # Classes that are not annotated exhaustively: unmatched masks are ignored
    partial: frozenset[str] = frozenset()


def coco_row(rle: Rle, label: str | None, **more: float) -> dict[str, Any]:
    """Convert a mask to an annotation of pycocotools."""
    row = {"segmentation": rle_to_coco(rle), "area": rle_area(rle), "iscrowd": 0}
    return row | {"category_id": label} | more


def _pycocotools() -> tuple[Any, Any]:
    need_packages(("pycocotools",), "evaluate", "COCO-style counting")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


def match_all(image_files: Sequence[ComparedImage], labels: Sequence[str], most: int) -> Any:
    """Run `COCOeval` on all images, classes and area ranges, with at most `most` masks of each.

    Raises MissingExtra without pycocotools.
    """
    COCO, COCOeval = _pycocotools()
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    images = [
        {"id": n, "height": pixels.hw[0], "width": pixels.hw[1]}
        for n, pixels in enumerate(image_files, start=1)
    ]
    with redirect_stdout(io.StringIO()):  # it prints every step
        sides = []
        for part in ("truths", "found"):
            rows = [
                row | {"image_id": image, "category_id": numbers[row["category_id"]]}
                for image, pixels in enumerate(image_files, start=1)
                for row in getattr(pixels, part)
            ]
            side = COCO()
            side.dataset = {
                "images": images,
                "categories": [{"id": n, "name": label} for label, n in numbers.items()],
                "annotations": [row | {"id": number} for number, row in enumerate(rows, start=1)],
            }
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, "segm")
        run.params.maxDets = [most]
        run.params.areaRng = [list(areas) for areas in AREA_RANGES.values()]
        run.params.areaRngLbl = list(AREA_RANGES)
        run.evaluate()
    return run


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of the masks of one image, best first, within an area range."""

    hit: BoolArray  # (T, D) matched with an annotation
    ignored: BoolArray  # (T, D) ignored
    truths: int  # Number of annotations that count

    def found(self, most: int | None = None) -> IntArray:
        """Return the number of annotations matched by the first `most` masks, (T,)."""
        return np.asarray((self.hit & ~self.ignored)[:, :most].sum(axis=1, dtype=np.int64))


def match_image(
    hw: tuple[int, int],
    masks: Sequence[Rle],
    scores: Floats,
    truths: Sequence[Rle],
    crowd: Rle | None = None,
    *,
    most: int,
) -> dict[str, Matches]:
    """Match the masks of one image in every area range, class-agnostic.

    Args:
        crowd: Ignored pixels: masks in them are not false positives.
        most: Maximum number of masks, by score.
    """
    drawn = [coco_row(rle, "") for rle in truths]
    drawn += [] if crowd is None else [coco_row(crowd, "", iscrowd=1)]
    predicted = [coco_row(rle, "", score=float(s)) for rle, s in zip(masks, scores, strict=True)]
    run = match_all([ComparedImage(hw, drawn, predicted, frozenset({""}))], [""], most)
    none = np.zeros((len(IOU_THRESHOLDS), 0), np.bool_)
    return {
        size: Matches(none, none, 0)
        if row is None
        else Matches(
            row["dtMatches"] > 0, row["dtIgnore"] > 0, int(np.count_nonzero(row["gtIgnore"] == 0))
        )
        for size, row in zip(AREA_RANGES, run.evalImgs, strict=True)
    }


def report_masks(results: Path, truth: Path) -> Report:
    """Score a COCO result file with masks by `COCOeval`. Raises DataError, MissingExtra."""
    COCO, COCOeval = _pycocotools()
    for path, format in ((truth, "coco"), (results, "results")):  # pycocotools checks no sizes
        read_annotations(path, format, on_bad="error")
    document, predicted, annotated = read_json(truth), read_json(results), COCO()
    rows = predicted["annotations"] if isinstance(predicted, dict) else predicted
    with located(truth):
        sized = ((image["id"], image["height"], image["width"]) for image in document["images"])
        hws = {fields.as_whole(n, "id"): fields.checked_hw(h, w) for n, h, w in sized}
        annotated.dataset = {
            "images": [{"id": n, "height": h, "width": w} for n, (h, w) in hws.items()],
            "categories": [{"id": fields.as_whole(c["id"], "id")} for c in document["categories"]],
            "annotations": _complete(document["annotations"], hws),
        }
    with located(results):
        own = _complete(rows, hws)
    with redirect_stdout(io.StringIO()):
        annotated.createIndex()
        predicted = annotated.loadRes(own) if own else COCO()
        run = COCOeval(annotated, predicted, "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = (NAN if value < 0 else value for value in run.stats.tolist())
    other = len(rows) - len(own)
    return report_values(
        f"{results.name} against {truth.name}", "masks", dict(zip(COCO_STATS, stats, strict=True)),
        [f"skipped {counted(other, 'mask')} of other images"] * (other > 0),
    )  # fmt: skip


def _complete(rows: list[Any], hws: Mapping[int, tuple[int, int]]) -> list[dict[str, Any]]:
    """Return the rows of known images with the keys that pycocotools requires, ids from 1."""
    complete = list[dict[str, Any]]()
    for number, row in enumerate(rows, start=1):
        if (image := fields.as_whole(row["image_id"], "image_id")) in hws:
            rle = segmentation_to_rle(row["segmentation"], hws[image])
            kind = fields.as_whole(row["category_id"], "category_id")
            area = fields.as_number(row.get("area", rle_area(rle)), "area")
            score = fields.as_number(row.get("score", 0), "score")
            crowd = bool(row.get("iscrowd"))
            about = {"id": number, "image_id": image, "category_id": kind, "iscrowd": crowd}
            complete.append(coco_row(rle, None, area=area, score=score, **about))
    return complete


@brief
@dataclass(frozen=True)
class DetectedImage:
    """Image with annotations, and the masks, labels and scores of detected boxes."""

    truth: AnnotatedImage
    masks: tuple[Rle, ...]
    detections: tuple[Detection, ...]


def measure_instance_ap(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress
) -> SetResult:
    """Measure the AP of masks that a method predicts for the boxes of a detector.

    Raises NotMeasured for a set without `detections.json` or a method without box prompts,
    DataError like `read_detections`, MissingExtra without pycocotools.
    """
    if "box" not in method.spec.accepts:
        raise NotMeasured("This model does not support box prompts.")
    path = one.info.folder / DETECTIONS_FILE
    if not path.is_file():
        raise NotMeasured(
            f"Instance AP requires detection boxes in {DETECTIONS_FILE} in the folder of the set."
        )
    report = LossReport(settings=one.reading)
    detections = read_detections(path, one.samples, report)
    images = np.unique(choose_masks(one.plan, one.samples, settings.limit).image)
    answered = []
    for done, number in enumerate(images, start=1):
        sample, boxes = one.samples[int(number)], detections.images[int(number)]
        embedding = method.encode(sample.image()) if boxes else None
        answers = predict_in_parts(method, embedding, [Prompt.of(box=box.box) for box in boxes])
        masks = tuple(mask_to_rle(answer.masks[0]) for answer in answers)
        answered.append(DetectedImage(sample, masks, boxes))
        progress(done, len(images))
    result = ap_result(answered, detections.frequency)
    return replace(result, notes=(*result.notes, *report.lines(source=path)))


def ap_result(
    images: Sequence[DetectedImage], frequency: Mapping[str, str] | None = None
) -> SetResult:
    """Compute AP, AP50, AP75, AP by size and by frequency, and the curve over IoU.

    Raises MissingExtra without pycocotools.
    """
    by_size = _precisions(images)
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
    """Mean precision over classes, recalls and thresholds (or a single threshold)."""
    tables = [table if level is None else table[level] for table in precision.values()]
    return MetricValue(name=name, value=float(np.mean(tables)) if tables else NAN)


def _precisions(images: Sequence[DetectedImage]) -> dict[str, dict[str, Floats]]:
    """Return the precision at every recall, (T, R), by area range and class."""
    compared = [_compare(image) for image in images]
    labels = sorted({label for image in compared for label in image.labels})
    if not labels:
        return {size: {} for size in AREA_RANGES}
    federated = any(image.truth.benchmark.federated for image in images)
    run = match_all(compared, labels, MAX_A_IMAGE if federated else MAX_A_CLASS)
    for row in filter(None, run.evalImgs):  # LVIS: unmatched masks of such classes are ignored
        if labels[row["category_id"] - 1] in compared[row["image_id"] - 1].partial:
            row["dtIgnore"] |= row["dtMatches"] == 0
    with redirect_stdout(io.StringIO()):
        run.accumulate()
    table: Floats = run.eval["precision"][..., 0]  # (T, R, classes, sizes); -1: no annotations
    return {
        size: {label: table[:, :, k, a] for k, label in enumerate(labels) if table[0, 0, k, a] >= 0}
        for a, size in enumerate(AREA_RANGES)
    }


def _compare(image: DetectedImage) -> ComparedImage:
    """Return the classes that count in an image, their annotations, crowds and masks."""
    sample, federated = image.truth, image.truth.benchmark.federated
    drawn = {mask.label for mask in sample.objects if mask.label is not None}
    scores = np.array([detection.score for detection in image.detections], np.float64)
    kept = np.sort(np.argsort(-scores, kind="stable")[: MAX_A_IMAGE if federated else None])
    labels = drawn | {image.detections[int(n)].label for n in kept}
    if federated:
        labels &= drawn | federated.absent
    truths = [coco_row(mask.rle, mask.label) for mask in sample.objects if mask.label in labels]
    truths += [
        coco_row(mask.rle, label, iscrowd=1)
        for label in labels
        for mask in sample.masks
        if mask.crowd and mask.label in (label, VOID_LABEL)
    ]
    predicted = [
        coco_row(image.masks[int(n)], detection.label, score=detection.score)
        for n in kept
        if (detection := image.detections[int(n)]).label in labels
    ]
    partial = frozenset(federated.partial if federated else ())
    return ComparedImage(sample.hw, truths, predicted, frozenset(labels), partial)
