"""Rules of the model families: their interface, shared functions, and the registry.

A family defines what the network itself does not: which of the decoder's T masks are returned for a
prompt and in which order, whether it is decoded again, and default thresholds. All functions use
NumPy in model space.

A new family requires a file here, its network in `models`, a table in the catalogue, and tests; or
a plug-in that adds a `FamilyPlugin`. Other code does not depend on a specific family; it uses
`open_family`.

Letters: N prompts, P points, T masks of the decoder, K candidates, m the side of a mask.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    PromptError,
    brief,
    load_plugin,
    parse_json,
)
from anymask.masks import (
    CHOICES,
    CORNERS,
    NO_POINT,
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
    Prompt,
    PromptKind,
    Ranking,
    Tables,
    TokenRoles,
    boxes_to_model,
    choose,
    logits_to_masks,
    mask_to_model,
    points_to_model,
)
from anymask.masks.answer import Shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

    WeightsReader = Callable[[str, Mapping[str, Tensor], Path, int | None], tuple[nn.Module, str]]


class Family(Protocol):
    """Rules of a model: ambiguous prompts, candidate masks, and their order.

    Attributes:
        spec: Specification of the model.
        grid: Default thresholds of automatic mask generation.
        tables: Learned parameters besides the network's weights, by name.
        roles: Assignment of masks to prompts in training.
        crop_refinement: Parameters of the second prediction from a crop for an unambiguous prompt,
            or None if the family does not gain from it.
        stepwise: Whether several clicks of one call are decoded one after the other, each with the
            logits of the one before. False for all at once, as in the reference code.
        graded: Whether the candidates are levels of granularity. Then `granularity` selects among
            all of them, not only among those with a score near the best.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def grid(self) -> GridDefaults: ...

    @property
    def tables(self) -> Tables: ...

    @property
    def roles(self) -> TokenRoles: ...

    @property
    def crop_refinement(self) -> CropRefinement | None: ...

    @property
    def stepwise(self) -> bool: ...

    @property
    def graded(self) -> bool: ...

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the K candidates of ambiguous prompts, in the model's order."""
        ...

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """Decode N prompts on one image, and order the candidates of each.

        Args:
            decode: The decoder.
            prompts: N prompts.
            place: Position of the image in model space.
            multimask: "auto": candidates for a single click, one mask for an unambiguous prompt;
                True,
                False: the candidates or the one mask, as in the family's reference code.
            ranking: "own": ordered by predicted IoU, also for families with a learned ranking.
        """
        ...


# --- prompts
#
# A decoder requires N prompts of equal length, so prompts are grouped by their number of points.
# Padding is the same as in the reference code, so that a prediction does not depend on the other
# prompts of a batch.

KIND_NAMES: dict[PromptKind, str] = {
    "point": "positive points",
    "negative_point": "negative points",
    "box": "boxes",
    "mask": "mask prompts",
    "words": "words",
    "example": "examples",
    "embedding": "embeddings",
}


def check_prompt(prompt: Prompt, image_hw: tuple[int, int], spec: ModelSpec) -> Prompt:
    """Validate a prompt, and clip its box to the image, before anything is computed.

    A lasso becomes a box and a mask.

    Raises:
        PromptError: The prompt is not supported, or its points or box are outside the image.
    """
    prompt = prompt.drawn_in(image_hw, spec.accepts)
    refused = prompt.kinds - spec.accepts
    if refused:
        raise PromptError(
            f"{spec.name} does not support {_listed(refused)}. It supports "
            f"{_listed(spec.accepts)}. Omit the unsupported prompts, or use another model (see "
            "`anymask models list`)."
        )
    height, width = image_hw
    points, box = prompt.points, prompt.box
    count = (0 if points is None else len(points)) + 2 * (box is not None)
    if spec.fixed_points and count > spec.fixed_points:
        raise PromptError(
            f"{spec.name} supports at most {spec.fixed_points} points (a box counts as two), but "
            f"{count} were given. Pass fewer points."
        )
    if points is not None:
        outside = ((points < 0) | (points >= (width, height))).any(axis=1)
        if outside.any():
            x, y = points[outside][0].tolist()
            raise PromptError(
                f"Point ({x:g}, {y:g}) is outside the image. Points are (x, y) pixels of the "
                f"upright image, with 0 <= x < {width} and 0 <= y < {height}."
            )
    if box is None:
        return prompt
    cut: FloatArray = np.clip(box, 0, np.array([width, height] * 2, np.float32))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise PromptError(
            f"Box ({', '.join(f'{value:g}' for value in box.tolist())}) is outside the image of "
            f"{width} x {height} pixels. Boxes are x0, y0, x1, y1 in pixels."
        )
    return replace(prompt, box=cut)


