"""What a training starts from: a model's name or a file of weights in, network and file out.

Options of a fine-tuning: what was asked for in, errors out; a run's folder keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import InputError, make_room, parse_json, write_json
from anymask.masks import MOST_CHANNELS
from anymask.models.rules import DEFAULT_MODEL

if TYPE_CHECKING:
    from anymask.training.presets import Way
    from anymask.training.recipe import Recipe


def named(word: str, weights: Path | None) -> tuple[str, str]:
    """A model's variant and the file of its weights, "" for those in the store.

    word     a name of `anymask models list`, or a weights.safetensors or a folder of adapters of
             `anymask train`
    weights  of a model that was named

    Raises InputError, ModelError, WeightsError.
    """
    from anymask.runtime import about_weights, adapter_folder, base_of, entry

    adapters = adapter_folder(word) if weights is None else None
    if adapters is not None:
        return entry(base_of(adapters)).variant, str(adapters.absolute())
    if weights is None and Path(word).suffix == ".safetensors" and not Path(word).is_file():
        raise InputError(f"there is no file {word!r} of weights; check the path")
    if weights is None and Path(word).is_file():
        about = about_weights(Path(word))
        if about is None:
            raise InputError(
                f"{word} does not say of which network it is; give the network's name, and the "
                "file as its weights"
            )
        return str(about["variant"]), str(Path(word).absolute())
    return entry(word).variant, "" if weights is None else str(weights.absolute())


def variant_of(path: Path) -> str:
    """The network that a weights.safetensors or a run's checkpoint is of. Raises WeightsError."""
    from anymask.runtime import about_weights
    from anymask.training.checkpoint import read_state

    about = about_weights(path)
    return str(read_state(path)["recipe"]["model"] if about is None else about["variant"])


OPTIONS = "options.json"  # of a run's folder
DECIDING = (
    "model",
    "weights",
    "way",
    "kind",
    "pictures",
    "classes",
    "channels",
    "rgb",
    "keep",
    "accumulate",
    "lora_rank",
    "lora_alpha",
)  # beside the data
OF_RECIPE = ("keep", "accumulate", "lora_rank", "lora_alpha")  # fields of a recipe, named alike


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """What a fine-tuning is asked for; `anymask.finetune` says what each means."""

    data: Path
    output: Path
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    way: Way = "full"
    val: Path | None = None
    form: str | None = None
    images: Path | None = None
    pictures: int | None = None
    kind: str | None = None
    classes: str | None = None
    channels: int | None = None
    rgb: tuple[int, ...] | None = None
    keep: int | None = None
    accumulate: int | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    device: str = "cpu"
    max_minutes: float | None = None
    bundle: Path | None = None
    json: Path | None = None
    tensorboard: bool = False


