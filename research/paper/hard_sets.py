"""The suite `hard`: drawn scenes of each kind, and real sets of thin objects and of glass.

Real sets are measured where they lie in the data folder, and are listed on standard error where
they do not: cracks and roads as whole sets, and the thin and transparent classes of COCO photos.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anymask.base import ConfigError
from anymask.evaluation.measures import check_measures
from anymask.evaluation.selection import EvalSet, SetPlan
from anymask.formats import load_set
from research.paper.hard_scenes import GROUPS, KINDS, scene_set

HARD = "hard"
DATA = Path(__file__).parents[3] / "shared" / "data"  # beside a checkout
IMAGES = "unlabelled"
MEASURES = ("clicks", "box", "boundary")


@dataclass(frozen=True)
class RealSet:
    """A dataset of the data folder, or its masks of some labels.

    Attributes:
        group: Group of the suite.
        place: Path in the data folder.
        labels: Labels of the masks that are measured; () for all.
    """

    group: str
    place: str
    labels: tuple[str, ...] = ()


REAL = {
    "cracks": RealSet("thin", "eval/crackforest_road_cracks"),
    "roads": RealSet("thin", "eval/epfl_aerial_roads"),
    "coco_thin": RealSet(
        "thin", "eval/coco_val",
        ("baseball bat", "bicycle", "fork", "knife", "scissors", "skis", "spoon", "tennis racket",
         "tie", "toothbrush"),
    ),
    "coco_glass": RealSet("glass", "eval/coco_val", ("vase", "wine glass")),
}  # fmt: skip


def find_hard_sets(
    root: str | Path | None, names: Sequence[str], only: Sequence[str], also: Sequence[str]
) -> list[EvalSet]:
    """Scenes and real sets, each in the group `GROUP drawn` or `GROUP real`.

    Raises:
        ConfigError: A name is unknown.
        DataError: The data folder has no photos, or a real set is invalid.

    Args:
        root: Data folder. Defaults to `../shared/data` beside the checkout.
        names: Names of sets. Defaults to all.
        only: Measures that replace MEASURES.
        also: Measures in addition.
    """
    data = DATA if root is None else Path(root)
    known = [*KINDS, *REAL]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"Unknown set {unknown[0]!r} in the suite {HARD!r}. Available sets: {', '.join(known)}."
        )
    groups = {one.__name__: group for group, some in GROUPS.items() for one in some}
    sets = []
    for name in names or known:
        group = f"{groups[name]} drawn" if name in KINDS else f"{REAL[name].group} real"
        alpha = ("alpha",) if group == "soft drawn" else ()
        measures = check_measures([*(only or MEASURES + alpha), *also], "measures")
        plan = SetPlan(name=name, groups=(group,), measures=measures)
        if name in KINDS:
            sets.append(EvalSet(plan, *scene_set(name, data / IMAGES)))
        elif (data / REAL[name].place).is_dir():
            sets.append(real_set(plan, data, REAL[name]))
        else:
            print(f"not in {data}, left out: {REAL[name].place}", file=sys.stderr)
    return sets


def real_set(plan: SetPlan, data: Path, real: RealSet) -> EvalSet:
    """A dataset with only the masks of the labels. Raises DataError."""
    info, samples = load_set(data / real.place)
    if real.labels:
        kept = [
            replace(one, masks=tuple(mask for mask in one.masks if mask.label in real.labels))
            for one in samples
        ]
        samples = [one for one in kept if one.masks]
    return EvalSet(plan, info, samples)