def _listed(some: frozenset[PromptKind]) -> str:
    return " and ".join(name for kind, name in KIND_NAMES.items() if kind in some)


def group_prompts(
    prompts: Sequence[Prompt], geometry: Geometry, spec: ModelSpec, most: int
) -> Iterator[tuple[list[int], ModelPrompts]]:
    """Batches of prompts with the same number of points, at most `most` each, with indices."""
    tokens = [_tokens(prompt, geometry, spec) for prompt in prompts]
    places: dict[tuple[int, ...], list[int]] = {}
    for index, (coords, _) in enumerate(tokens):
        vectors = prompts[index].embedding
        shape = () if vectors is None else vectors.shape
        places.setdefault((len(coords), *shape), []).append(index)
    for same in places.values():
        for start in range(0, len(same), most):
            batch = same[start : start + most]
            masks, has_mask = _masks([prompts[index] for index in batch], geometry, spec)
            coords = np.stack([tokens[index][0] for index in batch])
            labels = np.stack([tokens[index][1] for index in batch])
            embeddings = [
                vector for index in batch if (vector := prompts[index].embedding) is not None
            ]
            vectors = np.stack(embeddings) if embeddings else None
            yield batch, ModelPrompts(coords, labels, masks, has_mask, vectors)


def _tokens(
    prompt: Prompt, geometry: Geometry, spec: ModelSpec
) -> tuple[FloatArray, IntArray]:  # -> (P, 2), (P,)
    """Clicks, then box corners, then "no point" tokens as in the family's reference code."""
    coords = np.zeros((0, 2), np.float32)
    labels: list[int] = []
    if prompt.points is not None and prompt.labels is not None:
        coords = points_to_model(prompt.points, geometry)
        labels = prompt.labels.tolist()
    if prompt.box is not None:
        coords = np.concatenate([coords, boxes_to_model(prompt.box, geometry).reshape(2, 2)])
        labels += CORNERS
    missing = spec.fixed_points - len(labels)
    if not labels or (spec.pad_point and (prompt.box is None or spec.pad_box)):
        missing = max(missing, 1)  # a decoder requires at least one token
    if missing > 0:
        coords = np.concatenate([coords, np.zeros((missing, 2), np.float32)])
        labels += [NO_POINT] * missing
    return coords, np.array(labels, np.int64)


def _masks(
    prompts: Sequence[Prompt], geometry: Geometry, spec: ModelSpec
) -> tuple[FloatArray, FloatArray]:  # -> (N, 1, m, m), (N,)
    masks = np.zeros((len(prompts), 1, spec.mask_side, spec.mask_side), np.float32)
    has_mask = np.zeros(len(prompts), np.float32)
    for index, prompt in enumerate(prompts):
        if prompt.mask is not None:
            masks[index] = mask_to_model(prompt.mask, geometry, spec.mask_side)
            has_mask[index] = 1
    return masks, has_mask


