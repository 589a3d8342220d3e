"""The training loop: a recipe and a folder of sets in, checkpoints and a log out.

`train` runs a recipe from wherever its folder says it stopped: on a processor in several processes
of one thread each (torch's DistributedDataParallel over gloo), on a GPU in one.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    spawn,
)
from torch.nn.parallel import DistributedDataParallel

from anymask import models
from anymask.primitives import errors
from anymask.primitives.errors import AnymaskError, ConfigError, WeightsError
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import write_json
from anymask.training.checkpoint import (
    TrainingProgress,
    append_log,
    copy_run,
    newest_state,
    remove_drafts,
    save_checkpoint,
)
from anymask.training.draws import Draws
from anymask.training.photos import PhotoStore
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch, batches, training_sets
from anymask.training.step import StepOutcome, TrainingStep
from anymask.training.stopping import heeding_signals, signals_blocked, take_signals
from anymask.training.trainee import (
    build_trainee,
    learning_mode,
    make_optimiser,
    multiplies_halves,
    trained_module,
)

BAD_STEPS = 8  # in a row without a finite gradient before the last checkpoint comes back
LOG_EVERY = 20
PHOTOS = "photos"  # folder of the decoded photos in a run's folder

Report = Callable[[dict[str, Any]], None]
Judge = Callable[[nn.Module], float]


@dataclass(frozen=True)
class TrainingRun:
    """What one sitting of a training needs beside its recipe.

    data         folder of training sets
    folder       of the run: checkpoints, log, decoded photos
    device       "cpu", "cuda", ...
    max_minutes  after which the sitting ends with a checkpoint; None: at the recipe's end
    report       is told each row of the log (by the first worker)
    source       folder of another run, whose state the first sitting begins with
    part_bytes   size of the pieces that each checkpoint is also written in; 0: none
    judge        is given the averaged weights as a finished module every `judge_every` steps, and
                 says how good they are on held-out pictures; the best ones are kept
    """

    data: Path
    folder: Path
    device: str = "cpu"
    max_minutes: float | None = None
    report: Report | None = None
    source: Path | None = None
    part_bytes: int = 0
    judge: Judge | None = None


def train(recipe: Recipe, run: TrainingRun) -> None:
    """Run the recipe to its end, resuming what the run's folder holds.

    Raises ConfigError, DataError, WeightsError, ModelError.
    """
    check_sides(recipe)
    sets = training_sets(recipe, run.data)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{run.folder}: wanted a folder for the run, a file is there") from error
    remove_drafts(run.folder)
    if run.source is not None and newest_state(run.folder) is None:
        copy_run(run.source, run.folder, dataclasses.asdict(recipe))
    if recipe.decode_once:
        sources = (one.source for _, some in sets for one in some)
        PhotoStore.build((s for s in sources if isinstance(s, Path)), run.folder / PHOTOS)
    if recipe.workers == 1 or run.device != "cpu":
        run_worker(0, replace(recipe, workers=1), run, None)
        return
    with tempfile.TemporaryDirectory() as meeting, signals_blocked():
        # Signals wait until the workers can be told of them, who wait until they can save.
        arguments = (recipe, run, Path(meeting))
        workers = spawn(run_worker, arguments, nprocs=recipe.workers, join=False)
        wait_for(workers, Path(meeting))


def wait_for(workers: ProcessContext, meeting: Path) -> None:
    """Join the workers; each signal to stop is handed on to all of them."""

    def stop(*_: object) -> None:
        for pid in workers.pids():  # where a signal has reached them already, twice does no harm
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    with heeding_signals(stop):
        take_signals()
        try:
            while not workers.join():
                pass
        except (ProcessRaisedException, ProcessExitedException):
            raise_refusal(meeting)
            raise


def raise_refusal(meeting: Path) -> None:
    """Raise the error that ended a worker, where it is one of those that the user can mend."""
    for path in sorted(meeting.glob("refused-*")):
        kind, message = parse_json(path.read_bytes(), path)
        raise getattr(errors, kind, AnymaskError)(message) from None


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
    finally:
        if meeting is not None:
            distributed.destroy_process_group()


class TrainingWorker:
    """The state of one process: model, its running average, optimiser, progress."""

    def __init__(self, rank: int, recipe: Recipe, run: TrainingRun) -> None:
        torch.manual_seed(recipe.seed)
        self.rank, self.recipe, self.sitting = rank, recipe, run
        self.device = torch.device(run.device)
        self.model = learning_mode(build_trainee(recipe, run.data), recipe).to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimiser = make_optimiser(self.model, recipe)
        self.progress = TrainingProgress()
        self.best: dict[str, Any] | None = None
        self.bad_in_a_row = 0
        self.stopping = False
        self.recent: list[StepOutcome] = []
        self.began, self.began_at = time.monotonic(), TrainingProgress()
        self.saved = self.began
        self.resume()
        self.saved_step = self.progress.step
        step = TrainingStep(self.model, recipe).to(self.device)
        self.step: nn.Module = step
        if recipe.workers > 1:  # each step leaves out some heads
            self.step = DistributedDataParallel(step, find_unused_parameters=True)

    def resume(self) -> None:
        """Take everything from the folder's newest whole checkpoint, if there is one.

        Raises WeightsError for the checkpoint of another recipe.
        """
        found = newest_state(self.sitting.folder)
        if found is None:
            return
        path, state = found
        own = [(group["scale"], group["weight_decay"]) for group in self.optimiser.param_groups]
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.progress = TrainingProgress(**state["progress"])
            self.best = state.get("best")
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{path}: not a checkpoint of this recipe ({str(error)[:200]}); train into another "
                "folder, or with the recipe that it was made by"
            ) from error
        for group, (scale, decay) in zip(self.optimiser.param_groups, own, strict=True):
            group["scale"], group["weight_decay"] = scale, decay  # of the recipe as it is now

    def run(self) -> None:
        """All remaining steps; SIGTERM and SIGINT end it after a checkpoint."""
        with heeding_signals(lambda *_: setattr(self, "stopping", True)):
            take_signals()
            self.began, self.began_at = time.monotonic(), dataclasses.replace(self.progress)
            first = self.progress.step
            if self.progress.ended:
                return
            photos = PhotoStore(self.sitting.folder / PHOTOS) if self.recipe.decode_once else None
            for batch in batches(
                self.recipe, self.sitting.data, photos, rank=self.rank, first_step=first
            ):
                self.learn(batch)
                self.judge()
                over = self.stopping or self.is_over() or self.progress.ended
                stop, late = self.agreed(over, self.is_late())
                if stop or late or self.progress.step % self.recipe.save_every == 0:
                    self.save()
                if stop:
                    return
            if self.saved_step != self.progress.step:
                self.save()

    def judge(self) -> None:
        """Measure the averaged weights when it is time to, in the first worker, and keep the best.

        A run whose measurements gain nothing any more has ended.
        """
        every, step = self.recipe.judge_every, self.progress.step
        due = every and (step % every == 0 or step == self.recipe.steps)
        if self.sitting.judge is None or self.rank or not due:
            return
        average = self.average.state_dict()
        state = {"recipe": dataclasses.asdict(self.recipe), "average": average}
        score = self.sitting.judge(trained_module(state).to(self.device))
        append_log(self.sitting.folder, {"step": step, "held_out": round(score, 5)})
        self.progress.stale += 1
        if self.best is None or score > self.best["score"]:
            kept = {name: tensor.detach().cpu().clone() for name, tensor in average.items()}
            self.best = {"score": score, "step": step, "average": kept}
            self.progress.stale = 0
        patience = self.recipe.patience
        self.progress.ended = bool(patience) and self.progress.stale >= patience

    def is_over(self) -> bool:
        """Whether the sitting has had its time."""
        minutes = self.sitting.max_minutes
        return minutes is not None and time.monotonic() - self.began > 60 * minutes

    def is_late(self) -> bool:
        """Whether the last checkpoint is older than the recipe allows."""
        return time.monotonic() - self.saved > 60 * self.recipe.save_minutes

    def learn(self, batch: Batch) -> None:
        """One step on one batch, and a row of the log now and then."""
        step = self.progress.step
        stage, _ = self.recipe.stage_at(step)
        each = stage.images // self.recipe.workers
        draws = Draws(self.recipe.seed, step, range(self.rank * each, (self.rank + 1) * each))
        torch.manual_seed(int(draws.of_worker.integers(2**62)))  # of dropout
        balance = max(0.0, 1 - self.progress.age / max(1, self.recipe.balanced_steps))
        set_rates(self.optimiser, self.recipe, self.progress)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=multiplies_halves(self.device)
        ):
            outcome: StepOutcome = self.step(batch, balance, draws)
        norm = self.descend(outcome)
        self.recent.append(dataclasses.replace(outcome, loss=outcome.loss.detach()))
        self.progress.images += stage.images
        self.progress.step += 1
        elapsed = time.monotonic() - self.began
        self.progress.hours = self.began_at.hours + elapsed / 3600
        if self.progress.step % LOG_EVERY == 0:
            self.log(norm, (self.progress.images - self.began_at.images) / elapsed)

    def descend(self, outcome: StepOutcome) -> float:
        """One optimiser step, skipped when the gradient is not finite: the gradient's norm."""
        self.optimiser.zero_grad(set_to_none=True)
        outcome.loss.backward()
        learning = [p for p in self.model.parameters() if p.requires_grad]
        norm = float(nn.utils.clip_grad_norm_(learning, self.recipe.clip))
        if not math.isfinite(norm):
            self.skip()
            return norm
        self.bad_in_a_row = 0
        self.optimiser.step()
        age = self.progress.age
        decay = min(self.recipe.ema, (1 + age) / (10 + age))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        return norm

    def skip(self) -> None:
        """Leave the weights as they are; after too many such steps go back to the checkpoint."""
        self.progress.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= BAD_STEPS:
            step, images, skipped = (
                self.progress.step,
                self.progress.images,
                self.progress.skipped,
            )
            self.resume()
            self.progress.step, self.progress.images = step, images
            self.progress.skipped, self.bad_in_a_row = skipped, 0

    def agreed(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether any worker raised it."""
        if self.recipe.workers == 1:
            return flags
        votes = torch.tensor([float(flag) for flag in flags])
        distributed.all_reduce(votes)
        return tuple(vote > 0 for vote in votes.tolist())

    def save(self) -> None:
        """Write a checkpoint (the first worker only)."""
        self.saved, self.saved_step = time.monotonic(), self.progress.step
        if self.rank == 0:
            save_checkpoint(
                self.sitting.folder,
                (self.model, self.average),
                self.optimiser,
                self.progress,
                dataclasses.asdict(self.recipe),
                best=self.best,
                part_bytes=self.sitting.part_bytes,
            )

    def log(self, norm: float, pace: float) -> None:
        """One row of the log, in the first worker: means over the steps since the last row."""
        recent, self.recent = self.recent, []
        if self.rank:
            return
        means = {
            field.name: round(float(np.mean([float(getattr(o, field.name)) for o in recent])), 4)
            for field in dataclasses.fields(StepOutcome)
        }
        row = {
            **dataclasses.asdict(self.progress),
            "steps": self.recipe.steps,
            **means,
            "norm": round(norm, 3) if math.isfinite(norm) else None,
            "rate": self.optimiser.param_groups[0]["lr"],
            "images_a_second": round(pace, 2),
            "minutes_left": round(self.recipe.images_after(self.progress.step) / pace / 60, 1),
        }
        append_log(self.sitting.folder, row)
        if self.sitting.report is not None:
            self.sitting.report(row)


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, progress: TrainingProgress) -> None:
    """Linear warm-up, then level; a cooling stage falls to nothing along a cosine."""
    stage, _ = recipe.stage_at(progress.step)
    rate = recipe.rate * min(1.0, (progress.age + 1) / max(1, recipe.warmup))
    if stage.cool:
        before = sum(s.steps for s in recipe.stages if not s.cool)
        part = (progress.step - before) / (recipe.steps - before)
        rate *= 0.5 * (1 + math.cos(math.pi * part))
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
