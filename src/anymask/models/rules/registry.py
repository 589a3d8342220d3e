"""Model families: a spec and learned tables in, the rules of asking and answering that model out.

A new family is a file here, its network in `models`, a table in the catalogue, and tests. No file
outside of a family's own names it; the rest of the package asks `open_family` for the object.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from anymask.base import ModelError, parse_json
from anymask.masks import CropRefinement, GridDefaults, ModelSpec, Tables
from anymask.models.rules.family import Family
from anymask.models.rules.nano import NanoFamily
from anymask.models.rules.sam import efficient_sam, sam, sam_hq

LOG = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[2] / "assets"
BUNDLED_MODELS = ("nano", "small")  # the models in the package, each a folder of `SHIPPED`
DEFAULT_IMAGE_MODEL = "small"  # of them, what photos are asked with unless told otherwise
DEFAULT_VIDEO_MODEL = "nano"  # all else: videos, scans, pages without a server, trainings
MODEL_VARIABLE = "ANYMASK_MODEL"  # names another one for photos
# nano's quality and stability run lower than SAM's, whose thresholds leave hardly a mask of it. On
# street scenes most of its right masks have a stability of .1 to .6: it says little of their worth.
NANO_GRID = GridDefaults(score=0.5, stability=0.3)
NANO_CLOSER = CropRefinement(margin=1.0, gain=1.2, weight=0.6, min_side=96)
SAM_GRID = GridDefaults(score=0.88, stability=0.95)

_MAKERS: Mapping[str, Callable[[ModelSpec, Tables], Family]] = {
    "sam": lambda spec, tables: sam(spec, SAM_GRID, tables),
    "sam_hq": lambda spec, tables: sam_hq(spec, SAM_GRID, tables),
    "efficient_sam": lambda spec, tables: efficient_sam(spec, SAM_GRID, tables),
    "nano": lambda spec, tables: NanoFamily(spec, NANO_GRID, tables, NANO_CLOSER),
    "small": lambda spec, tables: NanoFamily(spec, NANO_GRID, tables, NANO_CLOSER),
}


def default_model(weights: object = None) -> str:
    """What is asked about photos where no model is named: what ANYMASK_MODEL names, else `small`.

    Videos, scans and training take `DEFAULT_VIDEO_MODEL` whatever the variable says: what reads a
    video's earlier frames was learned with it, and so do weights without a name, as it is what is
    trained where no name is given.
    """
    own = DEFAULT_IMAGE_MODEL if weights is None else DEFAULT_VIDEO_MODEL
    return os.environ.get(MODEL_VARIABLE, "").strip() or own


def family_names() -> tuple[str, ...]:
    """The families that `open_family` knows."""
    return tuple(_MAKERS)


def open_family(
    spec: ModelSpec, tables: Tables | None = None, weights_hash: str | None = None
) -> Family:
    """The rules of a model.

    Raises ModelError for a family that this version does not know.

    Args:
        tables: What was learned beside its weights; None: what the package ships for its
            family.
        weights_hash: Of its weights; a table that names other ones was learned with these, so
            tuned weights go without it, and the log says so.
    """
    maker = _MAKERS.get(spec.family)
    if maker is None:
        raise ModelError(
            f"{spec.name} has the unsupported family {spec.family!r}. This version supports: "
            f"{', '.join(_MAKERS)}. Update anymask."
        )
    learned = shipped_tables(spec.family) if tables is None else tables
    others = {name for name, table in learned.items()
              if "weights" in table and table["weights"] != weights_hash}  # fmt: skip
    if others and weights_hash:
        _tell_once(
            f"{spec.name} (weights {weights_hash[:12]}) does not use the tables "
            f"{', '.join(sorted(others))}, because they were trained for other weights. Automatic "
            "masks are filtered by score and stability only. Set score= or min_objectness= to "
            "adjust the result."
        )
    return maker(spec, {name: table for name, table in learned.items() if name not in others})


@cache
def _tell_once(text: str) -> None:
    LOG.warning(text)


@cache
def shipped_tables(family: str) -> Tables:
    """What a family learned beside the weights in the package; nothing where it learned nothing.

    "ranking" orders the masks of a lone click (`research/fit_ranking.py`), "adaptive" chooses the
    next clicks of automatic mask generation (`segment.adaptive`), "objectness" judges what
    it finds (`segment.search`) and says which weights it was learned with.
    """
    path = SHIPPED / family / "tables.json"
    if not path.is_file():
        return {}
    tables: Tables = parse_json(path.read_bytes(), path)
    return tables


def default_grid() -> GridDefaults:
    """The thresholds of automatic mask generation of the model in the package."""
    return NANO_GRID


def adaptive_table(family: Family) -> Mapping[str, Any]:
    """What chooses the clicks of adaptive mode: the family's own, else the default model's.

    That one can serve any model, as it knows score and stability in units of what the settings
    want; that it was not learned with this one stands in the log.
    """
    own: Mapping[str, Any] | None = family.tables.get("adaptive")
    if own is not None:
        return own
    LOG.info(
        "%s has no table for adaptive mode, so the table of %s selects the points. Exact mode "
        "uses all points of the grid.", family.spec.name, DEFAULT_VIDEO_MODEL,
    )  # fmt: skip
    table: Mapping[str, Any] = shipped_tables(DEFAULT_VIDEO_MODEL)["adaptive"]
    return table
