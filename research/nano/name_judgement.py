"""What a network of names is worth on held-out close-ups: a trained one in, figures out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from research.nano.name_maps import MapStore
from research.nano.name_training import NamingNetwork, ask_network

Floats = NDArray[np.float64]

MOST = 3000  # masks that are named
TEMPERATURES = np.exp(np.linspace(-1, 1, 21))


@dataclass(frozen=True, eq=False)
class NameJudgement:
    """What was found.

    figures      by their names: right names among the first one and five, of the learned ones; the
                 area under the curve of the logit that tells objects, beside that of the quality
    temperature  of the names' logits, with which their chances are right
    """

    figures: dict[str, float]
    temperature: float


def judge_names(network: NamingNetwork, store: MapStore) -> NameJudgement:
    """Measure on the held-out rows."""
    figures: dict[str, float] = {}
    rows = [(n, row) for n, row in enumerate(store.rows) if row.held_out]
    known = network.learned.numpy()
    named = [
        (n, row.name)
        for n, row in rows
        if row.judged is None and row.name is not None and known[row.name]
    ][:MOST]
    temperature = 1.0
    if named:
        told, _ = ask_network(network, store, [n for n, _ in named])
        names = torch.tensor([name for _, name in named])
        told = torch.where(network.learned, told, -torch.inf)
        order = told.argsort(1, descending=True)
        for most in (1, 5):
            right = (order[:, :most] == names[:, None]).any(1)
            figures[f"top-{most} of {int(known.sum())} names"] = float(right.float().mean())
        losses = [float(torch.nn.functional.cross_entropy(told / t, names)) for t in TEMPERATURES]
        temperature = float(TEMPERATURES[int(np.argmin(losses))])
    asked = [(n, row) for n, row in rows if row.judged is not None]
    if len({row.judged for _, row in asked}) == 2:
        _, said = ask_network(network, store, [n for n, _ in asked])
        quality = np.array([row.quality for _, row in asked], np.float64)
        labels = np.array([row.judged for _, row in asked], np.float64)
        counts = np.array([row.counts for _, row in asked], np.float64)
        for what, score in (("quality", quality), ("the logit", said.double().numpy())):
            figures[f"area under the curve, {what}"] = area_under_curve(score, labels, counts)
    return NameJudgement(figures, temperature)


def area_under_curve(score: NDArray[np.floating], labels: Floats, counts: Floats) -> float:
    """How often a right mask is before a wrong one."""
    order = np.argsort(score, kind="stable")
    right, wrong = (labels * counts)[order], ((1 - labels) * counts)[order]
    below = np.cumsum(wrong) - wrong / 2
    return float((right * below).sum() / max(right.sum() * wrong.sum(), 1e-9))
