"""The training loop: a recipe and a folder of sets in, checkpoints and a log out.

`train` runs a recipe from wherever its folder says it stopped: on a processor in several processes
of one thread each (torch's DistributedDataParallel over gloo), on a GPU in one, and under torchrun
in as many as it started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    spawn,
)

from anymask import models
from anymask.base import AnymaskError, ConfigError, errors, parse_json, usable_cores, write_json
from anymask.training.channels import mix_of
from anymask.training.checkpoint import copy_run, newest_state, remove_drafts
from anymask.training.photos import PhotoStore, enough
from anymask.training.recipe import Recipe, check_shares
from anymask.training.samples import training_sets
from anymask.training.shards import index_shards, is_sharded
from anymask.training.worker import PHOTOS, TrainingRun, TrainingWorker
from anymask.training.workers import (
    REMEDY,
    TorchrunPlace,
    heeding_signals,
    is_partner_lost,
    killed_worker,
    outlast_signals,
    signals_blocked,
    take_signals,
)

LOST = "lost"  # file that a worker leaves which cannot reach another any more
SAVING_S = 300  # at most, for a checkpoint of those that are left when a worker is lost


def train(recipe: Recipe, run: TrainingRun) -> None:
    """Run the recipe to its end, resuming what the run's folder holds.

    Raises ConfigError, DataError, WeightsError, ModelError.
    """
    check_sides(recipe)
    place = TorchrunPlace.of_environment()
    if place is not None:
        run_under_torchrun(recipe, run, place)
        return
    if run.device == "cpu":
        check_processes(recipe)
    get_ready(recipe, run)
    if recipe.workers == 1 or run.device != "cpu":
        run_worker(0, replace(recipe, workers=1), run, None)
        return
    with tempfile.TemporaryDirectory() as meeting, signals_blocked():
        # Signals wait until the workers can be told of them, who wait until they can save.
        arguments = (recipe, run, Path(meeting))
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # the workers', read when they start
        workers = spawn(run_worker, arguments, nprocs=recipe.workers, join=False)
        wait_for(workers, Path(meeting))


def get_ready(recipe: Recipe, run: TrainingRun) -> None:
    """What is done once before the processes learn: data checked, folder made, photos decoded."""
    sets = [] if is_sharded(run.data) else training_sets(recipe, run.data)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{run.folder}: wanted a folder for the run, a file is there") from error
    remove_drafts(run.folder)
    if run.source is not None and newest_state(run.folder) is None:
        copy_run(run.source, run.folder, dataclasses.asdict(recipe))
    if is_sharded(run.data):
        index_shards(run.data, run.folder)
    elif recipe.decode_once:
        photos = [one for _, some in sets for one in some]
        paths = (one.source for one in photos if isinstance(one.source, Path))
        mix, shorter = mix_of(recipe.channels), enough(recipe)
        store = PhotoStore.build(paths, run.folder / PHOTOS, channels=mix, shorter=shorter)
        for one in photos:
            store.check_size(one)


def run_under_torchrun(recipe: Recipe, run: TrainingRun, place: TorchrunPlace) -> None:
    """This process's part of a run that torchrun has started.

    Raises ConfigError where the recipe's pictures cannot be shared out evenly.
    """
    recipe = replace(recipe, workers=place.size)
    check_shares(recipe, f"torchrun with {place.size} processes")
    run = replace(run, device=place.device(run.device))
    if run.device.startswith("cuda"):
        torch.cuda.set_device(run.device)
    distributed.init_process_group("nccl" if run.device.startswith("cuda") else "gloo")
    try:
        if place.rank == 0:
            get_ready(recipe, run)
        distributed.barrier()
        TrainingWorker(place.rank, recipe, run).run()
    finally:
        distributed.destroy_process_group()


def wait_for(workers: ProcessContext, meeting: Path) -> None:
    """Join the workers; each signal to stop is handed on to all of them.

    Raises AnymaskError where one of them could not go on.
    """

    def stop(*_: object) -> None:
        for pid in workers.pids():  # where a signal has reached them already, twice does no harm
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    with heeding_signals(stop):
        take_signals()
        try:
            while not workers.join(grace_period=SAVING_S):
                pass
        except ProcessRaisedException:
            raise_refusal(meeting)
            raise
        except ProcessExitedException as error:
            raise_refusal(meeting)
            if error.exit_code > 0:
                raise
            raise killed_worker(error.error_index, error.error_pid, error.exit_code) from None
    if (meeting / LOST).exists():
        raise AnymaskError(f"the workers have lost each other: {REMEDY}")


def raise_refusal(meeting: Path) -> None:
    """Raise the error that ended a worker, where it is one of those that the user can mend."""
    for path in sorted(meeting.glob("refused-*")):
        kind, message = parse_json(path.read_bytes(), path)
        raise getattr(errors, kind, AnymaskError)(message) from None


def check_processes(recipe: Recipe) -> None:
    """Raises ConfigError for more processes than there are cores to run them."""
    cores = usable_cores()
    if recipe.workers > max(cores, Recipe().workers):
        raise ConfigError(
            f"the recipe has workers = {recipe.workers}, a process each, and here are {cores} "
            "cores; start it with torchrun on machines that have as many cores or GPUs (torchrun "
            "--nnodes M --nproc-per-node N -m anymask train ..., whose M x N processes take the "
            "place of workers), or write fewer workers"
        )


def check_sides(recipe: Recipe) -> None:
    """Raises ConfigError for pictures of a size that the model cannot see."""
    spec = models.spec(recipe.model)
    if spec.pad_multiple:
        return
    for stage in recipe.stages:
        for side in (stage.side, *stage.sides):
            if side != spec.image_side:
                raise ConfigError(
                    f"{recipe.model} sees pictures of {spec.image_side} pixels a side only, the "
                    f"recipe has side = {side}; write side = {spec.image_side}"
                )


def run_worker(rank: int, recipe: Recipe, run: TrainingRun, meeting: Path | None) -> None:
    """One of the processes; `rank` 0 writes. Where they meet, the reason of an end is left, too."""
    if run.device == "cpu":
        torch.set_num_threads(1)
    if meeting is not None:
        outlast_signals()
        where = (meeting / "rendezvous").as_uri()
        distributed.init_process_group(
            "gloo", init_method=where, rank=rank, world_size=recipe.workers
        )
    try:
        TrainingWorker(rank, recipe, run).run()
    except (AnymaskError, OSError) as error:
        if meeting is not None:
            write_json(meeting / f"refused-{rank}", [type(error).__name__, str(error)])
        raise
    except RuntimeError as error:
        if meeting is None or not is_partner_lost(error):
            raise
        (meeting / LOST).touch()  # the lost one says why, or the one that waits for it
    finally:
        if meeting is not None:
            distributed.destroy_process_group()
