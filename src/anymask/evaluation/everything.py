"""Automatic mask generation compared with annotations: average recall, and recall and precision.

`everything` measures object proposals as Segment Anything does (section 7.3 and appendix D.3): a
grid of clicks without filters by quality and stability, duplicates removed above a box IoU of 0.90,
ranked by the mean of quality and stability. Average recall is that of COCO: the fraction of objects
matched by the best 10, 100 or 1000 masks of their image, averaged over IoU 0.50, 0.55, ..., 0.95,
class-agnostic. Sizes are in pixels of the evaluated image: up to 32 x 32 small, up to 96 x 96
medium.

Deviation: the default of `EvalSettings.grid` is 16 x 16 clicks instead of the paper's 64 x 64, so
that 100 images take minutes on a CPU. Such a grid finds fewer than 1000 masks per image, so AR@1000
counts all of them. `EvalSettings.crop_n_layers` adds crops of the image (appendix B, "Cropping").
Of two masks whose boxes overlap by more than 0.95, that of the smaller crop is kept; 0.90 would
remove better masks of large objects.

`shown` measures `everything` with default settings. A mask is correct if its IoU with an object
that no better mask matches is at least 0.50. Masks in ignored areas are not counted. If a dataset
annotates only some objects, precision and AP are lower bounds. AP, AR and the table by class:
`by_class`.

Masks are matched by pycocotools (extra `evaluate`). Letters: I images, T IoU thresholds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from anymask.base import Floats, OnProgress, brief
from anymask.evaluation.coco import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    ComparedImage,
    Matches,
    coco_row,
    match_all,
    match_image,
)
from anymask.evaluation.metrics import NAN, Shares
from anymask.evaluation.protocols import NotMeasured, Segmenter
from anymask.evaluation.results import Curve, DetailTable, MetricValue, SetResult, shares_to_metric
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.formats import AnnotatedImage
from anymask.masks import UNLABELED, Mask

# Automatic masks compared with annotations: AP over all, recall and precision by class.
#
# Recall requires no class prediction: the class is that of the annotation, and any mask may match
# it. Precision and AP of a class count the masks that a method labeled with it (a model with names,
# or a fine-tuned one); they are NaN if no mask has a label.
#
# Masks are matched by pycocotools (extra `evaluate`). Letters: T IoU thresholds, G annotated masks.

EVERYTHING_HEADER = ("class", "objects", "AR", "recall .5", "precision .5", "AP", "shown")


@brief
@dataclass(frozen=True)
class ShownImage:
    """Image with annotated masks, and the masks that a method predicts."""

    truth: AnnotatedImage
    shown: Sequence[Mask]


def shown_ap(images: Sequence[ShownImage]) -> tuple[MetricValue, MetricValue, DetailTable]:
    """Compute class-agnostic AP and AP50, and a table by class.

    Raises MissingExtra without pycocotools.
    """
    run = _matched(images, named=False)
    precision = run.eval["precision"][:, :, 0, 0, 0]  # (T, R); -1 without annotations
    ap, ap50 = (
        float(part.mean()) if part.min() >= 0 else NAN for part in (precision, precision[HALF])
    )
    # A row for each annotated class, from class-agnostic matches and from named masks.
    by_class: dict[str, list[Floats]] = {label: [] for label in _classes(images)}
    for image, row in zip(images, run.evalImgs, strict=False):  # area range "all" comes first
        if row is None:
            continue
        hits = (row["gtMatches"] > 0)[:, np.argsort(row["gtIds"])].T  # (G, T), as annotated
        for mask, hit in zip(image.truth.objects, hits, strict=False):  # a crowd comes last
            by_class[_class_of(mask)].append(hit)
    by_name = _by_name(images, list(by_class))
    rows: list[tuple[str | float, ...]] = []
    for label, of_class in by_class.items():
        recalls = np.array(of_class, np.float64).mean(axis=0)  # (T,)
        named = by_name.get(label, (NAN, NAN, 0))
        rows.append((label, len(of_class), float(recalls.mean()), float(recalls[HALF]), *named))
    table = DetailTable(title="by class", header=EVERYTHING_HEADER, rows=tuple(rows))
    return MetricValue(name="AP", value=ap), MetricValue(name="AP50", value=ap50), table


def _matched(images: Sequence[ShownImage], *, named: bool) -> Any:
    """Run `COCOeval` on all images, class-agnostic or by class name."""
    compared = []
    for image in images:
        labels = [_class_of(mask) if named else "" for mask in image.truth.objects]
        truths = [coco_row(m.rle, x) for m, x in zip(image.truth.objects, labels, strict=True)]
        crowd = image.truth.ignore
        classes = _classes(images) if named else [""]
        truths += [coco_row(crowd, x, iscrowd=1) for x in classes if crowd is not None]
        predicted = [
            coco_row(mask.rle, (mask.label or "") if named else "", score=mask.score)
            for mask in image.shown
            if not named or mask.label in classes
        ]
        compared.append(ComparedImage(image.truth.hw, truths, predicted, frozenset(classes)))
    most = max([len(image.shown) for image in images], default=0)
    run = match_all(compared, _classes(images) if named else [""], max(most, 1))
    with redirect_stdout(io.StringIO()):  # it prints every step
        run.accumulate()
    return run


def _class_of(mask: Mask) -> str:
    return mask.label or UNLABELED


def _classes(images: Sequence[ShownImage]) -> list[str]:
    return sorted({_class_of(mask) for image in images for mask in image.truth.objects})


def _by_name(
    images: Sequence[ShownImage], classes: Sequence[str]
) -> dict[str, tuple[float, float, int]]:
    """Return precision at IoU 0.50, AP, and number of masks of each predicted class."""
    if not any(mask.label in classes for image in images for mask in image.shown):
        return {}
    run = _matched(images, named=True)
    answers = {}
    for number, label in enumerate(classes):
        rows = run.evalImgs[number * len(AREA_RANGES) * len(images) :][: len(images)]
        hit = counted = 0
        for row in filter(None, rows):
            counts = ~row["dtIgnore"][HALF]
            hit += int(np.count_nonzero((row["dtMatches"] > 0)[HALF] & counts))
            counted += int(np.count_nonzero(counts))
        precision = run.eval["precision"][:, :, number, 0, 0]
        ap = float(precision.mean()) if precision.min() >= 0 else NAN
        answers[label] = (hit / counted if counted else NAN, ap, counted)
    return answers


RECALL_LIMITS = (10, 100, 1000)
HALF = 0  # index of IoU 0.50 among the thresholds
GRID_SETTINGS: dict[str, str | float] = {
    "mode": "exact",
    "score": 0.0,
    "stability": 0.0,
    "box_nms_thresh": 0.9,
    "crop_nms_thresh": 0.95,
}


def measure_everything(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress
) -> SetResult:
    """Measure the average recall of automatic mask generation.

    Raises NotMeasured for a method without `everything` or without point prompts.
    """
    if not hasattr(method, "everything"):
        raise NotMeasured("This model does not support automatic mask generation.")
    accepts = method.spec.accepts  # empty for methods that only partition an image
    if accepts and "point" not in accepts:
        raise NotMeasured("This model does not support point prompts.")
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    images = np.unique(chosen.image)
    image_files, counts = [], []
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        records: Sequence[Mask] = cast(Any, method).everything(
            sample.image(), grid=settings.grid, crop_n_layers=settings.crop_n_layers,
            **GRID_SETTINGS,
        )  # fmt: skip
        truths = [sample.rles[int(n)] for n in chosen.mask[chosen.image == number]]
        image_files.append(
            match_image(
                sample.hw, [record.rle for record in records], rank_scores(records), truths,
                sample.ignore, most=RECALL_LIMITS[-1],
            )
        )  # fmt: skip
        counts.append(len(records))
        progress(done, len(images))
    sides = [2**layer for layer in range(1, settings.crop_n_layers + 1)]
    crops = "".join(f" and in each of {n} x {n} crops" for n in sides)
    clicks = f"{settings.grid} x {settings.grid} clicks{crops}, " * bool(accepts)
    return recall_result(image_files, f"{clicks}{np.mean(counts):.0f} masks per image on average")


def rank_scores(records: Sequence[Mask]) -> Floats:  # -> (N,)
    """Return the mean of quality and stability."""
    return np.array([(record.score + (record.stability or 0.0)) / 2 for record in records], float)


def recall_result(images: Sequence[dict[str, Matches]], note: str = "") -> SetResult:
    """Summarize matched images: metrics, a table by size and the curve over IoU."""
    most = RECALL_LIMITS[-1]
    metrics = [(f"AR@{limit}", "all", limit) for limit in RECALL_LIMITS]
    metrics += [(f"AR@{most} {size}", size, most) for size in list(AREA_RANGES)[1:]]
    by_size = {size: [image[size] for image in images] for size in AREA_RANGES}
    rows: list[tuple[str | float, ...]] = []
    for size, matches in by_size.items():
        objects = sum(image.truths for image in matches)
        rows.append((size, objects, *(average_recall(matches, limit) for limit in RECALL_LIMITS)))
    objects = max(sum(image.truths for image in by_size["all"]), 1)
    recalls = np.sum([image.found(most) for image in by_size["all"]], axis=0) / objects
    curve = Curve(
        title="everything", x=IOU_THRESHOLDS, y=recalls, x_label="IoU",
        y_label=f"recall with at most {most} masks",
    )  # fmt: skip
    header = ("size", "objects", *(f"AR@{limit}" for limit in RECALL_LIMITS))
    return SetResult(
        figures=tuple(
            shares_to_metric(name, recall_shares(by_size[size], limit))
            for name, size, limit in metrics
        ),
        curves=(curve,),
        tables=(DetailTable(title="average recall", header=header, rows=tuple(rows)),),
        notes=(note,) if note else (),
    )


def recall_shares(images: Sequence[Matches], most: int) -> Shares:
    """Return for each image the matched objects, averaged over thresholds, and the objects."""
    matched = np.array([image.found(most).mean() for image in images], np.float64)
    objects = np.array([image.truths for image in images], np.float64)
    return Shares(matched, objects, objects)


def average_recall(images: Sequence[Matches], most: int) -> float:
    """Return COCO's AR with at most `most` masks per image; NaN without objects."""
    shares = recall_shares(images, most)
    return float(shares.top.sum() / total) if (total := shares.bottom.sum()) else NAN


