"""One training process: batches in; a model, its running average and checkpoints out."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from anymask.primitives.errors import WeightsError
from anymask.training.blocks import recompute_blocks
from anymask.training.channels import mix_of
from anymask.training.checkpoint import (
    TrainingProgress,
    append_log,
    newest_state,
    save_checkpoint,
)
from anymask.training.draws import Draws
from anymask.training.parallel import (
    Parallel,
    load_whole,
    load_whole_optimiser,
    mean_of_all,
    shard,
    spread,
    whole,
)
from anymask.training.photos import PhotoStore
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch, batches
from anymask.training.step import StepOutcome
from anymask.training.stopping import heeding_signals, take_signals
from anymask.training.tasks import build_step
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
Told = Callable[[int, int], None]  # (steps done, all steps)


@dataclass(frozen=True)
class TrainingRun:
    """What one sitting of a training needs beside its recipe.

    data         folder of training sets, or of tar shards
    folder       of the run: checkpoints, log, decoded photos
    device       "cpu", "cuda", ...
    max_minutes  after which the sitting ends with a checkpoint; None: at the recipe's end
    report       is told each row of the log (by the first worker)
    source       folder of another run, whose state the first sitting begins with
    part_bytes   size of the pieces that each checkpoint is also written in; 0: none
    judge        is given the averaged weights as a finished module every `judge_every` steps, and
                 says how good they are on held-out pictures; the best ones are kept
    told         is told of each step (by the first worker)
    parallel     how several processes share the weights: "ddp", each has all; "fsdp", a part
    """

    data: Path
    folder: Path
    device: str = "cpu"
    max_minutes: float | None = None
    report: Report | None = None
    source: Path | None = None
    part_bytes: int = 0
    judge: Judge | None = None
    told: Told | None = None
    parallel: Parallel = "ddp"


class TrainingWorker:
    """The state of one process: model, its running average, optimiser, progress."""

    def __init__(self, rank: int, recipe: Recipe, run: TrainingRun) -> None:
        torch.manual_seed(recipe.seed)
        self.rank, self.recipe, self.sitting = rank, recipe, run
        self.device = torch.device(run.device)
        self.model = learning_mode(build_trainee(recipe, run.data), recipe).to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.step: nn.Module = build_step(self.model, recipe).to(self.device)
        if recipe.recompute:
            recompute_blocks(self.model)
        if distributed.is_initialized():
            self.step = spread(self.step, run.parallel, self.device)
            if run.parallel == "fsdp":
                shard(self.average)
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
            load_whole(self.model, state["model"])
            load_whole(self.average, state["average"])
            load_whole_optimiser(self.optimiser, state["optimiser"])
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
            mix = mix_of(self.recipe.channels)
            kept = PhotoStore(self.sitting.folder / PHOTOS, mix)
            photos = kept if self.recipe.decode_once or mix is not None else None
            for batch in batches(
                self.recipe, self.sitting.data, photos, rank=self.rank, first_step=first,
                index=self.sitting.folder,
            ):  # fmt: skip
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
        if self.sitting.judge is None or not due:
            return
        average = whole(self.average.state_dict())
        if self.rank:
            return
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
        """One optimiser step on one batch, and a row of the log now and then."""
        step = self.progress.step
        stage, _ = self.recipe.stage_at(step)
        set_rates(self.optimiser, self.recipe, self.progress)
        self.optimiser.zero_grad(set_to_none=True)
        each = stage.images // self.recipe.workers // self.recipe.accumulate
        for part in range(self.recipe.accumulate):
            first = (self.rank * self.recipe.accumulate + part) * each
            draws = Draws(self.recipe.seed, step, range(first, first + each))
            torch.manual_seed(int(draws.of_worker.integers(2**62)))  # of dropout
            last = part == self.recipe.accumulate - 1
            outcome = self.forth_and_back(batch.part(part * each, each), draws, meet=last)
            self.recent.append(dataclasses.replace(outcome, loss=outcome.loss.detach()))
        norm = self.descend()
        self.progress.images += stage.images
        self.progress.step += 1
        elapsed = time.monotonic() - self.began
        self.progress.hours = self.began_at.hours + elapsed / 3600
        if self.progress.step % LOG_EVERY == 0:
            self.log(norm, (self.progress.images - self.began_at.images) / elapsed)
        if self.sitting.told is not None and not self.rank:
            self.sitting.told(self.progress.step, self.recipe.steps)

    def forth_and_back(self, batch: Batch, draws: Draws, *, meet: bool) -> StepOutcome:
        """Add the gradient of a part of a step; `meet` says whether to share it with the others."""
        balance = max(0.0, 1 - self.progress.age / max(1, self.recipe.balanced_steps))
        alone = isinstance(self.step, DistributedDataParallel) and not meet
        with self.step.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
            halves = self.recipe.bf16 and multiplies_halves(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=halves):
                outcome: StepOutcome = self.step(batch, balance, draws)
            (outcome.loss / self.recipe.accumulate).backward()
        return outcome

    def descend(self) -> float:
        """One optimiser step, skipped when the gradient is not finite: the gradient's norm."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        total = nn.utils.clip_grad_norm_(learning, self.recipe.clip)
        norm = float(total.full_tensor() if isinstance(total, DTensor) else total)
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
        return tuple(share > 0 for share in mean_of_all([float(f) for f in flags], self.device))

    def save(self) -> None:
        """Write a checkpoint (the first worker; the others bring their parts of the weights)."""
        self.saved, self.saved_step = time.monotonic(), self.progress.step
        model, average = whole(self.model.state_dict()), whole(self.average.state_dict())
        optimiser = whole(self.optimiser.state_dict())
        if self.rank == 0:
            save_checkpoint(
                self.sitting.folder,
                {"model": model, "average": average, "optimiser": optimiser, "best": self.best},
                self.progress,
                dataclasses.asdict(self.recipe),
                keep=self.recipe.keep,
                part_bytes=self.sitting.part_bytes,
            )

    def log(self, norm: float, pace: float) -> None:
        """One row of the log, in the first worker: means over the steps since the last row."""
        recent, self.recent = self.recent, []
        names = [field.name for field in dataclasses.fields(StepOutcome)]
        own = [sum(float(getattr(o, name)) for o in recent) / len(recent) for name in names]
        means = mean_of_all(own, self.device)
        if self.rank:
            return
        row = {
            **dataclasses.asdict(self.progress),
            "steps": self.recipe.steps,
            **{
                n: round(mean, 4)
                for n, mean in zip(names, means, strict=True)
                if math.isfinite(mean)
            },
            "norm": round(norm, 3) if math.isfinite(norm) else None,
            "rate": self.optimiser.param_groups[0]["lr"],
            "images_a_second": round(pace, 2),
            "minutes_left": round(self.recipe.images_after(self.progress.step) / pace / 60, 1),
        }
        append_log(self.sitting.folder, row)
        if self.sitting.report is not None:
            self.sitting.report(row)


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, progress: TrainingProgress) -> None:
    """Linear warm-up, then level, a tenth after each of `falls`; a cooling stage falls to nothing
    along a cosine."""
    stage, _ = recipe.stage_at(progress.step)
    rate = recipe.rate * min(1.0, (progress.age + 1) / max(1, recipe.warmup))
    rate *= 0.1 ** sum(progress.step >= step for step in recipe.falls)
    if stage.cool:
        before = sum(s.steps for s in recipe.stages if not s.cool)
        part = (progress.step - before) / (recipe.steps - before)
        rate *= 0.5 * (1 + math.cos(math.pi * part))
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
