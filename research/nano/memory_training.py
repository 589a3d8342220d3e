"""Training of the network of memory: a folder of rehearsed clips in, its averaged weights out.

    loss      cross-entropy and soft IoU of the logits, cross-entropy of "is it there"
    schedule  AdamW, a linear warm-up, then a cosine to nothing over the minutes that are given
    judged    on held-out clips: IoU with the truth, of the rule that the network begins at and its
              own, by how far on the clip is; and how often it knows whether the object is there

A checkpoint has everything: the same command goes on from it, and only for the minutes left.

Letters: B questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.models.memory_reader import MemoryReader, ReaderSizes
from anymask.models.rules import MIXED
from research.nano.averaged import AveragedLearner, Sitting
from research.nano.memory_samples import ClipStore, MemoryBatch, read_questions

CHECKPOINT = "memory.pt"
WARM_UP = 50  # steps
THERE = 0.001  # of the cells: what counts as being there


@dataclass(frozen=True, kw_only=True)
class MemoryRecipe:
    """What decides a training of memory.

    Attributes:
        minutes: Length of the run; the learning rate decreases to 0.
        clips: Clips per step; of each, the objects of one frame.
        rate: Maximum learning rate of AdamW.
        ema: Decay of the averaged weights.
        seed: Seed of all random numbers.
    """

    minutes: float = 30.0
    clips: int = 4
    rate: float = 3e-3
    ema: float = 0.99
    seed: int = 1


@dataclass(frozen=True)
class MemoryJudgement:
    """Of the questions of one kind: how many, and the mean IoU of the rule and of the network."""

    kind: str
    count: int
    rule: float
    network: float


def memory_loss(logits: Tensor, seen: Tensor, target: Tensor) -> Tensor:
    """Mean over questions: see the module."""
    area = target.sum((1, 2, 3))
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum((1, 2, 3))
    there = (area > THERE * target[0].numel()).float()
    drawn = logits.sigmoid()
    both = (drawn * target).sum((1, 2, 3))
    either = (drawn + target - drawn * target).sum((1, 2, 3))
    overlap = (1 - (both + 1) / (either + 1)) * there
    presence = F.binary_cross_entropy_with_logits(seen[:, 0], there)
    return (entropy / (2 * area + 100)).mean() + overlap.mean() + 0.2 * presence


class MemoryLearner(AveragedLearner[MemoryReader]):
    """Trains the memory reader; the minutes of training determine the learning rate."""

    def __init__(self, recipe: MemoryRecipe, sizes: ReaderSizes) -> None:
        super().__init__(MemoryReader(sizes), recipe.rate, recipe.ema, WARM_UP)
        self.recipe = recipe

    def learn(self, batch: MemoryBatch) -> float:
        """One step; its loss."""
        with self.autocast():
            logits, seen = self.network(*batch.given)
        loss = memory_loss(logits.float(), seen.float(), batch.target)
        return self.descend(loss, min(1.0, self.minutes / self.recipe.minutes))

    def state(self) -> dict[str, Any]:
        """All of it, to be saved."""
        return {**super().state(), "sizes": asdict(self.network.sizes)}

    def finished(self) -> MemoryReader:
        """The network with the averaged weights."""
        network = MemoryReader(self.network.sizes)
        network.load_state_dict(self.averaged)
        return network.eval()


def train_memory(
    store: ClipStore,
    folder: Path,
    recipe: MemoryRecipe,
    report: Callable[[dict[str, float]], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[MemoryReader, bool]:
    """Train until the recipe's minutes are over, or a signal asks to end; the network, and whether
    the minutes are over. `folder` gets a checkpoint now and then, and goes on from one.

    Args:
        report: Called with step, minutes and mean loss every 50 steps.
    """
    torch.manual_seed(recipe.seed)
    learner, path, paths = _begin(store, folder, recipe), folder / CHECKPOINT, store.learned
    rng = np.random.default_rng([recipe.seed, learner.steps])

    def step() -> float:
        chosen = (paths[n] for n in rng.integers(len(paths), size=recipe.clips).tolist())
        rows = [row for one in chosen for row in read_questions(one, None, rng)]
        return learner.learn(MemoryBatch.of(rows))

    done = Sitting(path, recipe.minutes, report, clock).learn(learner, step)
    return learner.finished(), done


def _begin(store: ClipStore, folder: Path, recipe: MemoryRecipe) -> MemoryLearner:
    first = read_questions(store.paths[0], 1, None)[0]
    sizes = ReaderSizes(
        keys=first.keys.shape[1], middle=first.middle.shape[1], fine=first.fine.shape[1]
    )
    learner, path = MemoryLearner(recipe, sizes), folder / CHECKPOINT
    learner.resume(path)
    return learner


@torch.no_grad()
def judge_memory(model: MemoryReader, store: ClipStore, most: int = 60) -> list[MemoryJudgement]:
    """IoU of rule and network on held-out clips, by the frame's number in its clip."""
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for path in store.held_out[:most]:
        with np.load(path) as clip:
            frames = len(clip["memories"])
        for number in range(1, frames):
            batch = MemoryBatch.of(read_questions(path, number, None))
            logits, seen = model(*batch.given)
            for row in range(len(seen)):
                truth = batch.target[row, 0] > 0.5
                there = float(batch.target[row].mean()) > THERE
                right = (float(seen[row]) > 0) == there
                by_kind.setdefault("there or not", []).append((1.0, float(right)))
                if there:
                    ious = (
                        _iou(batch.hints[row, MIXED] > 0, truth), _iou(logits[row, 0] > 0, truth)
                    )  # fmt: skip
                    for kind in ("all", f"frame {number}"):
                        by_kind.setdefault(kind, []).append(ious)
    return [
        MemoryJudgement(kind, len(pairs), *(float(v) for v in np.mean(pairs, axis=0)))
        for kind, pairs in sorted(by_kind.items())
    ]


def _iou(one: Tensor, other: Tensor) -> float:
    either = float((one | other).sum())
    return float((one & other).sum()) / either if either else 1.0
