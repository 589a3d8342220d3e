"""Model specification: how a model sees a picture, and a photo's place (geometry) in model space.

Letters: S the model's input side, m the side of its low-resolution masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from anymask.primitives.errors import InputError

if TYPE_CHECKING:
    from anymask.primitives.channel_mix import ChannelMix

PromptKind = Literal["point", "negative_point", "box", "mask", "words", "example"]
Fit = Literal["longest_side", "square"]
Resample = Literal["pillow_bilinear", "pillow_bicubic", "torch_bilinear", "torch_antialias", "area"]

MAX_PIXELS = 200_000_000  # of a photo: 600 MB as RGB
MOST_POINTS = 1000  # of one prompt: attention takes the square of their number
LEAST_SIDE, MOST_SIDE = 128, 1536  # of an input whose side the user chooses, pixels

# What SAM and its family take.
ALL_KINDS: frozenset[PromptKind] = frozenset({"point", "negative_point", "box", "mask"})


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the upper storey knows of a model; everything else stays inside the runtime.

    name           the variant's name, as in `anymask models list`
    image_side     S: pictures become (3, S, S), or (3, h, w) where `pad_multiple` says so
    mask_side      m: the decoder answers with (N, T, m, m) logits
    mean, std      per RGB channel, on the 0..255 scale: x = (pixel - mean) / std
    fit            "longest_side": keep the aspect ratio, pad right and bottom with zeros after
                   normalisation; "square": stretch both sides to S
    pad_multiple   0: pad to S x S; else only up to a multiple of it, which is S at the most: the
                   model itself fills its maps up to the square
    resample       which resize the reference code uses
    accepts        the prompt kinds that the model was made for; none unless said
    family         whose rules choose and order the decoder's masks: a name of `anymask.families`
    pad_point      SAM's extra "not a point" token that follows points without a box
    pad_box        SAM 2: the same token follows a box, too
    fixed_points   the number of points that the prompt is padded to, or 0 (EfficientSAM: 6)
    mask_threshold logits above it are object
    channels       how pictures of other channels than a photo's become one; None: it sees photos
    classes        names of the classes that it was tuned to tell apart, none for most models
    """

    name: str
    image_side: int = 1024
    mask_side: int = 256
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    fit: Fit = "longest_side"
    pad_multiple: int = 0
    resample: Resample = "pillow_bilinear"
    accepts: frozenset[PromptKind] = frozenset()
    family: str = "sam"
    pad_point: bool = True
    pad_box: bool = False
    fixed_points: int = 0
    mask_threshold: float = 0.0
    channels: ChannelMix | None = None
    classes: tuple[str, ...] = ()


def spec_at(spec: ModelSpec, side: int) -> ModelSpec:
    """How a model sees pictures of another side, under the name NAME@SIDE.

    side  S, pixels: a multiple of `pad_multiple` from 128 to 1536

    Raises InputError for a model that sees pictures of one side alone, and for other sides.
    """
    if side == spec.image_side:
        return spec
    step = spec.pad_multiple
    if not step:
        raise InputError(
            f"{spec.name} sees pictures of {spec.image_side} pixels a side alone, got @{side}; "
            f"leave @{side} out"
        )
    if side % step or not LEAST_SIDE <= side <= MOST_SIDE:
        nearest = min(max(round(side / step) * step, LEAST_SIDE), MOST_SIDE)
        raise InputError(
            f"after {spec.name}@ wanted the side of its pictures, a multiple of {step} from "
            f"{LEAST_SIDE} to {MOST_SIDE}, got {side}; write {spec.name}@{nearest}"
        )
    cells = spec.mask_side * side // spec.image_side
    return replace(spec, name=f"{spec.name}@{side}", image_side=side, mask_side=cells)


@dataclass(frozen=True, kw_only=True)
class GridDefaults:
    """The thresholds of automatic mask generation that suit a model's numbers.

    pred_iou_thresh         masks must have more than this quality
    stability_score_thresh  and at least this IoU between their stricter and looser cut
    """

    pred_iou_thresh: float
    stability_score_thresh: float


@dataclass(frozen=True, kw_only=True)
class CloserLook:
    """How an object is looked at again in a window of the photo.

    margin    around the object, of its longest side
    gain      how much larger a window must show the object to be worth an encoding
    weight    of the answer in the window in the mean of both answers' chances
    min_side  pixels of the photo that a window has at least: smaller ones show only blur
    """

    margin: float
    gain: float
    weight: float
    min_side: int


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Which of the decoder's T masks learn from which prompts.

    clear      that answer a prompt without doubt; the best of them learns
    ambiguous  that answer a lone click, which may mean several things
    added      a correction that is added to all others (SAM-HQ), or None
    """

    clear: tuple[int, ...]
    ambiguous: tuple[int, ...]
    added: int | None = None


# Token 0 for clear prompts, the three after it for ambiguous ones (Segment Anything, section 3).
ONE_OR_THREE = TokenRoles(clear=(0,), ambiguous=(1, 2, 3))


@dataclass(frozen=True)
class Geometry:
    """How one photo lies in model space.

    image_hw  the photo, in pixels
    input_hw  the part of the S x S model input that the photo fills (the rest is padding)
    side      S
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    side: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per image pixel, along x and along y."""
        return (self.input_hw[1] / self.image_hw[1], self.input_hw[0] / self.image_hw[0])
