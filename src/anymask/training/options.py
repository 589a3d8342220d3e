"""Options of training, fine-tuning and distillation; each option is declared once.

The command line and the types of keyword arguments are generated from the fields. A run folder
stores the options of its first call, and later calls for the same folder require the same options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from numpy.random import Generator

from anymask.base import (
    InputError,
    Setting,
    UintImage,
    describe_settings,
    make_room,
    need_packages,
    parse_json,
)
from anymask.base.synonyms import OPTION_WORDS
from anymask.formats import CROWD, MASK_VALUES, ON_BAD, Crowd, OnBad, located
from anymask.formats.metadata import ACCEPT_TERMS
from anymask.images import MaskValues
from anymask.jobs import parse_bands
from anymask.masks import MAX_CHANNELS
from anymask.models.rules import DEFAULT_IMAGE_MODEL

# Composes a synthetic image of a given side from random images and cut-out objects (h, w, 3),
# (h, w), which it gets from callbacks: the image (S, S, 3) and masks (M, S, S).
Scenes = Callable[
    [int, Generator, Callable[[], UintImage], Callable[[], tuple[UintImage, UintImage]]],
    tuple[UintImage, UintImage],
]
Method = Literal["auto", "full", "decoder", "head", "lora", "hq", "adapter", "no-prompt", "memory"]
Kind = Literal["photos", "microscopy", "medical", "satellite"]
Parallel = Literal["ddp", "fsdp"]
OPTIONS = "options.json"  # in the run folder


def need_torch() -> None:
    """Raise MissingExtra if PyTorch is not installed."""
    need_packages(("torch",), "torch", "training")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every training run."""

    device: Annotated[str, Setting("device: cpu, cuda, cuda:1 or mps")] = "cpu"
    max_minutes: Annotated[
        float | None,
        Setting("stop after this many minutes and save a checkpoint; the same command resumes",
                gt=0, default="no limit"),
    ] = None  # fmt: skip
    bundle: Annotated[
        Path | None,
        Setting("also export the trained model as an ONNX bundle to this new folder",
                default="none", metavar="NEW_DIR"),
    ] = None  # fmt: skip
    json: Annotated[
        Path | None, Setting("also write the metrics to this JSON file", default="none")
    ] = None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TuningOptions(RunOptions):
    """Options of fine-tuning; `anymask.finetune` describes data, output and model."""

    data: Path
    output: Path
    model: str = DEFAULT_IMAGE_MODEL
    weights: Annotated[
        Path | None,
        Setting(
            "start from this weights file or adapter folder",
            default="the model's published weights",
        ),
    ] = None
    method: Annotated[
        Method,
        Setting(
            "which layers to train: auto (head for up to 50 images, else full), full (all), "
            "decoder (encoder frozen), head (image backbone frozen), lora (small adapters), "
            "hq (the HQ token of SAM-HQ), adapter (Medical SAM Adapter), no-prompt (a small "
            "head that prompts SAM for each class), memory (the memory and mask decoder of a video "
            "model, on a folder of clips)"
        ),
    ] = "auto"  # fmt: skip
    val: Annotated[
        Path | None,
        Setting(
            "images with masks for validation, held out from training",
            default="the split val of the data, else a fifth of the training data",
        ),
    ] = None
    split: Annotated[
        str | None,
        Setting("split of the dataset to train on; the split val is held out, and test is not read",
                default="train"),
    ] = None  # fmt: skip
    format: Annotated[
        str | None,
        Setting("format of the training and validation data", option="--format",
                default="detected"),
    ] = None  # fmt: skip
    images: Annotated[
        Path | None,
        Setting("folder or archive of the images", default="the folder named in the annotations"),
    ] = None
    on_bad: Annotated[OnBad, ON_BAD] = "skip"
    crowd: Annotated[Crowd, CROWD] = "auto"
    mask_values: Annotated[MaskValues, MASK_VALUES] = "auto"
    accept_terms: Annotated[bool, ACCEPT_TERMS] = False
    samples: Annotated[
        int | None,
        Setting(
            "total number of training samples; each image is drawn several times",
            ge=1,
            default="depends on the number of images",
        ),
    ] = None
    kind: Annotated[
        Kind,
        Setting(
            "kind of images, which sets the augmentation: photos; microscopy or satellite (any "
            "rotation); medical (no rotation, more box prompts)"
        ),
    ] = "photos"  # fmt: skip
    classes: Annotated[
        str | None,
        Setting("also train a classifier that assigns a class to each mask and predicts label "
                "maps without prompts; a .txt file lists one class name per line",
                metavar="all|NAME,NAME|FILE", default="none; with no-prompt, all"),
    ] = None  # fmt: skip
    channels: Annotated[
        int | None,
        Setting("number of channels per image, for multi-channel images of any data type", ge=1,
                le=MAX_CHANNELS, default="RGB images"),
    ] = None  # fmt: skip
    rgb: Annotated[
        tuple[int, ...] | None,
        Setting("channels to use as red, green and blue, counted from 1", metavar="N,N,N",
                parse=parse_bands,
                default="the bands marked in the image file; without marks, the mean of all "
                        "channels"),
    ] = None  # fmt: skip
    side: Annotated[
        int | None,
        Setting("with method memory, size of the training frames, a multiple of 64", ge=64,
                unit="pixels", default="512, or the model's"),
    ] = None  # fmt: skip
    keep: Annotated[
        int | None,
        Setting(
            "number of recent checkpoints to keep in addition to last.pt", ge=1, default="none"
        ),
    ] = None
    accumulate: Annotated[
        int | None,
        Setting("split each step into this many parts to save memory (gradient accumulation)",
                ge=1, default="1"),
    ] = None  # fmt: skip
    lora_rank: Annotated[int | None, Setting("LoRA rank r", ge=1, default="8")] = None
    lora_alpha: Annotated[
        float | None,
        Setting("LoRA alpha: the adapters are scaled by alpha / r", gt=0, default="16"),
    ] = None

    def __post_init__(self) -> None:
        """Validate the options. Raises InputError."""
        for name, method in (("lora_rank", "lora"), ("lora_alpha", "lora"), ("side", "memory")):
            if getattr(self, name) is not None and self.method != method:
                raise InputError(
                    f"Option {name} requires method={method!r}, but method is {self.method!r}. Set "
                    f"method={method!r}, or omit {name}."
                )
        count, rgb = self.channels or 0, self.rgb
        if rgb is not None and (len(rgb) != 3 or not all(1 <= band <= count for band in rgb)):
            raise InputError(
                f"Invalid rgb {','.join(map(str, rgb))} with channels {count or 'not set'}. "
                "Expected three channel numbers, counted from 1, such as 3,2,1."
            )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class DistillOptions(RunOptions):
    """Options of distillation; `anymask.distill` describes the first four."""

    teacher: str
    student: str
    data: Path
    output: Path
    teacher_weights: Annotated[
        Path | None, Setting("teacher weights file", default="the downloaded weights")
    ] = None
    weights: Annotated[
        Path | None, Setting("student weights file to start from", default="the published weights")
    ] = None
    samples: Annotated[int, Setting("total number of training samples", ge=1)] = 40_000
    side: Annotated[
        int | None,
        Setting("image size, for students that support several sizes", ge=32, unit="pixels",
                default="384"),
    ] = None  # fmt: skip
    held_out: Annotated[
        int | None,
        Setting("number of images held out for the report; with 0, all images are used for "
                "training and no report is written",
                default="a fifth of the images, at most 50"),
    ] = None  # fmt: skip


def check_end(data: Path, options: RunOptions) -> None:
    """Raise InputError or OSError if the data is missing or outputs cannot be written."""
    from anymask.training.export_folder import refuse_to_replace  # loads ONNX Runtime

    if not data.exists():
        raise InputError(f"The data {str(data)!r} does not exist. Check the path.")
    if options.bundle is not None:
        refuse_to_replace(options.bundle)
    if options.json is not None:
        make_room(options.json)


def refuse_other_options(folder: Path, now: Mapping[str, Any]) -> None:
    """Raise InputError if the run folder was created with other options.

    Args:
        now: Current options by name, as stored in JSON.
    """
    path = folder / OPTIONS
    with located(path):
        stored = dict(parse_json(path.read_bytes(), path))
    before = {key if key in now else OPTION_WORDS.get(key, key): stored[key] for key in stored}
    differs = [
        f"{name} was {_in_words(before.get(name))}, now {_in_words(now[name])}"
        for name in now
        if before.get(name) != now[name]
    ]
    if differs:
        raise InputError(
            f"{folder} was created with different options: {'; '.join(differs)}. Use the same "
            "options, or choose another run folder."
        )


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)
