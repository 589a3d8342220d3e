"""The training loop: workers on a CPU, exact resume, a guard against NaN, a log that never breaks.

`train` runs a recipe from wherever its folder says it stopped. Each worker is a process with one
thread; after every step they average their gradients.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from anymask.models.nano import TINY, Nano
from anymask.primitives.errors import ConfigError, WeightsError
from anymask.training.checkpoint import (
    Progress,
    append_log,
    newest_state,
    read_state,
    save_checkpoint,
)
from anymask.training.photos import PhotoStore
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch, batches, training_sets
from anymask.training.step import Outcome, run_step
from anymask.training.stopping import heeding_signals, signals_blocked, take_signals
from anymask.weights.checkpoints import read_checkpoint

BACKBONE_PREFIX = "encoder.backbone."
QUALITY_PREFIX = "decoder.quality."
PATIENCE = 8  # steps in a row without a finite gradient before the last checkpoint comes back
LOG_EVERY = 20
PHOTOS = "photos"  # folder of the decoded photos in a run's folder

Report = Callable[[dict[str, Any]], None]


def train(recipe: Recipe, data: Path, folder: Path, report: Report | None = None) -> None:
    """Run the recipe to its end, resuming what `folder` holds.

    data    folder of training sets
    folder  of the run: checkpoints and log.jsonl
    report  is told each log row (in the first worker)
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.decode_once:
        sets = training_sets(recipe, data)
        PhotoStore.build((s.image_path for _, some in sets for s in some), folder / PHOTOS)
    if recipe.workers == 1:
        run_worker(0, recipe, data, folder, None, report)
        return
    with tempfile.TemporaryDirectory() as meeting:
        where = (Path(meeting) / "rendezvous").as_uri()
        arguments = (recipe, data, folder, where, report)
        with signals_blocked():  # until each worker can answer them with a checkpoint
            workers = spawn(run_worker, arguments, nprocs=recipe.workers, join=False)
        with heeding_signals(lambda *_: stop_workers(workers.pids())):
            while not workers.join():
                pass


