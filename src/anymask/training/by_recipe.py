"""Training from a recipe (config file) and datasets."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from anymask.base import (
    InputError,
    Setting,
    as_settings,
    claimed,
    describe_settings,
    say,
    write_whole,
)
from anymask.training.options import Parallel, RunOptions, Scenes, check_end, need_torch

if TYPE_CHECKING:
    from anymask.keywords import TrainSettings
    from anymask.training.recipe import Recipe


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Options of `train`."""

    source: Annotated[
        Path | None,
        Setting("start from the weights and optimizer state in this run folder, which is only "
                "read",
                option="--from", default="none"),
    ] = None  # fmt: skip
    parallel: Annotated[
        Parallel,
        Setting(
            "how training processes share the model: ddp (each process holds all weights) or "
            "fsdp (the weights are split among the processes)"
        ),
    ] = "ddp"
    # Generator of synthetic images, if the recipe has `synthetic` ones (research/nano/scenes.py)
    scenes: Scenes | None = None


def train(
    config: str | Path, data: str | Path, out: str | Path, **settings: Unpack[TrainSettings]
) -> Path:
    """Train an image model from a config file and return its folder. Repeat the call to resume.

    Args:
        config: Config file (TOML), or the name of a bundled recipe.
        data: Folder of datasets with masks.jsonl, or folder of tar shards.
        out: Folder for checkpoints and log.
        settings: Fields of `training.TrainOptions`.

    Raises:
        AnymaskError: A recipe, dataset, option or model is invalid, or PyTorch is missing.
    """
    need_torch()
    folder, sets = Path(out), Path(data)
    options = as_settings(TrainOptions, settings)
    check_end(sets, options)
    recipe = _read(config, sets)

    from anymask.runtime import pick_device
    from anymask.training import loop  # imports torch
    from anymask.training.run_folder import LAST, LOG, write_bundle
    from anymask.training.workers import TorchrunRank

    sitting = loop.TrainingRun(
        sets, folder, device=str(pick_device(options.device)), max_minutes=options.max_minutes,
        source=options.source, parallel=options.parallel, scenes=options.scenes,
    )  # fmt: skip
    process, last = TorchrunRank.of_environment(), folder / LAST
    is_first = process is None or process.rank == 0
    tell: Callable[[str], None] = say if is_first else lambda _: None
    with claimed(folder) if is_first else nullcontext():
        before = last.stat().st_mtime_ns if last.is_file() else None
        resumed = ", resuming from its checkpoint" if before else ""
        tell(f"training {recipe.model} on {sitting.device}: {recipe.steps} steps{resumed}")
        done = loop.train_with_progress(recipe, sitting, tell)
    if done:
        tell(f"{'exists:' if before == last.stat().st_mtime_ns else 'wrote'} {last}")
        if options.bundle is not None:
            write_bundle(folder, options.bundle)
            tell(f"wrote {options.bundle}")
        if options.json is not None:
            rows = (folder / LOG).read_bytes().splitlines()
            write_whole(options.json, [b"", *rows][-1] + b"\n")
    return folder


def write_recipe_shards(
    config: str | Path, data: Path, target: Path, shard_mb: float = 256.0
) -> None:
    """Write the datasets of a recipe as tar shards and print the number of images.

    Raises ConfigError, DataError or InputError.

    Args:
        shard_mb: Size of a shard in megabytes.
    """
    from anymask.training.samples import training_sets
    from anymask.training.shards import write_shards

    check_end(data, RunOptions())
    if not 0 < shard_mb < math.inf:
        raise InputError(f"Invalid shard_mb {shard_mb:g}. Use a number greater than 0.")
    images = (image for _, samples in training_sets(_read(config, data), data) for image in samples)
    count = write_shards(images, target, int(shard_mb * 1e6))
    print(f"{target}: {count} images in {len(list(target.glob('*.tar')))} shards")


def _read(config: str | Path, data: Path) -> Recipe:
    """Read a recipe, after a check that the data is a folder of sets or shards."""
    from anymask.training.recipe import find_recipe, read_recipe

    recipe = read_recipe(find_recipe(str(config)))
    if not data.is_dir():
        raise InputError(f"--data {data} is a file. Expected a folder of training sets.")
    if (data / "masks.jsonl").is_file():
        raise InputError(
            f"{data} is a training set, not a folder of them. Use {data.resolve().parent}."
        )
    return recipe
