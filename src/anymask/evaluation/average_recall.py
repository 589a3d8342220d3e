"""Average recall of everything found in a photo: masks in, AR@10, @100, @1000 and by size out.

As Segment Anything measures object proposals (section 7.3 and appendix D.3): the grid of clicks
without filters by quality and stability, duplicates above a box IoU of .9 removed, ranked by the
mean of quality and stability. Average recall is COCO's: the share of objects that a mask among the
best 10, 100 or 1000 of its photo matches, averaged over IoU .5, .55, ..., .95, all classes alike.

Deviation: unless `EvalSettings.grid` says so, a grid of 16 x 16 clicks instead of the paper's
64 x 64, so that 100 photos take minutes on a plain CPU. Such a grid finds fewer than 1000 masks a
photo: AR@1000 then counts them all. `EvalSettings.crop_n_layers` looks at crops of the photo, too
(appendix B, "Cropping"); of two masks whose boxes overlap by more than .95 the smaller crop's
stays, as .9 would drop the better drawn ones of large objects.

Sizes are pixels of the photo as it is measured: up to 32 x 32 small, up to 96 x 96 medium.

Letters: I photos, T thresholds of IoU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anymask.base import Floats
from anymask.evaluation.instance_ap import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    Matches,
    match_masks,
    rank_masks,
)
from anymask.evaluation.metrics import Shares
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, choose_masks
from anymask.evaluation.set_results import (
    Curve,
    DetailTable,
    NotMeasured,
    SetResult,
    shares_to_metric,
)
from anymask.masks import Mask

RECALL_LIMITS = (10, 100, 1000)
GRID_SETTINGS: dict[str, str | float] = {
    "mode": "exact",
    "score": 0.0,
    "stability": 0.0,
    "box_nms_thresh": 0.9,
    "crop_nms_thresh": 0.95,
}


@runtime_checkable
class FindsEverything(Protocol):
    """A method with `everything`; `anymask.Model` is one."""

    def everything(self, image: Any, **grid: Any) -> list[Mask]:
        """All masks of an embedded photo."""
        ...


def measure_everything(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> SetResult:
    """Measure what a method finds by itself.

    Raises NotMeasured for one that has no `measure_everything` or takes no clicks for it.
    """
    if not isinstance(method, FindsEverything):
        raise NotMeasured("it finds nothing by itself, it only answers prompts")
    accepts = method.spec.accepts  # what only divides a photo accepts nothing
    if accepts and "point" not in accepts:
        raise NotMeasured("it takes no clicks")
    photos, masks = [], []
    for photo, found in _photos(method, one, settings, told):
        photos.append(photo)
        masks.append(found)
    clicks = f"{grid_note(settings)}, " if accepts else ""
    return recall_result(photos, f"{clicks}{np.mean(masks):.0f} masks a photo")


def grid_note(settings: EvalSettings) -> str:
    """How many clicks were asked, in words."""
    sides = [2**layer for layer in range(1, settings.crop_n_layers + 1)]
    crops = "".join(f", also in each of {n} x {n} crops" for n in sides)
    return f"{settings.grid} x {settings.grid} clicks{crops}"


Sizes = dict[str, Matches]


def _photos(
    method: FindsEverything, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> Iterator[tuple[Sizes, int]]:
    """Each chosen photo's matches by size, and how many masks were found."""
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    images = np.unique(chosen.image)
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        records = method.everything(
            sample.image(),
            grid=settings.grid,
            crop_n_layers=settings.crop_n_layers,
            **GRID_SETTINGS,
        )
        ranked = rank_masks(
            [record.rle for record in records],
            rank_scores(records),
            [sample.rles[int(n)] for n in chosen.mask[chosen.image == number]],
            [sample.ignore] if sample.ignore is not None else [],
            most=RECALL_LIMITS[-1],
        )
        sizes = {name: match_masks(ranked, areas) for name, areas in AREA_RANGES.items()}
        told(done, len(images))
        yield sizes, len(records)


def rank_scores(records: Sequence[Mask]) -> Floats:
    """The mean of quality and stability."""
    means = [(record.score + (record.stability or 0.0)) / 2 for record in records]
    return np.array(means, np.float64)


def recall_result(photos: Sequence[Sizes], note: str = "") -> SetResult:
    """Figures, a table by size and the curve over IoU of photos that are matched already."""
    figures = [
        shares_to_metric(f"AR@{most}", recall_shares([photo["all"] for photo in photos], most))
        for most in RECALL_LIMITS
    ]
    figures += [
        shares_to_metric(
            f"AR@{RECALL_LIMITS[-1]} {size}",
            recall_shares([photo[size] for photo in photos], RECALL_LIMITS[-1]),
        )
        for size in list(AREA_RANGES)[1:]
    ]
    rows = [_size_row(size, [photo[size] for photo in photos]) for size in AREA_RANGES]
    whole = [photo["all"] for photo in photos]
    objects = max(sum(one.truths for one in whole), 1)
    found = np.sum([one.found(RECALL_LIMITS[-1]) for one in whole], axis=0) / objects
    return SetResult(
        figures=tuple(figures),
        curves=(
            Curve(
                title="everything", x=IOU_THRESHOLDS, y=found,
                x_label="IoU", y_label=f"recall of {RECALL_LIMITS[-1]} masks",
            ),
        ),
        tables=(
            DetailTable(
                title="average recall",
                header=("size", "objects", *(f"AR@{most}" for most in RECALL_LIMITS)),
                rows=tuple(rows),
            ),
        ),
        notes=(note,) if note else (),
    )  # fmt: skip


def _size_row(size: str, photos: Sequence[Matches]) -> tuple[str | float, ...]:
    objects = sum(photo.truths for photo in photos)
    return (size, objects, *(average_recall(photos, most) for most in RECALL_LIMITS))


def recall_shares(photos: Sequence[Matches], most: int) -> Shares:
    """What each photo gives: objects found, averaged over the thresholds, and objects."""
    found = np.array([photo.found(most).mean() for photo in photos], np.float64)
    objects = np.array([photo.truths for photo in photos], np.float64)
    return Shares(found, objects, objects)


def average_recall(photos: Sequence[Matches], most: int) -> float:
    """COCO's AR with so many masks a photo; NaN without an object."""
    shares = recall_shares(photos, most)
    total = shares.bottom.sum()
    return float(shares.top.sum() / total) if total else float("nan")
