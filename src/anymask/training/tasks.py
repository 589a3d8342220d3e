"""Tasks of a recipe: learning from masks, or from a larger model (distillation).

    masks    objects from prompts (`training.step`)
    distil   a larger model's features, and its masks for the same prompts: features as MobileSAM
             (Zhang et al. 2023, arXiv 2306.14289, section 3.2), prompts in the loop as EdgeSAM
             (Zhou et al. 2023, arXiv 2312.06660, section 3.3). Deviations: features go through a
             learned 1 x 1 convolution, so that any two encoders fit; the next click stands where
             the student errs against the teacher; the teacher sees clicks and boxes, not masks

A task may give the model a head that is needed only while it learns: `add_head`, `remove_head`.
Letters: B pictures, C channels, h w features, N prompts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask import models
from anymask.base import ConfigError
from anymask.masks import ModelSpec
from anymask.models.rules import open_family
from anymask.runtime import trainable_weights
from anymask.training.channels import Trainee
from anymask.training.interaction import Draws, SimulatedPrompts
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch
from anymask.training.start_weights import HEAD, load_start
from anymask.training.step import (
    StepOutcome,
    TrainingStep,
    best_shown,
    corrections_added,
    normalised,
)


def build_step(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The step of the recipe's task. Raises ConfigError, ModelError, WeightsError."""
    if recipe.task == "masks":
        return TrainingStep(model, recipe)
    return DistillationStep(model, recipe, Teacher.open(recipe))


def add_head(model: nn.Module, recipe: Recipe) -> None:
    """Give the model the layer that its task needs, if any: `HEAD`, a 1 x 1 convolution."""
    if recipe.needs_masks:
        return
    wanted = feature_channels(recipe.teacher)
    model.add_module(HEAD, nn.Conv2d(feature_channels(recipe.model), wanted, 1))


def remove_head(model: nn.Module) -> None:
    """Take the task's layer away again, where there is one."""
    if hasattr(model, HEAD):
        delattr(model, HEAD)


def feature_channels(name: str) -> int:
    """C of the coarsest features that a model makes of a picture."""
    spec = models.spec(name)
    side = spec.pad_multiple or spec.image_side
    with torch.device("meta"), torch.no_grad():
        seen = cast(Trainee, models.build(name)).encode(torch.zeros(1, 3, side, side))
    return int(seen[0].shape[1])


def open_teacher(name: str, path: Path) -> nn.Module:
    """A model with the weights of a file. Raises InputError, ModelError, WeightsError."""
    module = models.build(name)
    load_start(module, path)
    return module


class Teacher:
    """A larger model that answers; it is no part of what learns, is saved or is sharded."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)
        self.spec: ModelSpec = cast(Trainee, module).spec
        self.roles = open_family(self.spec).roles

    @classmethod
    def open(cls, recipe: Recipe) -> Teacher:
        """The recipe's teacher with its weights. Raises ModelError, WeightsError."""
        named = recipe.teacher_weights
        path = Path(named) if named else trainable_weights(recipe.teacher)
        return cls(open_teacher(recipe.teacher, path))

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, ...]:  # (B, 3, S, S) uint8
        """What the teacher sees in the pictures, brought to its own size."""
        self.module.to(images.device)
        side = images.shape[-1] if self.spec.pad_multiple else self.spec.image_side
        large = F.interpolate(
            images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
        )
        seen = normalised(large, self.spec)
        return tuple(one.float() for one in cast(Trainee, self.module).encode(seen))

    @torch.no_grad()
    def masks(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts, side: int, cells: int
    ) -> Tensor:
        """The masks that the teacher shows for prompts in pictures of `side`: (N, 1, s, s), 0..1.

        features  of each prompt's picture, N
        cells     s
        """
        device = features[0].device
        own = side if self.spec.pad_multiple else self.spec.image_side
        low = own * self.spec.mask_side // self.spec.image_side
        coords = prompts.coords.to(device) * (own / side)
        labels, slots = prompts.labels.to(device), self.spec.fixed_points
        if slots:
            coords, labels = coords[:, :slots], labels[:, :slots]
        empty = torch.zeros(len(coords), 1, low, low, device=device)
        logits, quality = cast(Trainee, self.module).decode(
            features, coords, labels, empty, torch.zeros(len(coords), device=device)
        )
        whole = corrections_added(logits.float(), quality.float(), self.roles)
        shown = best_shown(*whole, prompts.ambiguous, self.roles)
        wide = F.interpolate(shown[:, None], (cells, cells), mode="bilinear", align_corners=False)
        return (wide > 0).float()


class DistillationStep(TrainingStep):
    """A step whose truth is what the teacher answers, and whose features follow the teacher's."""

    def __init__(self, model: nn.Module, recipe: Recipe, teacher: Teacher) -> None:
        super().__init__(model, recipe)
        self.teacher = teacher
        if self.rules.slots != teacher.spec.fixed_points:
            self.rules = replace(self.rules, slots=max(self.rules.slots, teacher.spec.fixed_points))
        self.rules = replace(
            self.rules,
            boxes=self.rules.boxes if "box" in teacher.spec.accepts else 0.0,
            negatives=self.rules.negatives and "negative_point" in teacher.spec.accepts,
        )

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """As `TrainingStep.forward`, with the teacher's features beside."""
        objects = batch.targets.shape[1]
        images = batch.images.to(self.device)
        told = self.teacher.features(images)
        self.of_teacher = tuple(one.repeat_interleave(objects, dim=0) for one in told)
        seen = self.see(batch)
        outcome = self.learn_from(batch, seen, balance, draws)
        loss = feature_loss(getattr(self.model, HEAD)(seen[0].float()), told[0])
        return replace(outcome, loss=outcome.loss + self.recipe.feature_weight * loss)

    def truth(self, batch: Batch, prompts: SimulatedPrompts) -> Tensor:
        """What the teacher says to the prompts: (N, 1, s, s)."""
        return self.teacher.masks(
            self.of_teacher, prompts, batch.images.shape[-1], batch.targets.shape[-1]
        )


def feature_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of features, made as large as the teacher's: (B, C, h, w) twice -> ()."""
    if made.shape[-2:] != wanted.shape[-2:]:
        made = F.interpolate(made, wanted.shape[-2:], mode="bilinear", align_corners=False)
    return F.mse_loss(made, wanted)


def check_task(recipe: Recipe) -> None:
    """Raises ConfigError for a task that lacks its teacher."""
    if recipe.task == "distil" and not recipe.teacher:
        raise ConfigError("task = 'distil' needs teacher = NAME, a model to learn from")
