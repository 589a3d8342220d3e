"""The training loop: workers on a CPU, exact resume, a guard against NaN, a log that never breaks.

`train` runs a recipe from wherever its folder says it stopped. Each worker is a process with one
thread; after every step they average their gradients.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
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
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from anymask.models.nano import TINY, Nano
from anymask.primitives import errors
from anymask.primitives.arrays import read_arrays
from anymask.primitives.errors import AnymaskError, ConfigError, DataError, WeightsError
from anymask.primitives.storage import write_json
from anymask.training.checkpoint import (
    Progress,
    append_log,
    newest_state,
    read_state,
    remove_drafts,
    save_checkpoint,
)
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch, batches
from anymask.training.step import Outcome, run_step
from anymask.training.stopping import heeding_signals
from anymask.weights.checkpoints import read_checkpoint

BACKBONE_PREFIX = "encoder.backbone."
QUALITY_PREFIX = "decoder.quality."
PATIENCE = 8  # steps in a row without a finite gradient before the last checkpoint comes back
LOG_EVERY = 20

Report = Callable[[dict[str, Any]], None]


def train(recipe: Recipe, data: Path, folder: Path, report: Report | None = None) -> None:
    """Run the recipe to its end, resuming what `folder` holds.

    data    folder of training sets
    folder  of the run: checkpoints and log.jsonl
    report  is told each log row (in the first worker)
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{folder}: wanted a folder for the run, a file is there") from error
    remove_drafts(folder)
    if recipe.workers == 1:
        run_worker(0, recipe, data, folder, None, report)
        return
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (recipe, data, folder, Path(meeting), report)
        workers = spawn(run_worker, arguments, nprocs=recipe.workers, join=False)
        crew = Crew(workers.pids())
        with heeding_signals(crew.stop):
            try:
                while not workers.join():
                    pass
            except (ProcessRaisedException, ProcessExitedException):
                raise_refusal(Path(meeting))
                if not crew.stopping:  # one that had not begun yet ends at once
                    raise


class Crew:
    """The workers' processes and whether they were asked to stop."""

    def __init__(self, pids: list[int]) -> None:
        self.pids, self.stopping = pids, False

    def stop(self, *_: object) -> None:
        """Ask the workers to stop; where Ctrl-C has reached them already, twice does no harm."""
        self.stopping = True
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def raise_refusal(meeting: Path) -> None:
    """Raise the error that ended a worker, where it is one of those that the user can mend."""
    for path in sorted(meeting.glob("refused-*")):
        kind, message = json.loads(path.read_text("utf-8"))
        raise getattr(errors, kind, AnymaskError)(message) from None


def run_worker(
    rank: int, recipe: Recipe, data: Path, folder: Path, meeting: Path | None, report: Report | None
) -> None:
    """One of the processes; `rank` 0 writes. Where they meet, the reason of an end is left, too."""
    torch.set_num_threads(1)
    if meeting is not None:
        where = (meeting / "rendezvous").as_uri()
        distributed.init_process_group(
            "gloo", init_method=where, rank=rank, world_size=recipe.workers
        )
    try:
        Worker(rank, recipe, data, folder, report).run()
    except (AnymaskError, OSError) as error:
        if meeting is not None:
            told = [type(error).__name__, str(error)]
            write_json(meeting / f"refused-{rank}", told)
        raise
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
        self.resume()

    def resume(self) -> None:
        """Take everything from the folder's newest whole checkpoint, if there is one."""
        found = newest_state(self.folder)
        if found is None:
            return
        path, state = found
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.progress = Progress(**state["progress"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{path}: not a checkpoint of this recipe ({str(error)[:200]}); train into another "
                "folder, or with the recipe that it was made by"
            ) from error

    def run(self) -> None:
        """All remaining steps; SIGTERM and SIGINT end it after a checkpoint."""
        with heeding_signals(lambda *_: setattr(self, "stopping", True)):
            self.began, self.began_at = time.monotonic(), dataclasses.replace(self.progress)
            first = self.progress.step
            for batch in batches(self.recipe, self.data, rank=self.rank, first_step=first):
                self.learn(batch)
                stop = self.agreed(self.stopping)
                if stop or self.progress.step % self.recipe.save_every == 0:
                    self.save()
                if stop:
                    return
            self.save()

    def learn(self, batch: Batch) -> None:
        """One step on one batch, and a row of the log now and then."""
        step = self.progress.step
        stage, _ = self.recipe.stage_at(step)
        rng = np.random.default_rng([self.recipe.seed, step, self.rank, 1])
        torch.manual_seed(int(rng.integers(2**62)))  # of dropout
        balance = max(0.0, 1 - step / max(1, self.recipe.balanced_steps))
        set_rates(self.optimiser, self.recipe, step)
        with torch.autocast("cpu", torch.bfloat16):
            outcome = run_step(self.model, batch, balance, rng, self.recipe.boxes)
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

    def agreed(self, flag: bool) -> bool:
        """Whether any worker raised the flag."""
        if self.recipe.workers == 1:
            return flag
        votes = torch.tensor([float(flag)])
        distributed.all_reduce(votes)
        return bool(votes.item() > 0)

    def save(self) -> None:
        """Write a checkpoint (the first worker only)."""
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
        with path.open("rb") as file:
            arrays = read_arrays(file)
        model.encoder.backbone.load_folded(
            {
                name: torch.from_numpy(array.astype(np.float32))
                for name, array in arrays.items()
                if array.dtype.kind == "f"
            }
        )
    except (OSError, ValueError, DataError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{path}: cannot read the backbone ({str(error)[:200]})") from error


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
