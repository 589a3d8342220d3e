"""Registry of model families.

A new family requires a file here, its network in `models`, a table in the catalogue, and tests; or
a plug-in that adds a `FamilyPlugin`. Other code does not depend on a specific family; it uses
`open_family`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import FloatArray, ModelError, brief, load_plugin, parse_json
from anymask.masks import (
    CHOICES,
    ONE_OR_THREE,
    OPENCV,
    Choice,
    CropRefinement,
    Decode,
    Geometry,
    GridDefaults,
    LearnedRules,
    ModelPrompts,
    ModelSpec,
    Multimask,
    Ordered,
    Ranking,
    Tables,
    TokenRoles,
    choose,
)
from anymask.masks.answer import Shapes
from anymask.models.rules.family import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

    WeightsReader = Callable[[str, Mapping[str, Tensor], Path, int | None], tuple[nn.Module, str]]


# The families of SAM: SAM, MobileSAM, EdgeSAM, MedSAM, HQ-SAM, EfficientSAM, SAM 2.
#
# Each has two rules (`CHOICES` in `masks/answer.py`): the candidates of an ambiguous prompt, and
# the mask of an unambiguous one.


@dataclass(frozen=True)
class SamFamily:
    """Rules of the SAM models, whose masks are ordered by predicted IoU."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables
    several: Choice  # Selects the masks of an ambiguous prompt
    single: Choice  # Selects the mask of an unambiguous prompt
    roles: TokenRoles = ONE_OR_THREE
    closer: CropRefinement | None = None
    stepwise: bool = False
    graded: bool = False

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.several(logits, quality)

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        return choose(decode, prompts, multimask, (self.several, self.single))


def sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """Three masks or one."""
    return SamFamily(spec, grid, tables, *CHOICES["sam"])


def efficient_sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """All masks for every prompt."""
    roles = TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2))
    return SamFamily(spec, grid, tables, *CHOICES["efficient_sam"], roles)


