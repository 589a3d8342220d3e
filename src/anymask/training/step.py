"""One interactive training step: photos and masks in; prompts, answers, corrections, the loss out.

Letters: B pictures, M objects a picture, N = B * M prompts, s the side of the masks, T masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anymask.masks import ModelSpec, TokenRoles
from anymask.models.class_head import class_head_of
from anymask.models.rules import open_family
from anymask.training.channels import Trainee, as_colours
from anymask.training.classes import class_loss
from anymask.training.interaction import (
    Draws,
    PromptRules,
    SimulatedPrompts,
    corrected,
    first_prompts,
)
from anymask.training.losses import mask_iou, mask_losses, prompt_loss, quality_loss
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch

QUALITY_WEIGHT = 2.0
THIRD_CLICK = 0.4  # how often a correction without gradient comes before the last one


@dataclass(frozen=True, eq=False)
class StepOutcome:
    """What a step says: the loss to descend, and numbers for the log (detached).

    first_iou, last_iou  of the mask that would be shown, mean over prompts
    oracle_iou           the best of the first answer's masks
    quality_error        mean absolute error of the predicted quality

    What a task does not have is NaN.
    """

    loss: Tensor
    first_iou: float = math.nan
    oracle_iou: float = math.nan
    last_iou: float = math.nan
    quality_error: float = math.nan


class TrainingStep(nn.Module):
    """A model with the rules of its training; `forward` is one whole step.

    It is a module so that torch's DistributedDataParallel can wrap it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.spec = spec = cast(Trainee, model).spec
        self.roles = open_family(spec).roles
        self.rules = PromptRules.of(spec, recipe.boxes)

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """Forward of one batch with two answers that learn.

        balance  weight of the balanced loss
        draws    the random numbers of this step
        """
        return self.learn_from(batch, self.see(batch), balance, draws)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the encoder makes of the pictures."""
        images = as_colours(self.model, batch.images.to(self.device).float())
        images = normalised(images, self.spec)
        return cast(Trainee, self.model).encode(images)

    def truth(self, batch: Batch, prompts: SimulatedPrompts) -> Tensor:
        """What the prompts mean, 0..1: (N, 1, s, s)."""
        return batch.targets.flatten(0, 1).float()[:, None].to(self.device) / 255

    def learn_from(
        self, batch: Batch, seen: tuple[Tensor, ...], balance: float, draws: Draws
    ) -> StepOutcome:
        """Ask twice, and say how wrong the answers are."""
        objects, side = batch.targets.shape[1], batch.images.shape[-1]
        features = tuple(one.repeat_interleave(objects, dim=0) for one in seen)
        places = (
            batch.centres.flatten(0, 1),
            batch.insides.flatten(0, 1),
            batch.boxes.flatten(0, 1),
        )
        prompts = first_prompts(places, side, draws, self.rules)
        targets = self.truth(batch, prompts)
        logits, quality = self.answer(features, prompts)
        loss, iou = self.judge(logits, quality, targets, prompts, balance)
        shown = self.best_shown(logits, quality, prompts)
        first_iou = mask_iou(shown[:, None], targets).mean().item()
        prompts = self.correct(prompts, shown, targets, draws)
        if draws.of_step.random() < THIRD_CLICK:
            with torch.no_grad():
                shown = self.best_shown(*self.answer(features, prompts), prompts)
            prompts = self.correct(prompts, shown, targets, draws)
        targets = self.truth(batch, prompts)
        second, second_quality = self.answer(features, prompts)
        second_loss, second_iou = self.judge(second, second_quality, targets, prompts, balance)
        return StepOutcome(
            loss=loss + second_loss + self.naming_loss(batch, seen),
            first_iou=first_iou,
            oracle_iou=iou.amax(1).mean().item(),
            last_iou=second_iou[:, list(self.roles.clear)].amax(1).mean().item(),
            quality_error=(quality.detach() - iou).abs().mean().item(),
        )

    def naming_loss(self, batch: Batch, seen: tuple[Tensor, ...]) -> Tensor | float:
        """How wrong the label map is, where classes are learned."""
        head = class_head_of(self.model)
        if head is None or batch.numbers is None:
            return 0.0
        return class_loss(head(*seen), batch.numbers.long().to(self.device))

    def answer(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts
    ) -> tuple[Tensor, Tensor]:
        """-> logits (N, T, s, s), quality (N, T), float32; a correction is added already."""
        given = (prompts.coords, prompts.labels, prompts.masks, prompts.has_mask)
        logits, quality = cast(Trainee, self.model).decode(
            features, *(tensor.to(features[0].device) for tensor in given)
        )
        return corrections_added(logits.float(), quality.float(), self.roles)

    def judge(
        self,
        logits: Tensor,
        quality: Tensor,
        targets: Tensor,
        prompts: SimulatedPrompts,
        balance: float,
    ) -> tuple[Tensor, Tensor]:
        """The mean loss of one answer, and each mask's true overlap (N, T)."""
        iou = mask_iou(logits.detach(), targets)
        wrong = self.wrong(logits, targets, prompts, balance)
        return (wrong + QUALITY_WEIGHT * quality_loss(quality, iou)).mean(), iou

    def wrong(
        self, logits: Tensor, targets: Tensor, prompts: SimulatedPrompts, balance: float
    ) -> Tensor:
        """How wrong the masks of each prompt are: (N,)."""
        losses = mask_losses(logits, targets, balance, self.recipe.mask_loss)
        ambiguous = prompts.ambiguous.to(losses.device)
        return prompt_loss(losses, ambiguous, self.roles, self.recipe.several)

    def best_shown(self, logits: Tensor, quality: Tensor, prompts: SimulatedPrompts) -> Tensor:
        """The mask a user would see: the best of a lone click's or a clear prompt's: (N, s, s)."""
        return best_shown(logits.detach(), quality, prompts.ambiguous, self.roles)

    def correct(
        self, prompts: SimulatedPrompts, shown: Tensor, targets: Tensor, draws: Draws
    ) -> SimulatedPrompts:
        """The prompts with the answer fed back and mostly one more click."""
        return corrected(prompts, shown.cpu(), targets[:, 0].cpu(), draws, self.rules)


def normalised(images: Tensor, spec: ModelSpec) -> Tensor:  # (B, 3, S, S) 0..255 -> the same
    """Pictures as a model sees them."""
    mean, std = (
        torch.tensor(three, device=images.device)[:, None, None] for three in (spec.mean, spec.std)
    )
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def corrections_added(
    logits: Tensor, quality: Tensor, roles: TokenRoles
) -> tuple[Tensor, Tensor]:  # (N, T, s, s), (N, T)
    """The masks with the correction that is added to each of them, where a family has one."""
    if roles.added is None:
        return logits, quality
    return logits[:, : roles.added] + logits[:, roles.added :], quality[:, : roles.added]


def best_shown(logits: Tensor, quality: Tensor, ambiguous: Tensor, roles: TokenRoles) -> Tensor:
    """The best of the masks that answer each prompt: (N, T, s, s), (N, T), (N,) -> (N, s, s)."""
    picks = []
    for tokens in (roles.ambiguous, roles.clear):
        of_tokens = torch.tensor(tokens, device=quality.device)
        picks.append(of_tokens[quality[:, of_tokens].argmax(1)])
    pick = torch.where(ambiguous.to(quality.device), picks[0], picks[1])
    return logits[torch.arange(len(pick), device=pick.device), pick]
