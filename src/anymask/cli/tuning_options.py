"""Options of a fine-tuning: what was asked for in, errors out; a run's folder keeps them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anymask.primitives.channel_mix import MOST_CHANNELS
from anymask.primitives.errors import InputError
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import write_json

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
)  # beside the data
OF_RECIPES = {  # what `anymask train` takes of a recipe only, and what it is where nobody says
    "source": None, "pack": None, "max_mb": 55.0, "shards": None, "shard_mb": 256.0,
    "parallel": "ddp",
}  # fmt: skip


def check_options(args: argparse.Namespace) -> None:
    """Raises InputError for options that cannot be meant."""
    if args.output is None:
        raise InputError("-o FOLDER is needed: where checkpoints, weights and the report go")
    if args.pictures is not None and args.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {args.pictures}")
    _check_channels(args.channels, args.rgb)
    given = [
        f"--{'from' if name == 'source' else name.replace('_', '-')}"
        for name, default in OF_RECIPES.items()
        if getattr(args, name) != default
    ]
    if given:
        raise InputError(
            f"{', '.join(given)} {'belongs' if len(given) == 1 else 'belong'} to recipes; "
            "`anymask train finetune` has no use for it; leave it out"
        )


def check_way(model: str, way: str) -> None:
    """Raises InputError for a way that there is not, or that the model cannot learn in; ModelError.

    Nothing is allocated for it: the network is built without numbers.
    """
    import torch

    from anymask import models
    from anymask.training.presets import LEARN
    from anymask.weights import entry

    if way not in LEARN:
        raise InputError(f"--way must be one of {', '.join(LEARN)}, got {way!r}")
    variant = entry(model).variant
    if way != "hq":
        return
    with torch.device("meta"):
        parts = getattr(models.build(variant), "parts", None)
    if not getattr(parts, "hq", ()):
        raise InputError(
            f"{model} has no token of SAM-HQ to learn by --way hq; give a --model such as "
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


def keep_options(folder: Path, args: argparse.Namespace) -> None:
    """Write down what the run is begun with."""
    write_json(folder / OPTIONS, _asked(args), indent=1)


def check_same_options(folder: Path, args: argparse.Namespace) -> None:
    """Raises InputError for options other than those that the run was begun with.

    Runs of earlier versions do not say them, and go on.
    """
    path = folder / OPTIONS
    if not (path.is_file() and (folder / "recipe.json").is_file()):
        return
    kept, now = parse_json(path.read_bytes(), path), _asked(args)
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


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The options that decide what is learned, as JSON holds them."""
    values = {f"--{name}": getattr(args, name) for name in DECIDING}
    if args.weights is not None:
        values["--weights"] = str(args.weights.absolute())
    if args.rgb is not None:
        values["--rgb"] = list(args.rgb)
    return values


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)