def sam_hq(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """One corrected mask; the quality may omit the correction: (N, T) or (N, T - 1)."""
    roles = replace(ONE_OR_THREE, added=4)
    return SamFamily(spec, grid, tables, *CHOICES["sam_hq"], roles)


@dataclass(frozen=True, kw_only=True)
class NanoFamily(LearnedRules):
    """Rules of `nano` and `small`; `tables` has "ranking" and "expected"."""

    spec: ModelSpec
    shapes: Shapes = OPENCV
    grid: GridDefaults
    closer: CropRefinement | None = None
    roles: TokenRoles = ONE_OR_THREE
    stepwise: bool = True
    graded: bool = False


LOG = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[2] / "assets"
BUNDLED_MODELS = ("nano", "small")  # bundled models, each a folder of `SHIPPED`
# Bundled models with an instance head for one field, and the median longer side of their training
# images in pixels: larger images have tiles of this size.
FIELD_MODELS = {"nano-cells": 256, "nano-roofs": 416}
# Field models that search small objects in tiles in which they have the usual size: the diameter
# below which objects are small, and the usual one, relative to the longer side of image or tile.
OBJECT_SIZES = {"nano-cells": (20 / 512, 26 / 512)}
DEFAULT_IMAGE_MODEL = "small"  # default for images
DEFAULT_VIDEO_MODEL = "nano"  # default for videos, scans, offline pages and training
MODEL_VARIABLE = "ANYMASK_MODEL"  # environment variable with another default for images
# nano's quality and stability are lower than SAM's; SAM's thresholds would remove most masks. On
# street scenes most of its correct masks have a stability of 0.1 to 0.6, so it is little
# informative.
NANO_GRID = GridDefaults(score=0.5, stability=0.3)
NANO_CLOSER = CropRefinement(margin=1.0, gain=1.2, weight=0.6, min_side=96)
SAM_GRID = GridDefaults(score=0.88, stability=0.95)
# The thresholds of all models in words. Those in adaptive mode are in `tables.json`.
GRID_IN_WORDS = {
    "score": "small 0.3, nano 0.35, both in exact mode 0.5, SAM 0.88",
    "stability": "small 0.05, nano 0.1, both in exact mode 0.3, SAM 0.95",
}

Maker = Callable[[ModelSpec, Tables], Family]


@dataclass(frozen=True)
class RegistryEntry:
    """Specification of a model, and the function that builds it."""

    spec: ModelSpec
    build: Callable[[], nn.Module]


@brief
@dataclass(frozen=True, kw_only=True)
class FamilyPlugin:
    """A model family of a plug-in: the value of its entry points in the group `anymask.families`.

    The plug-in declares an entry point for the name of each variant, of the family
    (`ModelSpec.family`) if it has rules, and of the weights. Its module must not import torch.
    """

    variants: Mapping[str, RegistryEntry] = field(default_factory=dict)  # Models by name
    rules: Maker | None = None  # Function that creates the rules of the family, or None
    # Function that loads fine-tuned weights of a special form, or None
    read: WeightsReader | None = None


def _nano(spec: ModelSpec, tables: Tables) -> NanoFamily:
    return NanoFamily(spec=spec, tables=tables, grid=NANO_GRID, closer=NANO_CLOSER)


_MAKERS: Mapping[str, Maker] = {
    "sam": lambda spec, tables: sam(spec, SAM_GRID, tables),
    "sam_hq": lambda spec, tables: sam_hq(spec, SAM_GRID, tables),
    "efficient_sam": lambda spec, tables: efficient_sam(spec, SAM_GRID, tables),
    "nano": _nano,
    "small": _nano,
}


def default_model(weights: object = None) -> str:
    """Default model for images: the value of ANYMASK_MODEL, else `small`.

    For weights without a name, and for videos, scans and training, the default is
    `DEFAULT_VIDEO_MODEL`: the memory network was trained with it, and it is the default of
    training.
    """
    own = DEFAULT_IMAGE_MODEL if weights is None else DEFAULT_VIDEO_MODEL
    return os.environ.get(MODEL_VARIABLE, "").strip() or own


def family_names() -> tuple[str, ...]:
    """Names of the families of this package."""
    return tuple(_MAKERS)


def open_family(
    spec: ModelSpec, tables: Tables | None = None, weights_hash: str | None = None
) -> Family:
    """Create the rules of a model.

    Args:
        spec: Specification of the model.
        tables: Learned parameters besides its weights. Defaults to those in the package for its
            family.
        weights_hash: Hash of its weights. Tables trained for other weights are not used for
            fine-tuned weights, which is logged.

    Raises:
        ModelError: The family is unknown to this version.
        MissingPlugin: The plug-in of the family is not installed.
    """
    maker = _MAKERS.get(spec.family)
    if maker is None and (plugin := load_plugin("families", spec.family)) is not None:
        maker = plugin.rules
    if maker is None:
        raise ModelError(
            f"{spec.name} has the unsupported family {spec.family!r}. This version supports: "
            f"{', '.join(_MAKERS)}. Update anymask."
        )
    learned = shipped_tables(spec.family) if tables is None else tables
    others = {name for name, table in learned.items()
              if "weights" in table and table["weights"] != weights_hash}  # fmt: skip
    if others and weights_hash:
        _warn_once(
            "Automatic mask generation (everything) can return more masks of parts and background: "
            f"its filter was trained for the original weights of {spec.name} and is not used for "
            f"these ({weights_hash[:12]}). A higher score threshold returns fewer. Clicks and "
            "boxes are not affected."
        )
    return maker(spec, {name: table for name, table in learned.items() if name not in others})


@cache
def _warn_once(text: str) -> None:
    LOG.warning(text)


@cache
def shipped_tables(family: str) -> Tables:
    """Learned parameters of a family in the package, possibly empty.

    "ranking" orders the masks of a single click (`research/fit_ranking.py`), "adaptive" selects the
    clicks of automatic mask generation (`segment.everything.grid`), "objectness" scores its masks
    (`segment.everything.filter`) and states the weights that it was trained with.
    """
    path = SHIPPED / family / "tables.json"
    if not path.is_file():
        return {}
    tables: Tables = parse_json(path.read_bytes(), path)
    return tables
