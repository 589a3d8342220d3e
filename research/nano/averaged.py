"""Training of a small network on a CPU: losses in, its weights and their average out.

AdamW, a linear warm-up, then a cosine to nothing over the run; gradients are cut at a norm of 1. A
checkpoint has everything: a run goes on from it in another sitting, and only for the minutes left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from anymask.base import whole_file
from anymask.training.trainee import multiplies_halves
from anymask.training.workers import handling_signals

N = TypeVar("N", bound=nn.Module)
TOLD, SAVED = 50, 60.0  # steps between reports, seconds between checkpoints


class AveragedLearner(Generic[N]):
    """A network that learns, and the average of its weights, which is what ships.

    Args:
        rate: Maximum learning rate of AdamW.
        ema: Decay of the averaged weights; smaller in the first steps.
        warm_up: Number of warm-up steps.
        slower: Prefixes of parameter names, and their factor of the learning rate.
    """

    def __init__(
        self,
        network: N,
        rate: float,
        ema: float,
        warm_up: int,
        slower: Mapping[str, float] | None = None,
    ) -> None:
        self.network, self._rate, self._ema, self._warm_up = network, rate, ema, warm_up
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = {name: one.clone() for name, one in network.state_dict().items()}
        groups = _groups(network, slower or {})
        self.optimizer = torch.optim.AdamW(groups, rate, weight_decay=0.01)
        self._halves = multiplies_halves(torch.device("cpu"))
        self.steps, self.minutes = 0, 0.0

    def autocast(self) -> torch.autocast:
        """In which the network answers: products in bf16 where the processor has them."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._halves)

    def descend(self, loss: Tensor, done: float) -> float:
        """One step; its loss. `done` is the part of the run that is over, 0..1."""
        rate = self._rate * min(1, (self.steps + 1) / self._warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * rate * 0.5 * (1 + math.cos(math.pi * done))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        decay = min(self._ema, (1 + self.steps) / (10 + self.steps))
        for name, value in self.network.state_dict().items():
            self.averaged[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """All of it, to be saved."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimiser": self.optimizer.state_dict(),
            "about": {"steps": self.steps, "minutes": self.minutes},
        }

    def resume(self, path: Path) -> None:
        """Go on from the checkpoint of an earlier sitting, where there is one."""
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimiser"])
        self.averaged = state["averaged"]
        self.steps, self.minutes = state["about"]["steps"], state["about"]["minutes"]


@dataclass(frozen=True)
class Sitting:
    """How long a learner learns, and who is told.

    Attributes:
        path: Checkpoint file.
        minutes: Length of the run, over all sessions.
        report: Called with step, minutes and mean loss every 50 steps.
        clock: Monotonic clock in seconds.
    """

    path: Path
    minutes: float
    report: Callable[[dict[str, float]], None]
    clock: Callable[[], float] = time.monotonic

    def learn(self, learner: AveragedLearner[Any], step: Callable[[], float]) -> bool:
        """Take steps until the minutes are over, or a signal asks to end; whether they are over.

        Args:
            step: Runs one step and returns its loss.
        """
        losses, began, before, signals = [0.0], self.clock(), learner.minutes, list[int]()
        saved = began
        with handling_signals(lambda number, _: signals.append(number)):
            while not signals and learner.minutes < self.minutes:
                losses.append(step())
                learner.minutes = before + (self.clock() - began) / 60
                if learner.steps % TOLD == 0:
                    mean = float(np.mean(losses[-TOLD:]))
                    row = {"step": learner.steps, "minutes": learner.minutes, "loss": mean}
                    self.report(row)
                if self.clock() - saved > SAVED:
                    self._save(learner)
                    saved = self.clock()
            self._save(learner)
        return learner.minutes >= self.minutes

    def _save(self, learner: AveragedLearner[Any]) -> None:
        with whole_file(self.path) as file:
            torch.save(learner.state(), file)


def _groups(network: nn.Module, slower: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters that learn, by their share of the rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            share = next((part for begin, part in slower.items() if name.startswith(begin)), 1.0)
            groups.setdefault(share, []).append(parameter)
    return [{"params": members, "share": share} for share, members in groups.items()]
