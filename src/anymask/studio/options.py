"""What `annotate` and `project` offer on the command line: options, stages and states.

Nothing here imports a package of an extra, so that `--help` works without `anymask[studio]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from anymask.base import InputError, Setting, check_settings, describe_settings
from anymask.formats import read_class_list
from anymask.masks import SMOOTH

State = Literal["proposed", "accepted", "rejected"]
Stage = Literal["assisted", "semi", "auto", "review"]
STAGES: dict[Stage, str] = {
    "assisted": "a person prompts, the model predicts",
    "semi": "confident masks are added automatically, a person adds the rest",
    "auto": "the model works without a person; people review samples",
}
GENTLE_RATE, GENTLE_SIDE, GENTLE_IMAGES = 2e-4, 384, 4
Only = Literal["done", "labelled"]
Unlabelled = Literal["object", "skip"]


def read_split(text: str | None) -> tuple[float, ...]:
    """Shares from text such as 80/10/10. Raises InputError."""
    try:
        return tuple(float(part) for part in (text or "").split("/") if text)
    except ValueError as error:
        raise InputError(
            f"The split {text!r} is invalid. Use shares of train, val and test such as 80/10/10."
        ) from error


def check_shares(shares: object) -> None:
    """Raises InputError for what are no two or three shares; none at all is no split."""
    given = shares if isinstance(shares, tuple) else (math.nan,)
    sound = all(math.isfinite(share) and share >= 0 for share in given)
    if given and not (len(given) in (2, 3) and sound and sum(given) > 0):
        raise InputError(
            f"The split {'/'.join(f'{share:g}' for share in given)} is invalid. Use two "
            "or three shares such as 80/10/10."
        )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What leaves, and how. Raises InputError for values that make no sense."""

    only: Annotated[
        Only,
        Setting(
            'exported images; "done": marked as done; "labelled": also other images with masks'
        ),
    ] = "done"
    shares: Annotated[
        tuple[float, ...],
        Setting(
            "shares of train, val and test, such as 80/10/10, by image name",
            check=check_shares, option="--split", form="TRAIN/VAL/TEST", parse=read_split,
            default="no split",
        ),
    ] = ()  # fmt: skip
    images: Annotated[bool, Setting("copy the images, so that the dataset can be trained on")] = (
        False
    )
    tolerance: Annotated[
        float,
        Setting(
            "distance by which outlines may be smoothed; 0 follows the pixels exactly",
            most=100,
            unit="pixels",
        ),
    ] = SMOOTH
    unlabelled: Annotated[
        Unlabelled, Setting('masks without a class are exported as "object" or left out ("skip")')
    ] = "object"
    proposals: Annotated[bool, Setting("include proposals that are not accepted")] = False
    classes: Annotated[
        tuple[str, ...],
        Setting(
            "text file with one class per line, in the order of their numbers; other classes "
            "follow in the order of the project", default="the project's list", form="FILE",
            parse=read_class_list, check=lambda value: value,
        ),
    ] = ()  # fmt: skip
    force: Annotated[bool, Setting("export although the acceptance rule is not met")] = False

    def __post_init__(self) -> None:
        check_settings(self)


def check_side(side: object) -> None:
    """Raises InputError for a side that the encoder's strides do not divide."""
    if side is not None and (not isinstance(side, int) or side < 32 or side % 32):
        raise InputError(
            f"The side must be a multiple of 32. Given: {side!r}. Use 384, for example."
        )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A short training. Raises InputError for values out of range."""

    model: Annotated[
        str | None,
        Setting(
            (
                "model to fine-tune: a name of `anymask models list`, or "
                "weights.safetensors of a training run. A name continues from the "
                "best fine-tuned weights of the project"
            ),
            default="the best model of the project",
            check=lambda _value: None,
            form="NAME|FILE",
        ),
    ] = None
    method: Annotated[
        Literal["full", "decoder", "lora", "hq", "adapter"],
        Setting("which weights are trained: all, all but the encoder, low-rank adapters, "
"SAM-HQ's decoder, Medical SAM Adapter"),
    ] = "full"  # fmt: skip
    steps: Annotated[int, Setting("optimiser steps", least=1)] = 60
    side: Annotated[
        int | None,
        Setting(
            "side of the training images in pixels",
            check=check_side,
            default=f"{GENTLE_SIDE}, or the only side that the model supports",
        ),
    ] = None
    images: Annotated[
        int | None,
        Setting(
            "pictures a step", least=1, default=f"{GENTLE_IMAGES}; 2 for models with a fixed side"
        ),
    ] = None
    masks: Annotated[int, Setting("objects a picture", least=1)] = 8
    rate: Annotated[
        float | None,
        Setting(
            "learning rate", above=0,
            default=f"{GENTLE_RATE:g}; for models with a fixed side and adapters as in finetune",
        ),
    ] = None  # fmt: skip
    init: Annotated[
        Path | None,
        Setting(
            ("weights for the first round; later rounds start from the best model of the project"),
            default="the model's default",
        ),
    ] = None
    device: Annotated[str, Setting("cpu, cuda, cuda:1 or mps", check=lambda _value: None)] = "cpu"
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self)
