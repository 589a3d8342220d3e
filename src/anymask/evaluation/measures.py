"""The table of measures: a name in, the function that measures a method on a set out.

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

from anymask.base import ConfigError
from anymask.evaluation.average_recall import measure_everything
from anymask.evaluation.calibration import measure_calibration
from anymask.evaluation.instance_ap import measure_instance_ap
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress
from anymask.evaluation.set_results import MethodResult, NotMeasured, SetResult
from anymask.evaluation.shown_masks import measure_shown


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
