"""What a training, a fine-tuning and a distillation are asked for: each option is declared once.

The command line is made of the fields of the dataclasses. The TypedDicts repeat names and types,
because type checkers cannot derive them; a test compares both. A run's folder keeps the options
that it was begun with, and another call for the same folder must have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from numpy.random import Generator

from anymask.base import (
    InputError,
    Setting,
    UintImage,
    check_keywords,
    check_settings,
    describe_settings,
    list_settings,
    make_room,
    need_packages,
    parse_json,
)
from anymask.cli import new_folder
from anymask.formats import CROWD, MASK_VALUES, ON_BAD, Crowd, OnBad
from anymask.images import MaskValues
from anymask.jobs import parse_bands
from anymask.masks import MOST_CHANNELS
from anymask.models.rules import DEFAULT_MODEL

# Composes a picture of a side from some photo and cut-out objects (h, w, 3), (h, w), which it asks
# for: the picture (S, S, 3) and masks (M, S, S).
Scenes = Callable[
    [int, Generator, Callable[[], UintImage], Callable[[], tuple[UintImage, UintImage]]],
    tuple[UintImage, UintImage],
]
Method = Literal["full", "decoder", "lora", "hq", "adapter", "no-prompt"]
Kind = Literal["photos", "microscopy", "medical", "satellite"]
Parallel = Literal["ddp", "fsdp"]
OPTIONS = "options.json"  # of a run's folder


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every training is asked for."""

    device: Annotated[str, Setting("cpu, cuda, cuda:1 or mps")] = "cpu"
    max_minutes: Annotated[
        float | None,
        Setting("end with a checkpoint after so many minutes; the same command goes on, anywhere",
                above=0, default="at the end"),
    ] = None  # fmt: skip
    bundle: Annotated[
        Path | None,
        Setting("when done, write an ONNX bundle into this new folder", default="none", form="DIR",
                parse=new_folder),
    ] = None  # fmt: skip
    json: Annotated[
        Path | None, Setting("when done, write the figures there, too", default="none")
    ] = None
    tensorboard: Annotated[
        bool,
        Setting("write the log's rows as TensorBoard's files, too, into events/ of the run's "
                "folder", default="no"),
    ] = False  # fmt: skip

    def __post_init__(self) -> None:
        """Raises InputError for options that cannot be meant, MissingExtra without tensorboard."""
        check_settings(self)
        if self.tensorboard:
            need_packages(("tensorboard",), "tensorboard", "--tensorboard")


