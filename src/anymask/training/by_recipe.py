"""Training by a recipe: a recipe and labelled photos in, a run's folder and a bundle out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from anymask.base import InputError, write_whole
from anymask.cli import need_torch
from anymask.training.presets import check_end, with_paths

MB = 1_000_000


class TrainSettings(TypedDict, total=False):
    """What `train` takes besides.

    source       begin with weights and optimiser of another run's folder, which is only read
    device       "cpu", "cuda", "cuda:1" or "mps"
    max_minutes  end with a checkpoint after so many minutes
    parallel     of several processes: each has all weights ("ddp"), or a part of them ("fsdp")
    bundle       a new folder for the averaged weights as an ONNX bundle, once it is done
    json         a file for the log's last row, once it is done
    tensorboard  write the log for TensorBoard, too, into events/ of `out`
    """

    source: str | Path | None
    device: str
    max_minutes: float | None
    parallel: Literal["ddp", "fsdp"]
    bundle: str | Path | None
    json: str | Path | None
    tensorboard: bool


def train(
    config: str | Path,
    data: str | Path,
    out: str | Path,
    **settings: Unpack[TrainSettings],
) -> Path:
    """Train an image model by a recipe; the same call goes on with what the folder holds.

    config       a TOML file, or the name of a recipe in the package
    data         the folder of training sets, each with masks.jsonl, or of their tar shards
    out          the run's folder: checkpoints and the log

    Returns the run's folder.

    Raises ConfigError for a broken recipe, DataError for broken sets, InputError for options that
    cannot be meant, ModelError, WeightsError, MissingExtra without torch.
    """
    need_torch()
    from anymask.runtime import pick_device
    from anymask.training import loop
    from anymask.training.recipe import find_recipe, read_recipe
    from anymask.training.run_folder import LOG, TrainingTeller, is_done, write_bundle

    folder, sets = Path(out), Path(data)
    given = with_paths(settings, ("source", "bundle", "json"))
    target, last, max_minutes = (given.get(name) for name in ("bundle", "json", "max_minutes"))
    check_end(sets, max_minutes, target, last)
    recipe = read_recipe(find_recipe(str(config)))
    _check_sets(sets)
    teller = TrainingTeller(folder if given.get("tensorboard") else None)
    sitting = loop.TrainingRun(
        sets,
        folder,
        device=str(pick_device(given.get("device", "cpu"))),
        max_minutes=max_minutes,
        report=teller.row,
        source=given.get("source"),
        told=teller.step,
        parallel=given.get("parallel", "ddp"),
    )
    loop.train(recipe, sitting)
    if not is_done(folder, recipe.steps):
        print(f"stopped; the checkpoint is in {folder}, the same command goes on from it")
        return folder
    if target is not None:
        write_bundle(folder, target)
    if last is not None:
        row = (folder / LOG).read_text(encoding="utf-8").splitlines()[-1]
        write_whole(last, f"{row}\n")
    return folder


def write_recipe_shards(
    config: str | Path, data: Path, target: Path, shard_mb: float = 256.0
) -> None:
    """The recipe's sets as tar shards, and a line that says how many pictures they hold.

    shard_mb  of each, in megabytes

    Raises ConfigError, DataError, InputError.
    """
    from anymask.training.recipe import find_recipe, read_recipe
    from anymask.training.samples import training_sets
    from anymask.training.shards import write_shards

    check_end(data, None, None, None)
    if not 0 < shard_mb < math.inf:
        raise InputError(f"--shard-mb must be more than 0, got {shard_mb:g}")
    recipe = read_recipe(find_recipe(str(config)))
    _check_sets(data)
    pictures = (one for _, samples in training_sets(recipe, data) for one in samples)
    count = write_shards(pictures, target, int(shard_mb * MB))
    print(f"{target}: {count} pictures in {len(list(target.glob('*.tar')))} shards")


def _check_sets(data: Path) -> None:
    if not data.is_dir():
        raise InputError(f"--data {data}: wanted a folder of training sets, got a file")
