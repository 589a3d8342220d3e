"""One interactive training step: photos and masks in; prompts, answers, corrections, the loss out.

Letters: B pictures, M objects a picture, N = B * M prompts, s the side of the masks, T masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anymask.families import open_family
from anymask.training.draws import Draws
from anymask.training.interaction import PromptRules, SimulatedPrompts, corrected, first_prompts
from anymask.training.losses import mask_iou, mask_losses, prompt_loss, quality_loss
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch
from anymask.training.trainee import Trainee

QUALITY_WEIGHT = 2.0
THIRD_CLICK = 0.4  # how often a correction without gradient comes before the last one


@dataclass(frozen=True, eq=False)
class StepOutcome:
    """What a step says: the loss to descend, and numbers for the log (detached).

    first_iou, last_iou  of the mask that would be shown, mean over prompts
    oracle_iou           the best of the first answer's masks
    quality_error        mean absolute error of the predicted quality
    """

    loss: Tensor
    first_iou: float
    oracle_iou: float
    last_iou: float
    quality_error: float


class TrainingStep(nn.Module):
    """A model with the rules of its training; `forward` is one whole step.

    It is a module so that torch's DistributedDataParallel can wrap it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        spec = cast(Trainee, model).spec
        self.roles = open_family(spec).roles
        self.rules = PromptRules.of(spec, recipe.boxes)
        self.register_buffer("mean", torch.tensor(spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(spec.std)[:, None, None], persistent=False)

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """Forward of one batch with two answers that learn.

        balance  weight of the balanced loss
        draws    the random numbers of this step
        """
        objects, side = batch.targets.shape[1], batch.images.shape[-1]
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        images = ((batch.images.to(mean.device).float() - mean) / std).contiguous(
            memory_format=torch.channels_last
        )
        features = tuple(
            one.repeat_interleave(objects, dim=0)
            for one in cast(Trainee, self.model).encode(images)
        )
        targets = batch.targets.flatten(0, 1).float()[:, None].to(mean.device) / 255
        places = (
            batch.centres.flatten(0, 1),
            batch.insides.flatten(0, 1),
            batch.boxes.flatten(0, 1),
        )
        prompts = first_prompts(places, side, draws, self.rules)
        logits, quality = self.answer(features, prompts)
        loss, iou = self.judge(logits, quality, targets, prompts, balance)
        shown = self.best_shown(logits, quality, prompts)
        first_iou = mask_iou(shown[:, None], targets).mean().item()
        prompts = self.correct(prompts, shown, targets, draws)
        if draws.of_step.random() < THIRD_CLICK:
            with torch.no_grad():
                shown = self.best_shown(*self.answer(features, prompts), prompts)
            prompts = self.correct(prompts, shown, targets, draws)
        second, second_quality = self.answer(features, prompts)
        second_loss, second_iou = self.judge(second, second_quality, targets, prompts, balance)
        return StepOutcome(
            loss=loss + second_loss,
            first_iou=first_iou,
            oracle_iou=iou.amax(1).mean().item(),
            last_iou=second_iou[:, list(self.roles.clear)].amax(1).mean().item(),
            quality_error=(quality.detach() - iou).abs().mean().item(),
        )

    def answer(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts
    ) -> tuple[Tensor, Tensor]:
        """-> logits (N, T, s, s), quality (N, T), float32; a correction is added already."""
        given = (prompts.coords, prompts.labels, prompts.masks, prompts.has_mask)
        logits, quality = cast(Trainee, self.model).decode(
            features, *(tensor.to(features[0].device) for tensor in given)
        )
        logits, quality = logits.float(), quality.float()
        added = self.roles.added
        if added is None:
            return logits, quality
        return logits[:, :added] + logits[:, added:], quality[:, :added]

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
        losses = mask_losses(logits, targets, balance, self.recipe.mask_loss)
        of_prompts = prompt_loss(losses, prompts.ambiguous.to(losses.device), self.roles)
        return (of_prompts + QUALITY_WEIGHT * quality_loss(quality, iou)).mean(), iou

    def best_shown(self, logits: Tensor, quality: Tensor, prompts: SimulatedPrompts) -> Tensor:
        """The mask a user would see: the best of a lone click's or a clear prompt's: (N, s, s)."""
        picks = []
        for tokens in (self.roles.ambiguous, self.roles.clear):
            of_tokens = torch.tensor(tokens, device=quality.device)
            picks.append(of_tokens[quality[:, of_tokens].argmax(1)])
        pick = torch.where(prompts.ambiguous.to(quality.device), picks[0], picks[1])
        return logits.detach()[torch.arange(len(pick), device=pick.device), pick]

    def correct(
        self, prompts: SimulatedPrompts, shown: Tensor, targets: Tensor, draws: Draws
    ) -> SimulatedPrompts:
        """The prompts with the answer fed back and mostly one more click."""
        return corrected(prompts, shown.cpu(), targets[:, 0].cpu(), draws, self.rules)
