"""Simulated prompts for training: a first prompt, then clicks on errors (appendix A).

The random numbers of a prompt depend on seed, step and the number of its image only, so one process
and several create the same prompts for the same batch.

Letters: N prompts (objects), the same number for each image, P points, s the side of the
low-resolution masks. Coordinates are in model pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from anymask.masks import ModelSpec


class Draws:
    """Random generators, one for each image of a worker's part of a batch."""

    def __init__(self, seed: int, step: int, images: Sequence[int]) -> None:
        self.of_step = np.random.default_rng([seed, step, 1])  # the same state in all workers
        self.of_worker = np.random.default_rng([seed, step, images[0], 1])
        self._of_images = [np.random.default_rng([seed, step, i, 2]) for i in images]

    def uniform(self, n: int) -> NDArray[np.float64]:  # -> (N,) in 0..1
        """Return a random number for each of N prompts, grouped by image."""
        each = n // len(self._of_images)
        return np.concatenate([rng.random(each) for rng in self._of_images])

    def normal(self, n: int, columns: int) -> NDArray[np.float32]:  # -> (N, columns)
        """Return standard normal numbers for each of N prompts."""
        shape = (n // len(self._of_images), columns)
        return np.concatenate(
            [rng.standard_normal(shape) for rng in self._of_images], dtype=np.float32
        )

    def of_prompt(self, row: int, n: int) -> Generator:
        """Return the generator of one of N prompts."""
        return self._of_images[row // (n // len(self._of_images))]


FIRST_SLOTS = 3  # two box corners and a click; unused slots have the label -1
BOX_AND_CLICK = 0.1  # fraction of the objects that get both
TIGHT = 0.7  # fraction of the boxes that are nearly exact
WITHOUT_CLICK = 0.3  # fraction of the corrections that only feed back the predicted mask
MIN_ROUND_COUNT = 4  # rounds from which whole rounds do that instead


@dataclass(frozen=True, kw_only=True)
class PromptRules:
    """Prompt types that a model supports, and the fraction of boxes among first prompts."""

    boxes: float  # Fraction of the objects that get a box first; the others get a click
    negatives: bool = True  # Whether negative points are supported
    masks: bool = True  # Whether mask prompts are supported
    slots: int = 0  # Number of points that every prompt is padded to, or 0
    stride: int = 4  # Model pixels per cell of the low-resolution masks

    @classmethod
    def of(cls, spec: ModelSpec, boxes: float) -> PromptRules:
        """Create the rules for a model's spec."""
        return cls(
            boxes=boxes if "box" in spec.accepts else 0.0,
            negatives="negative_point" in spec.accepts,
            masks="mask" in spec.accepts,
            slots=spec.fixed_points,
            stride=spec.image_side // spec.mask_side,
        )


@dataclass(frozen=True, eq=False)
class SimulatedPrompts:
    """N prompts of P slots, as decoder inputs.

    coords (N, P, 2), labels (N, P) int64, masks (N, 1, s, s), has_mask (N,), ambiguous (N,) bool:
    a single click
    """

    coords: Tensor
    labels: Tensor
    masks: Tensor
    has_mask: Tensor
    ambiguous: Tensor


def first_prompts(
    places: tuple[Tensor, Tensor, Tensor], side: int, draws: Draws, rules: PromptRules
) -> SimulatedPrompts:
    """Create a click on each of N objects, or a box around it, sometimes both.

    Args:
        places: Centers (N, 2), other inner positions (N, 2), boxes (N, 4).
        side: Side of the image.
    """
    centers, insides, boxes = places
    n, slots = len(centers), max(FIRST_SLOTS, rules.slots)
    pick = draws.uniform(n)
    with_box = pick < rules.boxes
    with_click = ~with_box | (pick < BOX_AND_CLICK)
    central = torch.from_numpy(draws.uniform(n) < 0.5)
    coords = torch.zeros(n, slots, 2)
    coords[:, :2] = noisy_boxes(boxes, side, draws).view(n, 2, 2)
    coords[:, 2] = torch.where(central[:, None], centers, insides)
    labels = torch.full((n, slots), -1, dtype=torch.int64)
    labels[torch.from_numpy(with_box), :2] = torch.tensor([2, 3])
    labels[torch.from_numpy(with_click), 2] = 1
    s = side // rules.stride
    return SimulatedPrompts(
        coords, labels, torch.zeros(n, 1, s, s), torch.zeros(n), torch.from_numpy(~with_box)
    )


def noisy_boxes(boxes: Tensor, side: int, draws: Draws) -> Tensor:
    """Move corners by a fraction of the box size, at most 20 pixels; most only slightly."""
    n = len(boxes)
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    part = torch.from_numpy(np.where(draws.uniform(n) < TIGHT, 0.01, 0.08).astype(np.float32))
    shift = torch.from_numpy(draws.normal(n, 4)) * part[:, None] * size
    return (boxes + shift.clamp(-20, 20)).clamp(0, side)


def shares_without_click(rounds: int, draws: Draws) -> list[float]:
    """Return for each correction of `rounds` predictions the fraction that gets no click.

    Many rounds follow appendix A: no click in the last round and in a random one before.
    """
    if rounds < MIN_ROUND_COUNT:
        return [WITHOUT_CLICK] * (rounds - 1)
    shares = [0.0] * (rounds - 2) + [1.0]
    shares[int(draws.of_step.integers(rounds - 2))] = 1.0
    return shares


def corrected(
    prompts: SimulatedPrompts,
    logits: Tensor,
    targets: Tensor,
    draws: Draws,
    rules: PromptRules,
    without_click: float = WITHOUT_CLICK,
) -> SimulatedPrompts:
    """Feed back the predicted mask, mostly with one more click in the largest error.

    Without a click the model learns to refine its own mask (appendix A, "no additional points").

    Args:
        logits: (N, s, s) current prediction.
        targets: (N, s, s) 0..1.
        without_click: Fraction of the prompts that get no click.
    """
    expected, given, n = targets.numpy() > 0.5, logits.numpy() > 0, len(targets)
    if not rules.negatives:
        given = given & expected  # only missing parts can be clicked
    clicks, labels = np.zeros((n, 2), np.float32), np.full(n, -1, np.int64)
    for i in np.flatnonzero(draws.uniform(n) >= without_click):
        cell, labels[i] = error_click(given[i], expected[i], draws.of_prompt(int(i), n))
        clicks[i] = rules.stride * np.array(cell)
    changed = with_clicks(prompts, torch.from_numpy(clicks), torch.from_numpy(labels), rules)
    return replace(
        changed,
        masks=logits[:, None].clamp(-20, 20) if rules.masks else prompts.masks,
        has_mask=torch.full((n,), float(rules.masks)),
        ambiguous=torch.zeros(n, dtype=torch.bool),
    )


def with_clicks(
    prompts: SimulatedPrompts, clicks: Tensor, labels: Tensor, rules: PromptRules
) -> SimulatedPrompts:  # (N, 2), (N,)
    """Add one click to each prompt: in a new slot, or in the first free one of fixed slots."""
    if not rules.slots:
        return replace(
            prompts,
            coords=torch.cat([prompts.coords, clicks[:, None]], dim=1),
            labels=torch.cat([prompts.labels, labels[:, None]], dim=1),
        )
    coords, kinds = prompts.coords.clone(), prompts.labels.clone()
    for row in range(len(kinds)):
        free = torch.nonzero(kinds[row] < 0)
        if len(free):
            coords[row, free[0, 0]], kinds[row, free[0, 0]] = clicks[row], labels[row]
    return replace(prompts, coords=coords, labels=kinds)


def error_click(
    given: np.ndarray, expected: np.ndarray, rng: Generator
) -> tuple[tuple[float, float], int]:
    """Return the center of the thickest error, or any wrong cell; label -1 if none is wrong."""
    missing = (expected & ~given).astype(np.uint8)
    extra = (given & ~expected).astype(np.uint8)
    if not missing.any() and not extra.any():
        return (0.0, 0.0), -1
    if rng.random() < 0.6:
        depths = [
            cv2.distanceTransform(np.pad(m, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
            for m in (extra, missing)
        ]
        label = int(depths[1].max() >= depths[0].max())
        y, x = np.unravel_index(int(depths[label].argmax()), given.shape)
    else:
        ys, xs = np.nonzero(missing | extra)
        some = int(rng.integers(len(ys)))
        y, x = ys[some], xs[some]
        label = int(expected[y, x])
    return (float(x) + 0.5, float(y) + 0.5), label