def measure_shown(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress
) -> SetResult:
    """Measure automatic mask generation with default settings.

    Raises NotMeasured for a method without `everything`.
    """
    if not hasattr(method, "everything") or not method.spec.accepts:
        raise NotMeasured("This model does not support automatic mask generation.")
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    images = np.unique(chosen.image)  # with all of their objects, which precision requires
    rows, image_files = [], []
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        records: Sequence[Mask] = cast(Any, method).everything(sample.image())
        image_files.append(ShownImage(sample, records))
        scores = np.array([record.score for record in records], np.float64)
        rles, most = [record.rle for record in records], max(len(records), 1)
        matches = match_image(
            sample.hw, rles, scores, sample.rles, sample.ignore, most=most
        )["all"]  # fmt: skip
        counted = np.count_nonzero(~matches.ignored[HALF])
        hits = matches.found()
        rows.append((int(hits[HALF]), float(hits.mean()), matches.truths, counted))
        progress(done, len(images))
    matched, levels, truths, shown = np.array(rows, np.float64).reshape(-1, 4).T
    each = np.ones(len(matched))
    ap, ap50, table = shown_ap(image_files)
    return SetResult(
        figures=(
            shares_to_metric("recall .5", Shares(matched, truths, truths)),
            shares_to_metric("precision .5", Shares(matched, shown, shown)),
            shares_to_metric("masks a photo", Shares(shown, each, each), digits=1),
            ap,
            ap50,
            shares_to_metric("AR", Shares(levels, truths, truths)),
        ),
        tables=(table,),
    )
