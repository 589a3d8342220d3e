"""Training loop of a recipe, with checkpoints and a log.

`train` resumes from the last checkpoint in the run folder. On a CPU it uses several processes of
one thread each (DistributedDataParallel over gloo), on a GPU one, and under torchrun those that it
started. Each process is a `TrainingWorker`.
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

import torch
from torch import distributed, nn
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn
from torch.nn.parallel import DistributedDataParallel

from anymask import models
from anymask.base import (
    AnymaskError,
    ConfigError,
    OnProgress,
    WeightsError,
    brief,
    errors,
    exit_text,
    parse_json,
    signals_blocked,
    usable_cores,
    write_json,
)
from anymask.training.blocks import recompute_blocks
from anymask.training.channels import mix_of
from anymask.training.clips import clip_batches
from anymask.training.frozen import FrozenOutputs
from anymask.training.images import ImageStore, enough
from anymask.training.interaction import Draws
from anymask.training.options import Parallel, Scenes
from anymask.training.recipe import Recipe, check_shares
from anymask.training.run_folder import (
    DECODED_FOLDER,
    TrainingProgress,
    TrainingTeller,
    append_log,
    copy_run,
    is_done,
    newest_state,
    remove_drafts,
    save_checkpoint,
)
from anymask.training.samples import Batch, batches, training_sets
from anymask.training.shards import index_shards, is_sharded
from anymask.training.step import StepOutcome, build_step
from anymask.training.trainee import (
    build_trainee,
    learning_mode,
    make_optimizer,
    multiplies_halves,
    trained_module,
)
from anymask.training.workers import (
    GOES_ON,
    STOPPING,
    TorchrunRank,
    handling_signals,
    ignore_signals,
    load_whole,
    load_whole_optimizer,
    mean_of_all,
    shard,
    spread,
    take_signals,
    whole,
)

BAD_STEPS = 8  # consecutive steps without a finite gradient before the last checkpoint is restored
GOOD_STEPS = 100  # consecutive finite steps before it can be restored again
LOG_EVERY = 20
SAVING_S = 300  # maximum seconds for the remaining workers to save after one has failed

Report = Callable[[dict[str, Any]], None]
Judge = Callable[[nn.Module], float]


@brief
@dataclass(frozen=True)
class TrainingRun:
    """Settings of one training session besides the recipe."""

    data: Path  # Folder of training sets, or of tar shards
    folder: Path  # Run folder: checkpoints, log, decoded images
    device: str = "cpu"  # Torch device such as "cpu" or "cuda"
    # Time limit, after which a checkpoint is saved. None for no limit.
    max_minutes: float | None = None
    report: Report | None = None  # Callback for each row of the log (in the first worker)
    source: Path | None = None  # Folder of another run, whose state a new run starts with
    # Function that evaluates the averaged weights on held-out images, called with a finished module
    # every `judge_every` steps. The best weights are kept.
    judge: Judge | None = None
    on_progress: OnProgress | None = None  # Callback for each step (in the first worker)
    # "ddp": each process holds all weights. "fsdp": the weights are sharded.
    parallel: Parallel = "ddp"
    # Keys of images (`load_held_out_images`), or names of clips, that are excluded from training
    held_out: frozenset[str] = frozenset()
    # Generator of synthetic images, if the recipe has `synthetic` ones (research/nano/scenes.py)
    scenes: Scenes | None = None
    # Cache of the frozen part, if the recipe has a pool of crops
    frozen: FrozenOutputs | None = None


def train(recipe: Recipe, run: TrainingRun) -> None:
    """Run the recipe to its end, resuming from the run folder.

    Raises ConfigError, DataError, WeightsError, ModelError, or AnymaskError if the system killed a
    process; the same call resumes from the last checkpoint.
    """
    check_sides(recipe)
    if recipe.synthetic and run.scenes is None:
        raise ConfigError(
            f"The recipe sets synthetic = {recipe.synthetic:g}, but this command has no scene "
            "generator. Set synthetic = 0, or pass a scene generator (see research/ in the "
            "repository)."
        )
    process = TorchrunRank.of_environment()
    if process is not None:
        _train_under_torchrun(recipe, run, process)
        return
    if run.device == "cpu":
        check_processes(recipe)
    get_ready(recipe, run)
    if recipe.workers == 1 or run.device != "cpu":
        run_worker(0, replace(recipe, workers=1), run, None)
        return
    with tempfile.TemporaryDirectory() as meeting, signals_blocked(STOPPING):
        # Signals are blocked until they can be forwarded to workers that can save.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # workers read it when they start
        workers = spawn(run_worker, (recipe, run, Path(meeting)), nprocs=recipe.workers, join=False)

        def stop(*_: object) -> None:
            for pid in workers.pids():  # receiving a signal twice is harmless
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

        with handling_signals(stop):
            take_signals()
            try:
                while not workers.join(grace_period=SAVING_S):
                    pass
            except (ProcessRaisedException, ProcessExitedException) as error:
                for path in sorted(Path(meeting).glob("refused-*")):
                    kind, message = parse_json(path.read_bytes(), path)
                    raise getattr(errors, kind, AnymaskError)(message) from None
                if isinstance(error, ProcessRaisedException) and "gloo" in str(error):
                    raise AnymaskError(
                        f"The connection between the training processes was lost. {GOES_ON}"
                    ) from error
                if isinstance(error, ProcessRaisedException) or error.exit_code > 0:
                    raise
                raise AnymaskError(
                    f"Training process {error.error_index} (pid {error.error_pid}) "
                    f"{exit_text(error.exit_code)}. This usually means that the system is out "
                    f"of memory. {GOES_ON}"
                ) from None


def train_with_progress(recipe: Recipe, run: TrainingRun, tell: Callable[[str], None]) -> bool:
    """Run `train` with its progress on stderr; return whether the recipe has reached its end.

    Args:
        tell: Function that prints how to resume a training that has stopped.
    """
    teller = TrainingTeller()
    train(recipe, replace(run, report=teller.row, on_progress=teller.step))
    if is_done(run.folder, recipe.steps):
        return True
    tell(f"Stopped. The checkpoint is in {run.folder}. Run the same command to resume.")
    return False


def check_processes(recipe: Recipe) -> None:
    """Raise ConfigError if there are more processes than cores."""
    cores = usable_cores()
    if recipe.workers > max(cores, Recipe().workers):
        raise ConfigError(
            f"The recipe sets workers = {recipe.workers}, but this machine has {cores} CPU "
            "cores and each worker is a process. Set fewer workers, or start the training "
            "with torchrun on several machines (torchrun --nnodes M --nproc-per-node N -m "
            "anymask train ...). Its M x N processes replace the workers."
        )


def check_sides(recipe: Recipe) -> None:
    """Raise ConfigError if the model does not support an image size of the recipe."""
    spec = models.spec(recipe.model)
    if spec.pad_multiple:
        return
    for stage in recipe.stages:
        for side in (stage.side, *stage.sides):
            if side != spec.image_side and not (recipe.learn == "memory" and side % 64 == 0):
                raise ConfigError(
                    f"{recipe.model} supports only images of {spec.image_side} pixels, but the "
                    f"recipe sets side = {side}. Set side = {spec.image_side}."
                )


def get_ready(recipe: Recipe, run: TrainingRun) -> None:
    """Check the data, create the folder and decode images, once before training starts."""
    clips = recipe.learn == "memory"  # read directly
    sharded = not clips and is_sharded(run.data)
    sets = [] if clips or sharded else training_sets(recipe, run.data)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{run.folder} is a file. Choose a folder for the run.") from error
    remove_drafts(run.folder)
    if run.source is not None and newest_state(run.folder) is None:
        copy_run(run.source, run.folder, dataclasses.asdict(recipe))
    if sharded:
        index_shards(run.data, run.folder)
    elif recipe.decode_once and not clips:
        store = ImageStore(run.folder / DECODED_FOLDER, mix_of(recipe.channels), enough(recipe))
        store.keep([image for _, some in sets for image in some])


def _train_under_torchrun(recipe: Recipe, run: TrainingRun, place: TorchrunRank) -> None:
    """Run this process's part of a training that torchrun started.

    Raises ConfigError if the recipe's images cannot be divided evenly.
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


