"""The names of what can be measured, and the functions that measure it.

A suite's set lists names (`measures = ["clicks", "box", "everything"]`), `--measure NAME` asks for
more. There are two kinds:

    mask by mask  a value a mask, from one look at each photo (`protocols`, `scoring`)
    set by set    a function of its own that looks at the whole set and returns a `Finding`

A new measure of a set is a function like `SetMeasure` in a module of its own and one row in
MEASURES; report, page and files then show it without knowing what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from anymask.evaluation.findings import Finding, Found, NotMeasured
from anymask.primitives.errors import ConfigError

if TYPE_CHECKING:  # a suite reads the names here before it has sets
    from anymask.evaluation.protocols import Segmenter
    from anymask.evaluation.suite import EvalSet, Settings

Told = Callable[[int, int], None]


class SetMeasure(Protocol):
    """How a measure of a whole set is called."""

    def __call__(self, method: Segmenter, one: EvalSet, settings: Settings, told: Told) -> Finding:
        """Measure one method on one set.

        told  called with the photos (or masks) done and in all, now and then

        Raises NotMeasured, with the reason, for a method or a set that cannot be measured so.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the table.

    about     for the help text and the documentation, in one line
    function  "module:function" of a SetMeasure, imported when it is asked for; "" for what is
              scored mask by mask
    """

    about: str
    function: str = ""


MEASURES: dict[str, Measure] = {
    "clicks": Measure(about="mean IoU after one click and after several, and the oracle of three"),
    "box": Measure(about="mean IoU from the truth's tight box"),
    "noc": Measure(about="clicks needed to an IoU of .85 and of .90, at most 20"),
    "noisy-box": Measure(about="mean IoU from boxes whose edges are off by 5, 10 and 20 %"),
    "refine": Measure(about="mean IoU of a spoiled mask, and after the model has refined it"),
    "boundary": Measure(about="mean boundary IoU: how well the outline fits, whatever the size"),
    "calibration": Measure(
        about="does the predicted quality rank the candidates of a click, and is it right?",
        function="anymask.evaluation.calibration:calibration",
    ),
    "robustness": Measure(
        about="what blur, noise, JPEG, gamma and a click a little off cost",
        function="anymask.evaluation.robustness:robustness",
    ),
    "fairness": Measure(
        about="mean IoU by group, and the largest gap (groups: --groups FILE, else labels)",
        function="anymask.evaluation.fairness:fairness",
    ),
    "everything": Measure(
        about="what a grid of clicks finds by itself: average recall of 10, 100 and 1000 masks",
        function="anymask.evaluation.average_recall:everything",
    ),
    "regions": Measure(
        about="the photo divided into masks, against people: covering, PRI, VOI (annotated sets)",
        function="anymask.evaluation.region_quality:regions",
    ),
    "edges": Measure(
        about="edges of a grid of clicks against people's: ODS, OIS, AP, R50 (annotated sets)",
        function="anymask.evaluation.edges:edges",
    ),
    "instance-ap": Measure(
        about="instance AP of a detector's boxes (detections.json), by COCO's or LVIS's rules",
        function="anymask.evaluation.instance_ap:instance_ap",
    ),
    "text": Measure(
        about="words to masks, as PhraseCut counts: cumulative IoU",
        function="anymask.evaluation.text:text",
    ),
}
DEFAULT = ("clicks", "box")


def check_measures(names: Sequence[object], where: str) -> tuple[str, ...]:
    """The names, each once, in the order of MEASURES. Raises ConfigError for one that is none."""
    for name in names:
        if not isinstance(name, str) or name not in MEASURES:
            raise ConfigError(
                f"{where}: there is no measure {name!r}; there are {', '.join(MEASURES)}"
            )
    return tuple(name for name in MEASURES if name in names)


def measure_set(
    name: str, method: Segmenter, one: EvalSet, settings: Settings, told: Told
) -> Found:
    """Measure one method on one set by a measure of whole sets."""
    module, _, function = MEASURES[name].function.partition(":")
    measure = cast(SetMeasure, getattr(import_module(module), function))
    try:
        finding = measure(method, one, settings, told)
    except NotMeasured as error:
        return Found(method=method.spec.name, measure=name, reason=str(error))
    return Found(method=method.spec.name, measure=name, finding=finding)
