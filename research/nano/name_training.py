"""Training of the network of names: maps of close-ups in, its averaged weights out.

    loss      cross-entropy of the names that training pictures show, of masks that have one;
              cross-entropy of "people drew it" of proposals
    schedule  AdamW, a linear warm-up, then a cosine to nothing over the minutes that are given; the
              backbone's last blocks learn slower, the others not at all
    sampled   rare names more often than they occur, COCO's sets more often than others

Letters: B close-ups, N names, n rows of a store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.namer import Namer, NameVectors
from research.nano.averaged import AveragedLearner, Sitting
from research.nano.name_maps import MapStore, NameBatch
from research.nano.name_words import NameWords

CHECKPOINT = "names.pt"
WARM_UP = 100  # steps
SMOOTH = 0.05  # of the names: given to all alike
OFTEN, PREFERRED = "coco", 3.0  # sets of everyday photos, and how much more often they are shown
JUDGED_PART = 0.25  # of a batch
SLOWER = {"namer.backbone": 0.2}
FEWEST = 3  # training masks from which a name counts as learned


@dataclass(frozen=True, kw_only=True)
class NameRecipe:
    """What decides a training of names.

    minutes   until the rate is nothing
    pictures  close-ups of a step
    rate      AdamW's, at its highest
    ema       decay of the averaged weights
    seed      of everything random
    """

    minutes: float = 30.0
    pictures: int = 64
    rate: float = 3e-3
    ema: float = 0.99
    seed: int = 1


class NamingNetwork(nn.Module):
    """The network and the vectors of its names, as they learn together.

    texts    (N, T)
    learned  (N,) names that training pictures show: those that rival each other
    """

    learned: Tensor

    def __init__(self, texts: Tensor, learned: Tensor) -> None:
        super().__init__()
        self.namer, self.vectors = Namer(), NameVectors(texts)
        self.register_buffer("learned", learned, persistent=False)
        self.namer.freeze_front()

    def loss(self, batch: NameBatch) -> Tensor:
        """See the module."""
        vectors, logits = self.namer.back(batch.maps, batch.mask)
        told = self.vectors.logits(vectors.float())
        rivals = torch.where(self.learned, 0.0, -torch.inf).to(told)
        named = (batch.names >= 0) & self.learned[batch.names.clamp(min=0)]
        judged = batch.judged >= 0
        loss = told.sum() * 0
        if named.any():
            loss = loss + smoothed_loss(told[named] + rivals, batch.names[named])
        if judged.any():
            said = F.binary_cross_entropy_with_logits(
                logits.float()[judged], batch.judged[judged].float(), reduction="none"
            )
            counts = batch.counts[judged]
            loss = loss + (said * counts).sum() / counts.sum()
        return loss


def smoothed_loss(logits: Tensor, names: Tensor) -> Tensor:  # (B, N), (B,)
    """Cross-entropy with a little for every name that is possible."""
    likely = F.log_softmax(logits, dim=1)
    possible = torch.isfinite(likely)
    right = likely.gather(1, names[:, None])[:, 0]
    mean = torch.where(possible, likely, 0.0).sum(1) / possible.sum(1)
    return -((1 - SMOOTH) * right + SMOOTH * mean).mean()


class NameLearner(AveragedLearner[NamingNetwork]):
    """See `AveragedLearner`; the minutes that it has learned for say how far the run is."""

    def __init__(self, recipe: NameRecipe, network: NamingNetwork) -> None:
        super().__init__(network, recipe.rate, recipe.ema, WARM_UP, SLOWER)
        self.recipe = recipe

    def learn(self, batch: NameBatch) -> float:
        """One step; its loss."""
        with self.autocast():
            loss = self.network.loss(batch)
        return self.descend(loss, min(1.0, self.minutes / self.recipe.minutes))

    def finished(self) -> NamingNetwork:
        """The network with the averaged weights."""
        self.network.load_state_dict(self.averaged)
        return self.network.eval()


class _Draw:
    """Which rows a step learns from."""

    def __init__(self, store: MapStore, pictures: int) -> None:
        learning = [(n, row) for n, row in enumerate(store.rows) if not row.held_out]
        self._judged = [n for n, row in learning if row.judged is not None]
        named = [(n, row) for n, row in learning if row.judged is None]
        self._named = [n for n, _ in named]
        often = np.bincount([row.name or 0 for _, row in named], minlength=1)
        weight = [
            (PREFERRED if row.kind.startswith(OFTEN) else 1.0) / often[row.name or 0] ** 0.5
            for _, row in named
        ]
        self._weight = np.array(weight) / max(sum(weight), 1e-9)
        self._pictures = pictures

    def places(self, rng: np.random.Generator) -> list[int]:
        """Of one batch: named masks, and proposals."""
        judged = round(JUDGED_PART * self._pictures) if self._judged else 0
        judged = judged if self._named else self._pictures
        asked = rng.choice(self._judged, judged).tolist() if judged else []
        named = rng.choice(len(self._named), self._pictures - judged, p=self._weight)
        return asked + [self._named[n] for n in named]


def learned_names(store: MapStore, count: int) -> NDArray[np.bool_]:  # -> (N,)
    """The names that masks to learn from show."""
    shown = [row.name for row in store.rows if row.name is not None and not row.held_out]
    learned: NDArray[np.bool_] = np.bincount(shown, minlength=count) >= FEWEST
    return learned


def train_names(
    store: MapStore,
    words: NameWords,
    folder: Path,
    recipe: NameRecipe,
    report: Callable[[dict[str, float]], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[NamingNetwork, bool]:
    """Train until the recipe's minutes are over, or a signal asks to end; the network, and whether
    the minutes are over. `folder` gets a checkpoint now and then, and goes on from one.

    report  is told step, minutes and mean loss every 50 steps
    """
    torch.manual_seed(recipe.seed)
    learner, path = _begin(store, words, folder, recipe), folder / CHECKPOINT
    rng, draw = np.random.default_rng([recipe.seed, learner.steps]), _Draw(store, recipe.pictures)

    def step() -> float:
        return learner.learn(NameBatch.of(store, draw.places(rng), rng))

    done = Sitting(path, recipe.minutes, report, clock).learn(learner, step)
    return learner.finished(), done


def _begin(store: MapStore, words: NameWords, folder: Path, recipe: NameRecipe) -> NameLearner:
    learned = torch.from_numpy(learned_names(store, len(words.words)))
    network = NamingNetwork(torch.from_numpy(words.texts), learned)
    network.namer.backbone.load_state_dict(store.backbone)
    learner, path = NameLearner(recipe, network), folder / CHECKPOINT
    learner.resume(path)
    return learner


@torch.no_grad()
def ask_network(
    network: NamingNetwork, store: MapStore, places: Iterable[int], at_once: int = 64
) -> tuple[Tensor, Tensor]:  # -> (n, N), (n,)
    """How much each name is meant, and the judge's logits, of some rows as they are."""
    chosen, told, judged = list(places), [], []
    for start in range(0, len(chosen), at_once):
        batch = NameBatch.of(store, chosen[start : start + at_once], None)
        vectors, logits = network.namer.back(batch.maps, batch.mask)
        told.append(network.vectors.logits(vectors))
        judged.append(logits)
    return torch.cat(told), torch.cat(judged)
