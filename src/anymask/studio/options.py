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
    "assisted": "a person clicks, the model answers",
    "semi": "confident masks are filled in, a person adds the rest",
    "auto": "the model alone; people look at samples",
}
GENTLE_RATE, GENTLE_SIDE, GENTLE_IMAGES = 2e-4, 384, 4
Only = Literal["done", "labelled"]


def read_split(text: str | None) -> tuple[float, ...]:
    """Shares from text such as 80/10/10. Raises InputError."""
    try:
        return tuple(float(part) for part in (text or "").split("/") if text)
    except ValueError as error:
        raise InputError(
            f"wanted the shares of train, val and test such as 80/10/10, got {text!r}; "
            "write numbers with / between"
        ) from error


def check_shares(shares: object) -> None:
    """Raises InputError for what are no two or three shares; none at all is no split."""
    given = shares if isinstance(shares, tuple) else (math.nan,)
    sound = all(math.isfinite(share) and share >= 0 for share in given)
    if given and not (len(given) in (2, 3) and sound and sum(given) > 0):
        raise InputError(
            "wanted the shares of train, val and test such as 80/10/10, got "
            f"{'/'.join(f'{share:g}' for share in given)}; give two or three numbers"
        )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What leaves, and how. Raises InputError for values that make no sense."""

    only: Annotated[
        Only, Setting('"done": photos that are finished; "labelled": also others that have masks')
    ] = "done"
    shares: Annotated[
        tuple[float, ...],
        Setting(
            "of train, val and test, such as 80/10/10, by the photo's name",
            check=check_shares, option="--split", form="TRAIN/VAL/TEST", parse=read_split,
            default="no split",
        ),
    ] = ()  # fmt: skip
    images: Annotated[bool, Setting("copy the photos, so that the set trains as it is")] = False
    tolerance: Annotated[
        float,
        Setting(
            "by which outlines may move to follow the edge; 0: along the pixels, exact",
            most=100,
            unit="pixels",
        ),
    ] = SMOOTH
    proposals: Annotated[bool, Setting("masks that nobody has accepted, too")] = False
    classes: Annotated[
        tuple[str, ...],
        Setting(
            "a text file with a class name a line, in the order of their numbers; other names "
            "follow in the project's order", default="the project's list", form="FILE",
            parse=read_class_list, check=lambda value: value,
        ),
    ] = ()  # fmt: skip
    force: Annotated[bool, Setting("proposals although the acceptance rule is not met")] = False

    def __post_init__(self) -> None:
        check_settings(self)


def check_side(side: object) -> None:
    """Raises InputError for a side that the encoder's strides do not divide."""
    if side is not None and (not isinstance(side, int) or side < 32 or side % 32):
        raise InputError(f"wanted a side that is a multiple of 32, got {side!r}; try 384")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A short training. Raises InputError for values out of range."""

    model: Annotated[
        str | None,
        Setting(
            "what is tuned: a name of `anymask models list`, which goes on from the leading model "
            "where that is of its kind, or the weights.safetensors of a training",
            default="the leading model",
            check=lambda _value: None,
            form="NAME|FILE",
        ),
    ] = None
    method: Annotated[
        Literal["full", "decoder", "lora", "hq", "adapter"],
        Setting("what learns: all weights, all but the encoder, low-rank adapters, SAM-HQ's part, "
                "Medical SAM Adapter's bottlenecks"),
    ] = "full"  # fmt: skip
    steps: Annotated[int, Setting("optimiser steps", least=1)] = 60
    side: Annotated[
        int | None,
        Setting(
            "pixels of the training pictures' side",
            check=check_side,
            default=f"{GENTLE_SIDE}, or the only side that the model sees",
        ),
    ] = None
    images: Annotated[
        int | None,
        Setting("pictures a step", least=1, default=f"{GENTLE_IMAGES}; 2 of models of one side"),
    ] = None
    masks: Annotated[int, Setting("objects a picture", least=1)] = 8
    rate: Annotated[
        float | None,
        Setting(
            "learning rate", above=0,
            default=f"{GENTLE_RATE:g}; of models of one side and adapters as finetune",
        ),
    ] = None  # fmt: skip
    init: Annotated[
        Path | None,
        Setting(
            "weights for the first round; later ones start from the leading model",
            default="the model's own",
        ),
    ] = None
    device: Annotated[str, Setting("cpu, cuda, cuda:1 or mps", check=lambda _value: None)] = "cpu"
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self)
