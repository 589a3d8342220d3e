"""Training of the network that refines edges: folders of windows in, its averaged weights out.

    loss      cross-entropy and soft IoU of the changed logits, where the gate is open
    schedule  AdamW, a linear warm-up, then a cosine to nothing over the minutes that are given
    judged    on the held-out photos: IoU with the truth inside the window, before and after

Letters: B windows, s the side of the parts that are trained on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.masks import iou
from anymask.models.edge_refiner import EdgeRefiner, clues
from anymask.segment.prediction import window_prompt
from research.nano.averaged import AveragedLearner
from research.nano.edge_samples import EdgeBatch, WindowStore, training_window

CHECKPOINT = "refiner.pt"
WARM_UP = 100  # steps
TOLD, SAVED = 50, 120.0  # steps between reports, seconds between checkpoints


@dataclass(frozen=True, kw_only=True)
class EdgeRecipe:
    """What decides a training of edges.

    Attributes:
        minutes: Length of the run; the learning rate decreases to 0.
        windows: Batch size B.
        side: Side of the crops of windows, a multiple of 16.
        rate: Maximum learning rate of AdamW.
        ema: Decay of the averaged weights.
        seed: Seed of all random numbers.
    """

    minutes: float = 30.0
    windows: int = 12
    side: int = 128
    rate: float = 3e-3
    ema: float = 0.99
    seed: int = 1


@dataclass(frozen=True)
class EdgeJudgement:
    """Of one kind of answers: how many, and their mean IoU with the truth before and after."""

    kind: str
    count: int
    before: float
    after: float


def edge_loss(change: Tensor, batch: EdgeBatch) -> Tensor:
    """Mean cross-entropy of the weighted pixels, and one minus their soft IoU."""
    logits = batch.wide + change
    target, weight = batch.target, batch.weight
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (losses * weight).sum() / weight.sum().clamp(min=1)
    drawn = logits.sigmoid()
    both = (drawn * target * weight).sum((1, 2, 3))
    either = ((drawn + target - drawn * target) * weight).sum((1, 2, 3))
    return entropy + (1 - (both + 1) / (either + 1)).mean()


class EdgeLearner(AveragedLearner[EdgeRefiner]):
    """Trains the edge refiner.

    Args:
        start: Averaged weights to start from, or None.
    """

    def __init__(self, recipe: EdgeRecipe, start: dict[str, Tensor] | None) -> None:
        network = EdgeRefiner()
        if start is not None:
            network.load_state_dict(start)
        super().__init__(network, recipe.rate, recipe.ema, WARM_UP)

    def learn(self, batch: EdgeBatch, done: float) -> float:
        """One step; its loss. `done` is the part of the run that is over, 0..1."""
        with self.autocast():
            change = self.network.change(batch.clues.to(memory_format=torch.channels_last))
        return self.descend(edge_loss(change.float(), batch), done)


def train_edges(
    stores: list[WindowStore],
    folder: Path,
    recipe: EdgeRecipe,
    report: Callable[[dict[str, float]], None],
    clock: Callable[[], float] = time.monotonic,
) -> EdgeRefiner:
    """Train until the recipe's minutes are over; `folder` gets the averaged weights now and then.

    Where it has some already, they are what the training starts from.

    Args:
        report: Called with step, minutes and mean loss every 50 steps.
    """
    torch.manual_seed(recipe.seed)
    rng, path = np.random.default_rng(recipe.seed), folder / CHECKPOINT
    places = [
        (store, n) for store in stores for n, row in enumerate(store.rows) if not row.held_out
    ]
    start = torch.load(path, weights_only=True) if path.is_file() else None
    learner, losses, began = EdgeLearner(recipe, start), [0.0], clock()
    saved = began
    while (minutes := (clock() - began) / 60) < recipe.minutes:
        chosen = (places[n] for n in rng.integers(len(places), size=recipe.windows).tolist())
        windows = [training_window(one, n, rng, recipe.side) for one, n in chosen]
        losses.append(learner.learn(EdgeBatch.of(windows), minutes / recipe.minutes))
        if learner.steps % TOLD == 0:
            mean = float(np.mean(losses[-TOLD:]))
            report({"step": learner.steps, "minutes": minutes, "loss": mean})
        if clock() - saved > SAVED:
            torch.save(learner.averaged, path)
            saved = clock()
    torch.save(learner.averaged, path)
    learner.network.load_state_dict(learner.averaged)
    return learner.network.eval()


@torch.no_grad()
def judge_edges(
    model: EdgeRefiner, stores: list[WindowStore], most: int = 200
) -> list[EdgeJudgement]:
    """IoU before and after on held-out windows, by the kind of picture and of prompt."""
    places = [(store, n) for store in stores for n, row in enumerate(store.rows) if row.held_out]
    ious: dict[str, list[tuple[float, float]]] = {}
    for store, n in places[:: max(1, len(places) // most)]:
        row, truth = store.rows[n], store.truth(n)
        image = torch.from_numpy(np.ascontiguousarray(store.image(n).transpose(2, 0, 1))).float()
        cells = torch.from_numpy(store.logits(n))[None, None]
        seen = clues(
            image[None], cells, torch.from_numpy(window_prompt(row.prompt, row.window))[None]
        )
        wide = seen[:, 3:4] * 4
        masks = [(logits > 0)[0, 0].numpy() for logits in (wide, wide + model.change(seen))]
        before, after = (float(iou(mask, truth)) for mask in masks)
        prompt = "box" if row.box is not None else f"{len(row.points or [])} clicks"
        for kind in ("all", prompt, row.kind, "IoU < .5" if row.iou < 0.5 else "IoU >= .5"):
            ious.setdefault(kind, []).append((before, after))
    return [
        EdgeJudgement(kind, len(pairs), *(float(v) for v in np.mean(pairs, axis=0)))
        for kind, pairs in sorted(ious.items())
    ]