def stop_workers(pids: list[int]) -> None:
    """Ask the workers to stop; where Ctrl-C has reached them already, twice does no harm."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def run_worker(
    rank: int, recipe: Recipe, data: Path, folder: Path, meeting: str | None, report: Report | None
) -> None:
    """One of the processes; `rank` 0 writes."""
    torch.set_num_threads(1)
    if meeting is not None:
        distributed.init_process_group(
            "gloo", init_method=meeting, rank=rank, world_size=recipe.workers
        )
    try:
        Worker(rank, recipe, data, folder, report).run()
    finally:
        if meeting is not None:
            distributed.destroy_process_group()


class Worker:
    """The state of one process: model, its running average, optimiser, progress."""

    def __init__(
        self, rank: int, recipe: Recipe, data: Path, folder: Path, report: Report | None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.rank, self.recipe, self.data, self.folder = rank, recipe, data, folder
        self.report = report
        self.model = fresh_model(recipe, data).train()
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimiser = make_optimiser(self.model, recipe)
        self.progress = Progress()
        self.bad_in_a_row = 0
        self.stopping = False
        self.recent: list[Outcome] = []
        self.began, self.began_at = time.monotonic(), Progress()
        self.saved = self.began
        self.resume()

    def resume(self) -> None:
        """Take everything from the folder's newest whole checkpoint, if there is one."""
        found = newest_state(self.folder)
        if found is None:
            return
        state = found[1]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])

    def run(self) -> None:
        """All remaining steps; SIGTERM and SIGINT end it after a checkpoint."""
        with heeding_signals(lambda *_: setattr(self, "stopping", True)):
            take_signals()
            self.began, self.began_at = time.monotonic(), dataclasses.replace(self.progress)
            first = self.progress.step
            photos = PhotoStore(self.folder / PHOTOS) if self.recipe.decode_once else None
            for batch in batches(self.recipe, self.data, photos, rank=self.rank, first_step=first):
                self.learn(batch)
                stop, late = self.agreed(self.stopping, self.is_late())
                if stop or late or self.progress.step % self.recipe.save_every == 0:
                    self.save()
                if stop:
                    return
            self.save()

    def is_late(self) -> bool:
        """Whether the last checkpoint is older than the recipe allows."""
        return time.monotonic() - self.saved > 60 * self.recipe.save_minutes

    def learn(self, batch: Batch) -> None:
        """One step on one batch, and a row of the log now and then."""
        step = self.progress.step
        stage, _ = self.recipe.stage_at(step)
        rng = np.random.default_rng([self.recipe.seed, step, self.rank, 1])
        torch.manual_seed(int(rng.integers(2**62)))  # of dropout
        balance = max(0.0, 1 - step / max(1, self.recipe.balanced_steps))
        set_rates(self.optimiser, self.recipe, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_halves()):
            outcome = run_step(self.model, batch, balance, rng, self.recipe)
        norm = self.descend(outcome)
        self.recent.append(dataclasses.replace(outcome, loss=outcome.loss.detach()))
        self.progress.images += stage.images
        self.progress.step += 1
        elapsed = time.monotonic() - self.began
        self.progress.hours = self.began_at.hours + elapsed / 3600
        if self.progress.step % LOG_EVERY == 0:
            self.log(norm, (self.progress.images - self.began_at.images) / elapsed)

    def descend(self, outcome: Outcome) -> float:
        """One optimiser step, skipped when the gradient is not finite: the gradient's norm."""
        self.optimiser.zero_grad(set_to_none=True)
        outcome.loss.backward()
        learning = [p for p in self.model.parameters() if p.requires_grad]
        average_gradients(learning, self.recipe.workers)
        norm = float(nn.utils.clip_grad_norm_(learning, self.recipe.clip))
        if not math.isfinite(norm):
            self.skip()
            return norm
        self.bad_in_a_row = 0
        self.optimiser.step()
        decay = min(self.recipe.ema, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        return norm

    def skip(self) -> None:
        """Leave the weights as they are; after too many such steps go back to the checkpoint."""
        self.progress.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= PATIENCE:
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
        self.saved = time.monotonic()
        if self.rank == 0:
            save_checkpoint(
                self.folder,
                self.model,
                self.average,
                self.optimiser,
                self.progress,
                dataclasses.asdict(self.recipe),
            )

    def log(self, norm: float, pace: float) -> None:
        """One row of the log, in the first worker: means over the steps since the last row."""
        recent, self.recent = self.recent, []
        if self.rank:
            return
        means = {
            field.name: round(float(np.mean([float(getattr(o, field.name)) for o in recent])), 4)
            for field in dataclasses.fields(Outcome)
        }
        row = {
            **dataclasses.asdict(self.progress),
            "steps": self.recipe.steps,
            **means,
            "norm": round(norm, 3) if math.isfinite(norm) else None,
            "rate": self.optimiser.param_groups[0]["lr"],
            "images_a_second": round(pace, 2),
        }
        append_log(self.folder, row)
        if self.report is not None:
            self.report(row)


def multiplies_halves() -> bool:
    """Whether this processor has bf16 products; emulated ones take longer than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def bare_model(name: str) -> Nano:
    """A model that can be trained, with random weights. Raises ConfigError for other names."""
    if name not in ("nano", "nano_tiny"):
        raise ConfigError(f"cannot train {name!r}; wanted 'nano' or 'nano_tiny'")
    return Nano(TINY if name == "nano_tiny" else None)


def fresh_model(recipe: Recipe, data: Path) -> Nano:
    """The recipe's model before its first step."""
    model = bare_model(recipe.model)
    if recipe.backbone:
        load_backbone(model, data.parent / recipe.backbone)
    if recipe.init:
        load_start(model, Path(recipe.init), recipe.learn)
    model.encoder.backbone.freeze_first()
    if recipe.learn == "quality":
        model.requires_grad_(False)
        model.decoder.quality.requires_grad_(True)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_start(model: Nano, path: Path, learn: str) -> None:
    """The averaged weights of another run, or a .safetensors file of plain tensors.

    Where only quality learns, its head starts anew. Raises WeightsError for what does not fit.
    """
    if path.suffix == ".safetensors":
        start = {name: tensor.float() for name, tensor in read_checkpoint(path).items()}
    else:
        start = read_state(path)["average"]
    own = model.state_dict()
    if learn == "quality":
        start |= {name: own[name] for name in own if name.startswith(QUALITY_PREFIX)}
    try:
        model.load_state_dict(start)
    except RuntimeError as error:
        raise WeightsError(f"{path}: not the weights of this model ({error})") from error


def load_backbone(model: Nano, path: Path) -> None:
    """ImageNet weights of the encoder, from an .npz of folded arrays."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            folded = {
                name: torch.from_numpy(arrays[name].astype(np.float32))
                for name in arrays.files
                if arrays[name].dtype.kind == "f"
            }
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read the backbone ({error})") from error
    model.encoder.backbone.load_folded(folded)


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; the backbone slower, no decay on vectors."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(BACKBONE_PREFIX), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": recipe.weight_decay if decays else 0.0,
                "scale": recipe.backbone_rate if slow else 1.0,
            }
            for (slow, decays), parameters in sorted(groups.items())
        ],
        lr=recipe.rate,
    )


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    """Linear warm-up, then level; a cooling stage falls to nothing along a cosine."""
    stage, _ = recipe.stage_at(step)
    rate = recipe.rate * min(1.0, (step + 1) / max(1, recipe.warmup))
    if stage.cool:
        before = sum(s.steps for s in recipe.stages if not s.cool)
        rate *= 0.5 * (1 + math.cos(math.pi * (step - before) / (recipe.steps - before)))
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def average_gradients(parameters: list[nn.Parameter], workers: int) -> None:
    """Mean over the workers, in one exchange."""
    if workers == 1:
        return
    flat = torch.cat(
        [p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in parameters]
    )
    distributed.all_reduce(flat)
    flat /= workers
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p)
