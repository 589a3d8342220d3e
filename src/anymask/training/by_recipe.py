"""Training from a recipe (config file) and datasets."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Unpack

from anymask.base import (
    InputError,
    Setting,
    as_settings,
    claimed,
    describe_settings,
    say,
    write_whole,
)
from anymask.training.options import (
    Parallel,
    RunOptions,
    RunSettings,
    Scenes,
    check_end,
    need_torch,
)

MB = 1_000_000


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Options of `train`.

    Attributes:
        scenes: Generator of synthetic images, if the recipe has `synthetic` ones
            (research/nano/scenes.py).
    """

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
    scenes: Scenes | None = None


class TrainSettings(RunSettings, total=False):
    """Keyword arguments of `train`."""

    source: str | Path | None
    parallel: Parallel
    scenes: Scenes | None


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
    from anymask.training.recipe import find_recipe, read_recipe

    folder, sets = Path(out), Path(data)
    options = as_settings(TrainOptions, settings)
    check_end(sets, options)
    recipe = read_recipe(find_recipe(str(config)))
    _check_sets(sets)

    from anymask.runtime import pick_device
    from anymask.training import loop  # imports torch
    from anymask.training.run_folder import LAST, TrainingTeller, is_done
    from anymask.training.workers import TorchrunRank

    teller = TrainingTeller()
    sitting = loop.TrainingRun(
        sets, folder, device=str(pick_device(options.device)), max_minutes=options.max_minutes,
        report=teller.row, source=options.source, on_progress=teller.step,
        parallel=options.parallel, scenes=options.scenes,
    )  # fmt: skip
    place = TorchrunRank.of_environment()
    is_first = place is None or place.rank == 0
    tell = say if is_first else _discard_messages
    with claimed(folder) if is_first else nullcontext():
        before = _time_of(folder / LAST)
        resumed = ", resuming from its checkpoint" if before else ""
        tell(f"training {recipe.model} on {sitting.device}: {recipe.steps} steps{resumed}")
        loop.train(recipe, sitting)
    if not is_done(folder, recipe.steps):
        tell(f"Stopped. The checkpoint is in {folder}. Run the same command to resume.")
        return folder
    is_new = _time_of(folder / LAST) != before
    tell(f"{'wrote' if is_new else 'exists:'} {folder / LAST}")
    _write_results(folder, options, tell)
    return folder


def _write_results(folder: Path, options: TrainOptions, tell: Callable[[str], None]) -> None:
    """Write the bundle and the last row of the log if requested."""
    from anymask.training.run_folder import LOG, write_bundle

    if options.bundle is not None:
        write_bundle(folder, options.bundle)
        tell(f"wrote {options.bundle}")
    if options.json is not None:
        write_whole(options.json, [b"", *(folder / LOG).read_bytes().splitlines()][-1] + b"\n")


def write_recipe_shards(
    config: str | Path, data: Path, target: Path, shard_mb: float = 256.0
) -> None:
    """Write the datasets of a recipe as tar shards and print the number of images.

    Raises ConfigError, DataError or InputError.

    Args:
        shard_mb: Size of a shard in megabytes.
    """
    from anymask.training.recipe import find_recipe, read_recipe
    from anymask.training.samples import training_sets
    from anymask.training.shards import write_shards

    check_end(data, RunOptions())
    if not 0 < shard_mb < math.inf:
        raise InputError(f"Invalid shard_mb {shard_mb:g}. Use a number greater than 0.")
    recipe = read_recipe(find_recipe(str(config)))
    _check_sets(data)
    pictures = (one for _, samples in training_sets(recipe, data) for one in samples)
    count = write_shards(pictures, target, int(shard_mb * MB))
    print(f"{target}: {count} images in {len(list(target.glob('*.tar')))} shards")


def _discard_messages(_: str) -> None:
    """Replace `say` in all torchrun workers except the first."""


def _time_of(path: Path) -> int:
    """Return the modification time of a file; 0 if it does not exist."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def _check_sets(data: Path) -> None:
    if not data.is_dir():
        raise InputError(f"--data {data} is a file. Expected a folder of training sets.")
    if (data / "masks.jsonl").is_file():
        raise InputError(
            f"{data} is a training set. Expected a folder of training sets. Use its parent folder "
            f"{data.resolve().parent}."
        )