class RunSettings(TypedDict, total=False):
    """See `RunOptions`."""

    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None
    tensorboard: bool


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TuningOptions(RunOptions):
    """What a fine-tuning is asked for; `anymask.finetune` tells of data, output and model."""

    data: Path
    output: Path
    model: str = DEFAULT_MODEL
    weights: Annotated[
        Path | None,
        Setting("start from this file or folder of adapters", default="the model's own weights"),
    ] = None
    method: Annotated[
        Method,
        Setting("what learns: full, decoder (the encoder stays), lora (small adapters), hq (what "
                "SAM-HQ adds to SAM), adapter (those of Medical SAM Adapter), no-prompt (a small "
                "head that prompts SAM for each class)"),
    ] = "full"  # fmt: skip
    val: Annotated[
        Path | None, Setting("held-out pictures with masks", default="a fifth of the data")
    ] = None
    form: Annotated[
        str | None,
        Setting("the format of data and held-out pictures", option="--format",
                default="recognised"),
    ] = None  # fmt: skip
    images: Annotated[
        Path | None, Setting("the folder of their pictures", default="as the data say")
    ] = None
    on_bad: Annotated[OnBad, ON_BAD] = "skip"
    crowd: Annotated[Crowd, CROWD] = "auto"
    mask_values: Annotated[MaskValues, MASK_VALUES] = "auto"
    pictures: Annotated[
        int | None,
        Setting("to see, each photo many times", least=1, default="by the number of photos"),
    ] = None
    kind: Annotated[
        Kind,
        Setting("of pictures: microscopy or satellite (no side is up), medical (turned never, "
                "prompted by boxes first)"),
    ] = "photos"  # fmt: skip
    classes: Annotated[
        str | None,
        Setting("learn to tell labels apart, too: a class for each mask, and label maps without "
                "prompts; a .txt file has a name a line", form="all|NAME,NAME|FILE",
                default="none; all with no-prompt"),
    ] = None  # fmt: skip
    channels: Annotated[
        int | None,
        Setting("the pictures are no photos: learn from all of their channels, of any type of "
                "numbers", least=1, most=MOST_CHANNELS, default="photos"),
    ] = None  # fmt: skip
    rgb: Annotated[
        tuple[int, ...] | None,
        Setting("which of the channels are red, green and blue, counted from 1", form="N,N,N",
                parse=parse_bands,
                default="those that the pictures call so; else the mean of all is seen as grey"),
    ] = None  # fmt: skip
    keep: Annotated[
        int | None,
        Setting("keep the last checkpoints, so many beside last.pt", least=1, default="none"),
    ] = None
    accumulate: Annotated[
        int | None,
        Setting("learn each step in so many parts one after the other, which takes less memory",
                least=1, default="1"),
    ] = None  # fmt: skip
    lora_rank: Annotated[
        int | None, Setting("rank r of the adapters of lora", least=1, default="8")
    ] = None
    lora_alpha: Annotated[
        float | None,
        Setting("of the adapters of lora, whose scale is alpha / r", above=0, default="16"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InputError for options that cannot be meant."""
        super().__post_init__()
        lora = [one for one in ("lora_rank", "lora_alpha") if getattr(self, one) is not None]
        if lora and self.method != "lora":
            raise InputError(
                f"{lora[0]} is of adapters, and method {self.method} has none; give method "
                "lora, or leave it out"
            )
        count, rgb = self.channels or 0, self.rgb
        if rgb is not None and (len(rgb) != 3 or not all(1 <= band <= count for band in rgb)):
            raise InputError(
                f"rgb must be three of the channels, counted from 1, such as 3,2,1; got "
                f"{','.join(map(str, rgb))} of {count or 'no'} channels"
            )


class TuningSettings(RunSettings, total=False):
    """See `TuningOptions`."""

    weights: str | Path | None
    method: Method
    val: str | Path | None
    form: str | None
    images: str | Path | None
    on_bad: OnBad
    crowd: Crowd
    mask_values: MaskValues
    pictures: int | None
    kind: Kind
    classes: str | None
    channels: int | None
    rgb: tuple[int, ...] | None
    keep: int | None
    accumulate: int | None
    lora_rank: int | None
    lora_alpha: float | None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class DistilOptions(RunOptions):
    """What a distillation is asked for; `anymask.distil` tells of the first four."""

    teacher: str
    student: str
    data: Path
    output: Path
    teacher_weights: Annotated[
        Path | None, Setting("the teacher's weights", default="the store's")
    ] = None
    weights: Annotated[Path | None, Setting("the student's weights", default="its own")] = None
    pictures: Annotated[int, Setting("to see", least=1)] = 40_000
    side: Annotated[
        int | None,
        Setting("of the pictures, where the student takes any", least=32, unit="pixels",
                default="384"),
    ] = None  # fmt: skip
    held_out: Annotated[
        int | None,
        Setting("pictures that the report is measured on, and that are not learned from; 0: learn "
                "from all, without a report", default="a fifth, 50 at most"),
    ] = None  # fmt: skip


class DistilSettings(RunSettings, total=False):
    """See `DistilOptions`."""

    teacher_weights: str | Path | None
    weights: str | Path | None
    pictures: int
    side: int | None
    held_out: int | None


Options = TypeVar("Options", bound=RunOptions)


def as_options(kind: type[Options], settings: Mapping[str, Any], **more: Any) -> Options:
    """Keywords as the options of their kind; words become paths.

    more  what is no keyword

    Raises InputError for keywords and values that there are not.
    """
    declared = {one.name: one for one in list_settings(kind)}
    known = {one.name for one in fields(kind)} - more.keys()
    check_keywords(settings, sorted(known))
    given: dict[str, Any] = dict(settings)
    for name, value in given.items():
        if value is not None and name in declared and Path in declared[name].members:
            given[name] = Path(value)
    return kind(**more, **given)


def check_end(data: Path, options: RunOptions) -> None:
    """Raises InputError, OSError where data are absent, or the end could not be written."""
    from anymask.training.export_folder import refuse_to_replace  # loads ONNX Runtime

    if not data.exists():
        raise InputError(f"--data: there is no file or folder {str(data)!r}; check the path")
    if options.bundle is not None:
        refuse_to_replace(options.bundle)
    if options.json is not None:
        make_room(options.json)


def refuse_other_options(folder: Path, now: Mapping[str, Any]) -> None:
    """Raises InputError where the run's folder says other options than these.

    now  by their names, as JSON holds them
    """
    path = folder / OPTIONS
    kept = parse_json(path.read_bytes(), path)
    differs = [
        f"{name} was {_in_words(kept.get(name))}, now {_in_words(now[name])}"
        for name in now
        if kept.get(name) != now[name]
    ]
    if differs:
        raise InputError(
            f"{folder} was begun with other options: {'; '.join(differs)}; repeat those it was "
            "begun with, or give another folder: -o FOLDER"
        )


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)