def mask_on_image(
    mask: NDArray[Any], geometry: Geometry, mask_side: int, threshold: float
) -> BoolArray:  # (h, w) -> (H, W)
    """Resize a mask of any size to the image, by nearest pixel.

    Args:
        mask: Bool or integers (nonzero is foreground), or floats: a soft mask if all are within
            0..1, thresholded at 0.5; else logits, those of (mask_side, mask_side) in model space.
        geometry: Position of the image in model space.
        mask_side: Side of the model's masks.
        threshold: Logits above it are foreground.
    """
    if mask.dtype.kind == "f":
        soft = mask.min(initial=0) >= 0 and mask.max(initial=0) <= 1
        if not soft and mask.shape == (mask_side, mask_side):
            mask = logits_to_masks(mask[None].astype(np.float32), geometry, threshold)[0]
        else:
            mask = mask > (0.5 if soft else threshold)
    boolean: BoolArray = mask.astype(np.bool_)
    if boolean.shape == geometry.image_hw:
        return boolean
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(geometry.image_hw, boolean.shape, strict=True)
    )
    return boolean[rows[:, None], columns[None, :]]


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
    crop_refinement: CropRefinement | None = None
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


@dataclass(frozen=True, kw_only=True)
class NanoFamily(LearnedRules):
    """Rules of `nano` and `small`; `tables` has "ranking" and "expected"."""

    spec: ModelSpec
    shapes: Shapes = OPENCV
    grid: GridDefaults
    crop_refinement: CropRefinement | None = None
    roles: TokenRoles = ONE_OR_THREE
    stepwise: bool = True
    graded: bool = False


LOG = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[2] / "assets"
BUNDLED_MODELS = ("nano", "small")  # bundled models, each a folder of `SHIPPED`


class FieldRules(NamedTuple):
    """How a model with an instance head searches an image."""

    # Median longer side of the training images in pixels: larger images have tiles of this size
    side: int | None = None
    ground: float = 0.0  # side of the tiles of a map in meters, if not 0
    # To search small objects in tiles in which they have the usual size: the diameter below which
    # they are small, and the usual one, relative to the longer side of image or tile
    sizes: tuple[float, float] | None = None
    turns: int = 1  # number of quarter turns of the image, from none, whose planes are averaged
    seed: float = 0.5  # maximum center and boundary distance of a seed
    score: float = 0.4  # default of the minimum score


FIELD_MODELS = {  # bundled models with an instance head for one field
    "nano-cells": FieldRules(256, sizes=(20 / 512, 26 / 512)),
    "nano-roofs": FieldRules(416, 100.0, turns=4, seed=0.6, score=0.3),
}


def field_rules(name: str) -> FieldRules:
    """Rules of a model by its name, with or without an input side; the defaults for most models."""
    return FIELD_MODELS.get(name.partition("@")[0], FieldRules())


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
    return NanoFamily(spec=spec, tables=tables, grid=NANO_GRID, crop_refinement=NANO_CLOSER)


_SAM_ROLES = {
    "sam": ONE_OR_THREE,
    # One corrected mask; the quality may omit the correction: (N, T) or (N, T - 1).
    "sam_hq": replace(ONE_OR_THREE, added=4),
    # All masks for every prompt
    "efficient_sam": TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2)),
}


def _sam(spec: ModelSpec, tables: Tables) -> SamFamily:
    return SamFamily(spec, SAM_GRID, tables, *CHOICES[spec.family], _SAM_ROLES[spec.family])


_MAKERS: Mapping[str, Maker] = {
    **dict.fromkeys(_SAM_ROLES, _sam),
    **dict.fromkeys(BUNDLED_MODELS, _nano),
}


def default_model(weights: object = None) -> str:
    """Default model for images: the value of ANYMASK_MODEL, else `small`.

    For weights without a name, and for videos, scans and training, the default is
    `DEFAULT_VIDEO_MODEL`: the memory network was trained with it, and it is the default of
    training.
    """
    default = DEFAULT_IMAGE_MODEL if weights is None else DEFAULT_VIDEO_MODEL
    return os.environ.get(MODEL_VARIABLE, "").strip() or default


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
    return parse_json(path.read_bytes(), path)