def with_paths(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Settings as given, those of these names as paths."""
    return {
        name: Path(value) if name in names and value is not None else value
        for name, value in settings.items()
    }


def check_end(
    data: Path, max_minutes: float | None, bundle: Path | None, json: Path | None
) -> None:
    """Raises InputError, OSError where data are absent, or what is written at the end could not be.

    max_minutes  that a sitting takes at most
    """
    if not data.exists():
        raise InputError(f"--data: there is no file or folder {str(data)!r}; check the path")
    if max_minutes is not None and not 0 < max_minutes < math.inf:
        raise InputError(f"--max-minutes must be more than 0, got {max_minutes:g}")
    check_results(bundle, json)


def check_results(bundle: Path | None, json: Path | None) -> None:
    """Raises InputError, OSError where what is written at the end could not be."""
    from anymask.training.export_folder import refuse_to_replace

    if bundle is not None:
        refuse_to_replace(bundle)
    if json is not None:
        make_room(json)


def check_options(options: TuningOptions) -> None:
    """Raises InputError for options that cannot be meant."""
    if options.pictures is not None and options.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {options.pictures}")
    _check_channels(options.channels, options.rgb)
    _check_fields(options)


def _check_fields(options: TuningOptions) -> None:
    """Raises InputError for numbers that a recipe does not take, or that mean nothing here."""
    for name in ("keep", "accumulate", "lora_rank"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"{_option(name)} must be at least 1, got {value}")
    if options.lora_alpha is not None and not 0 < options.lora_alpha < math.inf:
        raise InputError(f"--lora-alpha must be more than 0, got {options.lora_alpha:g}")
    lora = [name for name in ("lora_rank", "lora_alpha") if getattr(options, name) is not None]
    if lora and options.way != "lora":
        raise InputError(
            f"{_option(lora[0])} is of adapters, and --way {options.way} has none; give "
            "--way lora, or leave it out"
        )


def check_parts(variant: str, parts: int | None) -> None:
    """Raises InputError for a number of parts that the pictures of a step cannot be cut into."""
    from anymask.training.presets import tuning_stage

    images = tuning_stage(variant, 1, None).images
    if parts is not None and images % parts:
        whole = [str(n) for n in range(1, images + 1) if images % n == 0]
        raise InputError(
            f"--accumulate must be one of {', '.join(whole)}, got {parts}: a step of {variant} has "
            f"{images} pictures, which are learned in as many parts"
        )


def with_fields(recipe: Recipe, options: TuningOptions) -> Recipe:
    """The recipe with what was given of its fields; one process where two cannot share a step."""
    given = {
        name: getattr(options, name) for name in OF_RECIPE if getattr(options, name) is not None
    }
    recipe = replace(recipe, **given)
    shared = recipe.stages[0].images % (recipe.workers * recipe.accumulate) == 0
    return recipe if shared else replace(recipe, workers=1)


def check_way(variant: str, way: str) -> None:
    """Raises InputError for a way that there is not, or that the network cannot learn in.

    Nothing is allocated for it: the network is built without numbers.
    """
    import torch

    from anymask import models
    from anymask.training.presets import LEARN

    if way not in LEARN:
        raise InputError(f"--way must be one of {', '.join(LEARN)}, got {way!r}")
    if way != "hq":
        return
    with torch.device("meta"):
        parts = getattr(models.build(variant), "parts", None)
    if not getattr(parts, "hq", ()):
        raise InputError(
            f"{variant} has no token of SAM-HQ to learn by --way hq; give a --model such as "
            "sam_hq_vit_b (--weights may be those of SAM), or another way"
        )


def _check_channels(count: int | None, rgb: tuple[int, ...] | None) -> None:
    """Raises InputError for channels that no model can take."""
    if count is not None and not 1 <= count <= MOST_CHANNELS:
        raise InputError(f"--channels must be 1 to {MOST_CHANNELS}, got {count}")
    if rgb is None:
        return
    if count is None or len(rgb) != 3 or not all(1 <= band <= count for band in rgb):
        raise InputError(
            f"--rgb must be three of --channels, counted from 1, such as 3,2,1; got "
            f"{','.join(map(str, rgb))} of {count or 'no'} channels"
        )


def keep_options(folder: Path, options: TuningOptions) -> None:
    """Write down what the run is begun with."""
    write_json(folder / OPTIONS, _asked(options), indent=1)


def check_same_options(folder: Path, options: TuningOptions) -> None:
    """Raises InputError for options other than those that the run was begun with.

    Runs of earlier versions do not say them, and go on.
    """
    if (folder / "recipe.json").is_file():
        refuse_other_options(folder, _asked(options))


def refuse_other_options(folder: Path, now: dict[str, Any]) -> None:
    """Raises InputError where the run's folder says other options than these.

    now  by their names, as JSON holds them
    """
    path = folder / OPTIONS
    kept = parse_json(path.read_bytes(), path) if path.is_file() else now
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


def _asked(options: TuningOptions) -> dict[str, Any]:
    """The options that decide what is learned, as JSON holds them."""
    values = {_option(name): getattr(options, name) for name in DECIDING}
    if options.weights is not None:
        values["--weights"] = str(options.weights.absolute())
    else:
        values["--model"] = (
            named(options.model, None)[1] or options.model
        )  # a file, from any folder
    if options.rgb is not None:
        values["--rgb"] = list(options.rgb)
    return values


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)
