"""Options of `annotate` and `project` on the command line: settings, stages and states.

This module imports no optional dependency, so that `--help` works without `anymask[studio]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from anymask.base import InputError, Setting, describe_settings, need_packages
from anymask.formats import read_class_list
from anymask.formats.metadata import ACCEPT_TERMS
from anymask.masks import TOLERANCE

State = Literal["proposed", "accepted", "rejected"]
Stage = Literal["assisted", "semi", "auto", "review"]
STAGES: dict[Stage, str] = {
    "assisted": "a person prompts, the model predicts",
    "semi": "confident masks are added automatically, and a person adds the rest",
    "auto": "the model works without a person; people review samples",
}
GENTLE_RATE, GENTLE_SIDE, GENTLE_IMAGES = 2e-4, 384, 4
Only = Literal["done", "labeled"]
Unlabeled = Literal["object", "skip"]


def need_engine() -> None:
    """Raise MissingExtra if the packages of the project database are not installed."""
    need_packages(("sqlalchemy",), "studio", "a project")


def need_server() -> None:
    """Raise MissingExtra if the packages of the server are not installed."""
    need_packages(("fastapi", "uvicorn", "python_multipart", "sqlalchemy"), "studio", "the server")


def read_split(text: str | None) -> tuple[float, ...]:
    """Parse shares such as 80/10/10. Raises InputError."""
    try:
        return tuple(float(part) for part in (text or "").split("/") if text)
    except ValueError as error:
        raise InputError(
            f"The split {text!r} is invalid. Use shares of train, val and test such as 80/10/10."
        ) from error


def check_shares(shares: object) -> None:
    """Raise InputError unless there are two or three shares, or none."""
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
    """Export settings. Raises InputError if a value is invalid."""

    only: Annotated[
        Only,
        Setting(
            'which images to export. "done": images marked as done; "labeled": also '
            "other images with masks"
        ),
    ] = "done"
    shares: Annotated[
        tuple[float, ...],
        Setting(
            ("split of the images into train, val and test by image name, such as "
             "80/10/10"),
            check=check_shares, option="--split", metavar="TRAIN/VAL/TEST", parse=read_split,
            default="no split",
        ),
    ] = ()  # fmt: skip
    images: Annotated[
        bool, Setting("copy the images into the dataset, which training requires")
    ] = False
    tolerance: Annotated[
        float,
        Setting(
            "maximum distance by which smoothing may move an outline; 0: outlines "
            "follow the pixels exactly",
            le=100,
            unit="pixels",
        ),
    ] = TOLERANCE
    unlabeled: Annotated[
        Unlabeled,
        Setting(
            'how to export masks without a class. "object": with the class "object"; '
            '"skip": not at all'
        ),
    ] = "object"
    proposals: Annotated[bool, Setting("include proposals that are not accepted")] = False
    classes: Annotated[
        tuple[str, ...],
        Setting(
            ("text file with one class per line, in the order of the class numbers; "
             "other classes follow in the order of the project"),
            default="the project's list", metavar="FILE",
            parse=read_class_list, check=lambda value: value,
        ),
    ] = ()  # fmt: skip
    force: Annotated[bool, Setting("export even if the acceptance rule is not met")] = False


def check_side(side: object) -> None:
    """Raise InputError if the encoder's strides do not divide the side."""
    if side is not None and (not isinstance(side, int) or side < 32 or side % 32):
        raise InputError(f"Invalid side {side!r}. Use a multiple of 32, such as 384.")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Fine-tuning settings. Raises InputError if a value is out of range."""

    model: Annotated[
        str | None,
        Setting(
            "model to fine-tune: a name from `anymask models list`, or a "
            "weights.safetensors file of a training run. With a name, training "
            "starts from the best fine-tuned weights of the project",
            default="the best model of the project",
            check=lambda _value: None,
            metavar="NAME|FILE",
        ),
    ] = None
    method: Annotated[
        Literal["full", "decoder", "lora", "hq", "adapter"],
        Setting(
            'which weights to train. "full": all; "decoder": all except the encoder; "lora": '
            'low-rank adapters; "hq": the decoder of SAM-HQ; "adapter": a Medical SAM Adapter'
        ),
    ] = "full"
    steps: Annotated[int, Setting("number of optimizer steps", ge=1)] = 60
    side: Annotated[
        int | None,
        Setting(
            "side of the training images in pixels",
            check=check_side,
            default=f"{GENTLE_SIDE}, or the fixed side of the model",
        ),
    ] = None
    images: Annotated[
        int | None,
        Setting(
            "images per step", ge=1, default=f"{GENTLE_IMAGES}; 2 for models with a fixed side"
        ),
    ] = None
    masks: Annotated[int, Setting("objects per image", ge=1)] = 8
    rate: Annotated[
        float | None,
        Setting(
            "learning rate", gt=0,
            default=(f"{GENTLE_RATE:g}; with adapters or a fixed side, the default of `anymask "
                     "finetune`"),
        ),
    ] = None  # fmt: skip
    init: Annotated[
        Path | None,
        Setting(
            "weights for the first round; later rounds start from the best model of the project",
            default="the model's default",
        ),
    ] = None
    device: Annotated[
        str, Setting("device: cpu, cuda, cuda:1 or mps", check=lambda _value: None)
    ] = "cpu"
    seed: int = 1
    accept_terms: Annotated[bool, ACCEPT_TERMS] = False
