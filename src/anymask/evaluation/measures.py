"""What a method shows by itself, with its own defaults: recall and precision at IoU .5 out.

What an annotator opens in the morning: `everything` as it is called without any setting. A mask is
right if it overlaps an object that no better mask has with an IoU of at least .5; one that lies in
an area that does not count is not counted. Where a set labels only some of what a photo holds, the
precision is a lower bound. Average recall (`average_recall`) is the other measure of everything,
without the thresholds.

The table of measures.

A suite's set lists names (`measures = ["clicks", "box", "everything"]`), `--measure NAME` asks for
more. There are two kinds:

    mask by mask  a value a mask, from one look at each photo (`protocols`, `scoring`)
    set by set    a function of its own that looks at the whole set and returns a `SetResult`

A new measure of a set is a function like `SetMeasure` in a module of its own and one row in
MEASURES; report, page and files then show it without knowing what it means. Code outside of the
package adds rows of its own to MEASURES (and to `mask_measures.MASK_MEASURES`) before a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anymask.base import ConfigError
from anymask.evaluation.average_recall import FindsEverything, measure_everything
from anymask.evaluation.calibration import measure_calibration
from anymask.evaluation.instance_ap import AREA_RANGES, match_masks, measure_instance_ap, rank_masks
from anymask.evaluation.metrics import Shares
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, choose_masks
from anymask.evaluation.set_results import MethodResult, NotMeasured, SetResult, shares_to_metric

HALF = 0  # place of IoU .5 among `coco_rules.IOU_THRESHOLDS`


def measure_shown(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> SetResult:
    """Measure what a method shows when it is asked for everything.

    Raises NotMeasured for one that has no `everything` of its own.
    """
    if not isinstance(method, FindsEverything) or not method.spec.accepts:
        raise NotMeasured("it shows nothing by itself")
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    images = np.unique(chosen.image)  # each with all of its objects: precision needs them
    rows = []
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        records = method.everything(sample.image())
        ranked = rank_masks(
            [record.rle for record in records],
            np.array([record.score for record in records], np.float64),
            sample.rles,
            [sample.ignore] if sample.ignore is not None else [],
            most=max(len(records), 1),
        )
        matches = match_masks(ranked, AREA_RANGES["all"])
        counted = np.count_nonzero(~matches.ignored[HALF])
        rows.append((int(matches.found()[HALF]), matches.truths, counted))
        told(done, len(images))
    found, truths, shown = np.array(rows, np.float64).reshape(-1, 3).T
    photos = np.ones(len(found))
    return SetResult(
        figures=(
            shares_to_metric("recall .5", Shares(found, truths, truths)),
            shares_to_metric("precision .5", Shares(found, shown, shown)),
            shares_to_metric("masks a photo", Shares(shown, photos, photos), digits=1),
        )
    )


class SetMeasure(Protocol):
    """How a measure of a whole set is called."""

    def __call__(
        self, method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
    ) -> SetResult:
        """Measure one method on one set.

        told  called with the photos (or masks) done and in all, now and then

        Raises NotMeasured, with the reason, for a method or a set that cannot be measured so.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the table.

    about     for the help text and the documentation, in one line
    function  measures a whole set; None for what is scored mask by mask
    """

    about: str
    function: SetMeasure | None = None


MEASURES: dict[str, Measure] = {
    "clicks": Measure(about="mean IoU after one click and after several, and the oracle of three"),
    "box": Measure(about="mean IoU from the truth's tight box"),
    "noc": Measure(about="clicks needed to an IoU of .85 and of .90, at most 20"),
    "boundary": Measure(about="mean boundary IoU: how well the outline fits, whatever the size"),
    "calibration": Measure(
        about="does the predicted quality rank the candidates of a click, and is it right?",
        function=measure_calibration,
    ),
    "everything": Measure(
        about="what a grid of clicks finds by itself: average recall of 10, 100 and 1000 masks",
        function=measure_everything,
    ),
    "shown": Measure(
        about="what everything shows by default: recall and precision at IoU .5, masks a photo",
        function=measure_shown,
    ),
    "instance-ap": Measure(
        about="instance AP of a detector's boxes (detections.json), by COCO's or LVIS's rules",
        function=measure_instance_ap,
    ),
}


def check_measures(names: Sequence[object], where: str) -> tuple[str, ...]:
    """The names, each once, in the order of MEASURES. Raises ConfigError for one that is none."""
    for name in names:
        if not isinstance(name, str) or name not in MEASURES:
            raise ConfigError(
                f"{where}: there is no measure {name!r}; there are {', '.join(MEASURES)}"
            )
    return tuple(name for name in MEASURES if name in names)


def measure_set(
    name: str, method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> MethodResult:
    """Measure one method on one set by a measure of whole sets."""
    measure = MEASURES[name].function
    assert measure is not None, name
    try:
        result = measure(method, one, settings, told)
    except NotMeasured as error:
        return MethodResult(method=method.spec.name, measure=name, reason=str(error))
    return MethodResult(method=method.spec.name, measure=name, result=result)
