"""The 23 data sets of the Segment Anything paper: who publishes them, and which are in a folder.

Source: Kirillov et al. 2023, section 7.1 and table 7. A data set is found by the path in the suite
file. Its top folder may also have the name of the suite's set or group, in any case and with any
punctuation (`ade20k`, `BBBC038-v1`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anymask.base import AnymaskError, ConfigError, DataError
from anymask.evaluation.selection import EvalSet
from anymask.formats import ReadSettings
from research.paper.suite import Suite, SuiteSet

ORIGINS = {
    "ADE20K": "MIT CSAIL",
    "BBBC038v1": "Broad Bioimage Benchmark Collection",
    "Cityscapes": "Cityscapes, after registration",
    "DOORS": "Zenodo: DOORS, boulders on asteroids",
    "DRAM": "Semantic Segmentation in Art Paintings, Cohen et al. 2022",
    "EgoHOS": "GitHub: owenzlz/EgoHOS",
    "GTEA": "Georgia Tech Egocentric Activity, hand2K masks",
    "Hypersim": "GitHub: apple/ml-hypersim",
    "IBD": "3D Instance Segmentation of MVS Buildings, Chen et al. 2022",
    "iShape": "Megvii: iShape, irregular shapes",
    "LVIS": "LVIS 1.0, on images of COCO 2017",
    "NDD20": "Newcastle University, Northumberland Dolphin Dataset 2020",
    "NDISPark": "Zenodo: Night and Day Instance Segmented Park",
    "OVIS": "Occluded Video Instance Segmentation, Qi et al. 2022",
    "PPDLS": "Plant Phenotyping Datasets, leaf segmentation",
    "Plittersdorf": "SOCRATES: wildlife by stereo camera traps, Haucke et al. 2022",
    "STREETS": "University of Illinois, traffic cameras, Snyder and Do 2019",
    "TimberSeg": "Laval University, TimberSeg 1.0",
    "TrashCan": "University of Minnesota, TrashCan 1.0",
    "VISOR": "EPIC-KITCHENS VISOR, University of Bristol",
    "WoodScape": "Valeo",
    "PIDRay": "Prohibited items in X-ray images, Wang et al. 2021",
    "ZeroWaste-f": "Boston University, ZeroWaste",
}


def locate(one: SuiteSet, root: Path) -> SuiteSet | None:
    """Return the data set with its path in a folder; None if it is missing."""
    if (root / one.place).exists():
        return one
    top, _, rest = one.place.partition("/")
    names = {plain(name) for name in (top, one.plan.name, *one.plan.groups[-1:])}
    for child in sorted(root.iterdir()):
        if plain(child.name) in names and (child / rest).exists():
            return replace(one, place=(Path(child.name) / rest).as_posix())
    return None


def plain(name: str) -> str:
    """Return the letters and digits of a name in lower case."""
    return "".join(filter(str.isalnum, name)).lower()


def open_found(
    suite: Suite, root: Path, names: Sequence[str], reading: ReadSettings | None
) -> list[EvalSet]:
    """Open the sets of a suite that are in a folder, or those of them with the given names.

    Sets that are missing or unreadable are listed on standard error. Raises ConfigError for an
    unknown name, and DataError if no set can be opened.
    """
    known = [one.plan.name for one in suite.sets]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"Unknown set {unknown[0]!r} in the suite {suite.name!r}. Available sets: "
            f"{', '.join(known)}."
        )
    found: list[EvalSet] = []
    missing, unreadable = [], []
    for one in [one for one in suite.sets if not names or one.plan.name in names]:
        here = locate(one, root)
        if here is None:
            missing.append(one)
            continue
        try:
            found.append(here.open(root, reading))
        except AnymaskError as error:
            unreadable.append(f"  {one.plan.name}: {error}")
    if missing:
        lines = [f"  {one.plan.name}: {expected(one)}" for one in missing]
        print(f"Missing in {root}, {len(lines)} sets:", *lines, sep="\n", file=sys.stderr)
    if unreadable:
        count = len(unreadable)
        print(f"Not readable in {root}, {count} sets:", *unreadable, sep="\n", file=sys.stderr)
    if not found:
        raise DataError(
            f"{root} contains no readable set of the suite {suite.name!r}. Expected one or more of "
            f"the folders {', '.join(one.place for one in suite.sets)}."
        )
    return found


def expected(one: SuiteSet) -> str:
    """Describe where to get a missing set, and the expected path."""
    origin = next((ORIGINS[group] for group in one.plan.groups if group in ORIGINS), "")
    converted = "/masks.jsonl, after a conversion" if one.layout == "set" and origin else ""
    return f"{origin}; " * bool(origin) + f"expected {one.place}{converted}"
