"""Registry of measures, and the scores of the selected masks of a dataset.

A plan of a dataset lists names (`measures=("clicks", "box", "everything")`), and `--measure NAME`
adds more. There are two kinds:

    per mask     columns of values, one per mask, from one encoding of each image (`MaskMeasure`)
    per dataset  a function that evaluates the whole dataset and returns a `SetResult`

A new measure is a function like `SetMeasure` and a row in MEASURES; report, page and files then
include it automatically. Other packages can add rows to MEASURES (and to MASK_MEASURES) before a
run. Letters: N masks, M columns, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anymask.base import (
    ConfigError,
    DataError,
    Floats,
    OnNamedProgress,
    OnProgress,
    brief,
    need_packages,
)
from anymask.evaluation.coco import measure_instance_ap
from anymask.evaluation.detections import DETECTIONS_FILE
from anymask.evaluation.everything import measure_everything, measure_shown
from anymask.evaluation.metrics import boundary_iou, clicks_needed
from anymask.evaluation.protocols import (
    BOX_KINDS,
    CLICK_KINDS,
    PROMPTS_A_CALL,
    Goal,
    NotMeasured,
    Segmenter,
    TruthMask,
    box_scores,
    click_masks,
    click_rounds,
    deepest_click,
    harm_of,
    predict_in_parts,
    score_first,
    tight_box,
)
from anymask.evaluation.results import SetResult, SetScores
from anymask.evaluation.selection import EvalImage, EvalSet, EvalSettings, choose_masks, mask_limit
from anymask.masks import Prompt, PromptKind, center_click

NOC_CLICKS = 20
COCO_PACKAGES = ("pycocotools",)
NOC_AT = (0.85, 0.90)
HARM = (0.1, 0.02)  # decrease of IoU from which a further click counts as harmful

Accepts = frozenset[PromptKind]
MaskScores = tuple[Floats, ...]  # (N,) for each column


# Measures per mask.


@dataclass(frozen=True, kw_only=True)
class MaskMeasure:
    """Measure with values for each mask."""

    # Function that returns the column names for supported prompts; () if the measure is not
    # supported
    columns: Callable[[Accepts, EvalSettings], tuple[str, ...]]
    # Function of method, image embedding, N annotated masks and settings that returns (N,) for each
    # column
    score: Callable[[Segmenter, Any, Sequence[TruthMask], EvalSettings], MaskScores]


def click_name(n: int) -> str:
    """Name of the column for n clicks."""
    return "1 click" if n == 1 else f"{n} clicks"


def columns_of(needed: Accepts, *names: str) -> Callable[[Accepts, EvalSettings], tuple[str, ...]]:
    """Return these columns for every method that supports the required prompts."""
    return lambda accepts, settings: names if needed <= accepts else ()


def _click_columns(accepts: Accepts, settings: EvalSettings) -> tuple[str, ...]:
    if "point" not in accepts:
        return ()
    more = range(2, settings.clicks + 1) if "negative_point" in accepts else ()
    harm = [f"harm > {drop}" for drop in HARM if more]
    return ("1 click", "oracle", *(click_name(n) for n in more), *harm)


def _score_clicks(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> MaskScores:
    scores = click_rounds(method, embedding, truths, settings.clicks)
    first, *more = scores.ious.T
    harm = [harm_of(scores.ious, drop) for drop in HARM if more]
    return (first, scores.oracle, *more, *harm)


def _score_noc(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> MaskScores:
    goal = Goal(max(NOC_AT), deepest_click)
    scores = click_rounds(method, embedding, truths, NOC_CLICKS, goal)
    return tuple(clicks_needed(scores.ious, at).astype(np.float64) for at in NOC_AT)


def _boundary_columns(accepts: Accepts, settings: EvalSettings) -> tuple[str, ...]:
    prompts = (("point", "1 click"), ("box", "box"))
    return tuple(f"boundary {name}" for kind, name in prompts if kind in accepts)


def _score_boundary(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> MaskScores:
    """Boundary IoU of the first mask for a center click, and of the mask for the box."""
    answers = []
    if "point" in method.spec.accepts:
        clicks = [center_click(truth.mask) for truth in truths]
        answers.append(click_masks(method, embedding, clicks))
    if "box" in method.spec.accepts:
        prompts = [Prompt(box=tight_box(truth.mask)) for truth in truths]
        answers.append(predict_in_parts(method, embedding, prompts))
    return tuple(score_first(some, truths, boundary_iou) for some in answers)


MASK_MEASURES: dict[str, MaskMeasure] = {
    "clicks": MaskMeasure(columns=_click_columns, score=_score_clicks),
    "box": MaskMeasure(
        columns=columns_of(BOX_KINDS, "box"),
        score=lambda method, embedding, truths, _: (box_scores(method, embedding, truths),),
    ),
    "noc": MaskMeasure(
        columns=columns_of(CLICK_KINDS, *(f"noc{round(100 * at)}" for at in NOC_AT)),
        score=_score_noc,
    ),
    "boundary": MaskMeasure(columns=_boundary_columns, score=_score_boundary),
}


# All measures.


# Measure of a whole dataset: a function of method, dataset, settings and a progress callback (done,
# total) in images or masks. It raises NotMeasured, with the reason, if the method or dataset does
# not support it.
SetMeasure = Callable[[Segmenter, EvalSet, EvalSettings, OnProgress], SetResult]


@brief
@dataclass(frozen=True, kw_only=True)
class Measure:
    """Registered measure."""

    about: str  # One-line description for help text and documentation
    function: SetMeasure | None = None  # Function for a whole dataset; None for measures per mask
    packages: tuple[str, ...] = ()  # Required packages of the extra `evaluate`
    file: str = ""  # Required file in the folder of the dataset


MEASURES: dict[str, Measure] = {
    "clicks": Measure(
        about=(
            "mean IoU after each click, the best IoU of three candidates, and the "
            "share of clicks that lower the IoU"
        )
    ),
    "box": Measure(about="mean IoU with tight ground truth boxes"),
    "noc": Measure(about="number of clicks to reach an IoU of 0.85 and 0.90 (at most 20)"),
    "boundary": Measure(
        about="mean boundary IoU, which measures how well the outline of a "
        "mask fits, independent of the size of the mask"
    ),
    "everything": Measure(
        about="automatic masks from a grid of clicks: average recall with at most 10, 100 and "
        "1000 masks",
        function=measure_everything,
        packages=COCO_PACKAGES,
    ),
    "shown": Measure(
        about=(
            "automatic masks with default settings: recall and precision at IoU 0.5, AP and "
            "AR, per class"
        ),
        function=measure_shown,
        packages=COCO_PACKAGES,
    ),
    "instance-ap": Measure(
        about=("instance AP with detector boxes (from detections.json), by the COCO or LVIS rules"),
        function=measure_instance_ap,
        packages=COCO_PACKAGES,
        file=DETECTIONS_FILE,
    ),
}


def check_measures(names: Sequence[object], where: str) -> tuple[str, ...]:
    """Return unique names in the order of MEASURES. Raises ConfigError for unknown names."""
    for name in names:
        if not isinstance(name, str) or name not in MEASURES:
            raise ConfigError(
                f"Unknown measure {name!r} in {where}. Use one of: {', '.join(MEASURES)}."
            )
    return tuple(name for name in MEASURES if name in names)


def check_requirements(sets: Sequence[EvalSet], requested: Collection[str]) -> None:
    """Check, before any image is encoded, that every measure can run.

    Args:
        sets: Datasets with the measures of their plans.
        requested: Measures that the user named; each must be possible on at least one dataset.

    Raises:
        MissingExtra: A package is not installed.
        DataError: No set has the file that a named measure requires.
    """
    for name in dict.fromkeys(name for dataset in sets for name in dataset.plan.measures):
        measure = MEASURES[name]
        need_packages(measure.packages, "evaluate", f"The measure {name!r}")
        folders = [dataset.info.folder for dataset in sets if name in dataset.plan.measures]
        there = [folder for folder in folders if (folder / measure.file).is_file()]
        if name in requested and measure.file and not there:
            raise DataError(
                f"The measure {name!r} requires the file {measure.file}, which is missing in "
                f"{str(folders[0])!r}. Add the file, or omit the measure."
            )


def score_set(
    methods: Sequence[Segmenter],
    one: EvalSet,
    settings: EvalSettings,
    *,
    progress: OnNamedProgress | None = None,
) -> SetScores:
    """Evaluate methods on one dataset with all measures of its plan, on the same masks.

    Args:
        progress: Callback with a description (dataset, and measure for those per dataset), steps
            done and in total.
    """
    tell = progress or (lambda what, done, total: None)
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    results = []
    for name in one.plan.measures:
        if (function := MEASURES[name].function) is None:
            continue
        for method in methods:
            what = f"{one.plan.name} {name}: {method.spec.name}"
            try:
                result = function(method, one, settings, lambda *n, what=what: tell(what, *n))
            except NotMeasured as error:
                result = SetResult(reason=str(error))
            results.append(replace(result, method=method.spec.name, measure=name))

    # Score every mask with every method, image by image; NaN if a method was not evaluated.
    requested = [MASK_MEASURES[name] for name in one.plan.measures if name in MASK_MEASURES]
    plans = []
    for method in methods:
        pairs = [(measure, measure.columns(method.spec.accepts, settings)) for measure in requested]
        names = [name for _, columns in pairs for name in columns]
        measures = [measure for measure, columns in pairs if columns]
        plans.append((method, measures, names, np.full((len(chosen.image), len(names)), np.nan)))
    done = 0
    for image in np.unique(chosen.image):
        rows = np.flatnonzero(chosen.image == image)
        pixels = EvalImage(int(image), one.samples[int(image)], chosen.mask[rows])
        for method, measures, _, table in plans:  # (N, M)
            counted = rows[chosen.rank[rows] < mask_limit(method, settings)]
            if not len(counted) or not measures:
                continue
            embedding = method.encode(pixels.image)
            for start in range(0, len(counted), PROMPTS_A_CALL):
                part = counted[start : start + PROMPTS_A_CALL]
                truths = pixels.truths(chosen.mask[part])
                scores = [m.score(method, embedding, truths, settings) for m in measures]
                table[part] = np.stack([values for some in scores for values in some], axis=1)
        done += len(rows)
        tell(one.plan.name, done, len(chosen.image))
    return SetScores(
        name=one.plan.name,
        groups=one.plan.groups,
        measures=one.plan.measures,
        image=chosen.image,
        mask=chosen.mask,
        area=chosen.area,
        columns={
            (method.spec.name, name): table[:, n]
            for method, _, names, table in plans
            for n, name in enumerate(names)
            # no "oracle" column if there is never a second candidate
            if name != "oracle" or not np.array_equal(table[:, n], table[:, n - 1], equal_nan=True)
        },
        found=tuple(results),
    )