def run_worker(rank: int, recipe: Recipe, run: TrainingRun, meeting: Path | None) -> None:
    """Run one worker process; rank 0 writes files. Errors are recorded in the `meeting` folder."""
    if run.device == "cpu":
        torch.set_num_threads(1)
    if meeting is not None:
        ignore_signals()
        distributed.init_process_group(
            "gloo",
            init_method=(meeting / "rendezvous").as_uri(),
            rank=rank,
            world_size=recipe.workers,
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
    """State of one training process: model, averaged weights, optimizer, progress."""

    def __init__(self, rank: int, recipe: Recipe, run: TrainingRun) -> None:
        torch.manual_seed(recipe.seed)
        self.rank, self.recipe, self.sitting = rank, recipe, run
        self.device = torch.device(run.device)
        self.model = learning_mode(build_trainee(recipe, run.data), recipe).to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        frozen = run.frozen or FrozenOutputs.of(recipe)
        if frozen is not None:
            frozen.attach(self.model)
        self.step: nn.Module = build_step(self.model, recipe).to(self.device)
        if recipe.recompute:
            recompute_blocks(self.model)
        if distributed.is_initialized():
            self.step = spread(self.step, run.parallel, self.device)
            if run.parallel == "fsdp":
                shard(self.average)
        self.optimizer = make_optimizer(self.model, recipe)
        self.progress = TrainingProgress()
        self.best: dict[str, Any] | None = None
        self.bad_in_a_row = self.good_in_a_row = 0
        self.went_back = self.stopping = False
        self.recent: list[StepOutcome] = []
        self.began, self.began_at = time.monotonic(), TrainingProgress()
        self.saved = self.began
        self.resume()
        self.saved_step = self.progress.step

    def resume(self) -> None:
        """Restore the newest complete checkpoint of the run folder, if there is one.

        Raises WeightsError if the checkpoint belongs to another recipe.
        """
        checkpoint = newest_state(self.sitting.folder)
        if checkpoint is None:
            return
        path, state = checkpoint
        rates = [(group["scale"], group["weight_decay"]) for group in self.optimizer.param_groups]
        try:
            load_whole(self.model, state["model"])
            load_whole(self.average, state["average"])
            load_whole_optimizer(self.optimizer, state["optimiser"])
            self.progress = TrainingProgress(**state["progress"])
            self.best = state.get("best")
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{path} is not a checkpoint of this recipe. Choose another run folder or recipe."
            ) from error
        for group, (scale, decay) in zip(self.optimizer.param_groups, rates, strict=True):
            group["scale"], group["weight_decay"] = scale, decay  # from the current recipe

    def run(self) -> None:
        """Run all remaining steps; SIGTERM, SIGINT and SIGHUP stop it after a checkpoint."""
        with handling_signals(lambda *_: setattr(self, "stopping", True)):
            take_signals()
            self.began, self.began_at = time.monotonic(), dataclasses.replace(self.progress)
            first = self.progress.step
            if self.progress.ended:
                return
            mix = mix_of(self.recipe.channels)
            images = None
            if self.recipe.decode_once or mix is not None:
                decoded = self.sitting.folder / DECODED_FOLDER
                images = ImageStore(decoded, mix, enough(self.recipe))
            coming: Any  # batches of images or of clips
            if self.recipe.learn == "memory":
                coming = clip_batches(self.recipe, self.sitting.data, first, self.sitting.held_out)
            else:
                coming = batches(
                    self.recipe, self.sitting.data, images, rank=self.rank, first_step=first,
                    index=self.sitting.folder, without=self.sitting.held_out,
                    scenes=self.sitting.scenes,
                )  # fmt: skip
            if not first and not self.recipe.classes:
                self.judge()  # baseline; a new class head has none
            most = math.inf if self.sitting.max_minutes is None else self.sitting.max_minutes
            while self.progress.step < self.recipe.steps:
                batch, error = None, None
                try:
                    batch = next(coming, None)
                except AnymaskError as raised:
                    error = raised
                begun, now = self.progress.step > first, time.monotonic()
                over = self.stopping or self.progress.ended or now - self.began > 60 * most
                late = now - self.saved > 60 * self.recipe.save_minutes
                flags = [float(flag) for flag in (begun and over, late, error is not None)]
                # A flag of any worker applies to all.
                stop, late, lost = (part > 0 for part in mean_of_all(flags, self.device))
                due = late or self.progress.step % self.recipe.save_every == 0
                if begun and (stop or lost or due):
                    self.save()
                if error is not None:
                    raise error
                if stop or lost:
                    return
                if batch is None:
                    break
                self.learn(batch)
                self.judge()
            if self.saved_step != self.progress.step:
                self.save()

    def judge(self) -> None:
        """Evaluate the averaged weights if due, in the first worker, and keep the best.

        Training ends if the metric stops improving.
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
            weights = {name: tensor.detach().cpu().clone() for name, tensor in average.items()}
            self.best = {"score": score, "step": step, "average": weights}
            self.progress.stale = 0
            self.saved = -math.inf  # triggers a checkpoint
        patience = self.recipe.patience
        self.progress.ended = bool(patience) and self.progress.stale >= patience

    def learn(self, batch: Batch) -> None:
        """Run one optimizer step on a batch, and log regularly."""
        step = self.progress.step
        stage = self.recipe.stage_at(step)[0]
        set_rates(self.optimizer, self.recipe, self.progress)
        self.optimizer.zero_grad(set_to_none=True)
        each = stage.images // self.recipe.workers // self.recipe.accumulate
        balance = max(0.0, 1 - self.progress.age / max(1, self.recipe.balanced_steps))
        halves = self.recipe.bf16 and multiplies_halves(self.device)
        for part in range(self.recipe.accumulate):
            first = (self.rank * self.recipe.accumulate + part) * each
            draws = Draws(self.recipe.seed, step, range(first, first + each))
            torch.manual_seed(int(draws.of_worker.integers(2**62)))  # for dropout
            last = part == self.recipe.accumulate - 1  # synchronizes the gradient across workers
            alone = isinstance(self.step, DistributedDataParallel) and not last
            with self.step.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, torch.bfloat16, enabled=halves):
                    outcome = self.step(batch.part(part * each, each), balance, draws)
                (outcome.loss / self.recipe.accumulate).backward()
            self.recent.append(dataclasses.replace(outcome, loss=outcome.loss.detach()))
        norm = self.descend()
        self.progress.images += stage.images
        self.progress.step += 1
        elapsed = time.monotonic() - self.began
        self.progress.hours = self.began_at.hours + elapsed / 3600
        if self.progress.step % LOG_EVERY == 0 or self.progress.step == self.recipe.steps:
            self.log(norm, (self.progress.images - self.began_at.images) / elapsed)
        if self.sitting.on_progress is not None and not self.rank:
            self.sitting.on_progress(self.progress.step, self.recipe.steps)

    def descend(self) -> float:
        """Apply one optimizer step, unless the gradient is not finite; return its norm."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        total = nn.utils.clip_grad_norm_(learning, self.recipe.clip)
        norm = float(total.full_tensor() if isinstance(total, DTensor) else total)
        if not math.isfinite(norm):
            self.skip()
            return norm
        self.bad_in_a_row, self.good_in_a_row = 0, self.good_in_a_row + 1
        self.went_back = self.went_back and self.good_in_a_row < GOOD_STEPS
        self.optimizer.step()
        decay = min(self.recipe.ema, (1 + self.progress.age) / (10 + self.progress.age))
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(new, 1 - decay)
            # Buffers are batch norm statistics, which are averages already.
            for held, now in zip(self.average.buffers(), self.model.buffers(), strict=True):
                held.copy_(now)
        return norm

    def skip(self) -> None:
        """Skip a step; after too many in a row, restore the last checkpoint, or the start, once.

        Raises ConfigError if the gradients are still not finite after that.
        """
        self.progress.skipped += 1
        self.bad_in_a_row, self.good_in_a_row = self.bad_in_a_row + 1, 0
        if self.bad_in_a_row < BAD_STEPS:
            return
        if self.went_back:
            raise ConfigError(
                f"The gradients were not finite in {BAD_STEPS} consecutive steps up to step "
                f"{self.progress.step}, even after a restart from the last checkpoint. Set a "
                f"learning rate below {self.recipe.rate:g} in the recipe (recipe.json in the "
                "run folder), or check the data."
            )
        progress = dataclasses.replace(self.progress)
        if newest_state(self.sitting.folder) is not None:
            self.resume()
        else:
            torch.manual_seed(self.recipe.seed)
            begun = learning_mode(build_trainee(self.recipe, self.sitting.data), self.recipe)
            for model in (self.model, self.average):
                load_whole(model, begun.state_dict())
            self.optimizer.state.clear()
        progress.ended, progress.stale = self.progress.ended, self.progress.stale
        self.progress, self.bad_in_a_row, self.went_back = progress, 0, True

    def save(self) -> None:
        """Write a checkpoint in the first worker; the others provide their shards."""
        self.saved, self.saved_step = time.monotonic(), self.progress.step
        state = {
            "model": whole(self.model.state_dict()), "average": whole(self.average.state_dict()),
            "optimiser": whole(self.optimizer.state_dict()), "best": self.best,
        }  # fmt: skip
        if self.rank == 0:
            save_checkpoint(
                self.sitting.folder,
                state,
                self.progress,
                dataclasses.asdict(self.recipe),
                keep=self.recipe.keep,
            )

    def log(self, norm: float, pace: float) -> None:
        """Write a row of the log in the first worker: means over the steps since the last row."""
        recent, self.recent = self.recent, []
        names = [field.name for field in dataclasses.fields(StepOutcome)]
        values = [sum(float(getattr(o, name)) for o in recent) / len(recent) for name in names]
        means = zip(names, mean_of_all(values, self.device), strict=True)
        if self.rank:
            return
        row = {
            **dataclasses.asdict(self.progress),
            "steps": self.recipe.steps,
            **{name: round(mean, 4) for name, mean in means if math.isfinite(mean)},
            "norm": round(norm, 3) if math.isfinite(norm) else None,
            "rate": self.optimizer.param_groups[0]["lr"],
            "images_a_second": round(pace, 2),
            "minutes_left": round(self.recipe.images_after(self.progress.step) / pace / 60, 1),
        }
        append_log(self.sitting.folder, row)
        if self.sitting.report is not None:
            self.sitting.report(row)


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, progress: TrainingProgress) -> None:
    """Set learning rates: linear warm-up, then constant, a tenth after each step in `falls`, and
    cosine decay to zero in cooling stages."""
    stage, _ = recipe.stage_at(progress.step)
    rate = recipe.rate * min(1.0, (progress.age + 1) / max(1, recipe.warmup))
    rate *= 0.1 ** sum(progress.step >= step for step in recipe.falls)
    if stage.cool:
        before = sum(s.steps for s in recipe.stages if not s.cool)
        part = (progress.step - before) / (recipe.steps - before)
        rate *= 0.5 * (1 + math.cos(math.pi * part))
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
