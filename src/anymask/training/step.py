"""One step of interactive training: prompt, answer, correct, answer again (appendix A).

Letters: B pictures, M objects a picture, N = B * M prompts, s the side of the masks, T masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.random import Generator
from torch import Tensor, nn

from anymask.training.interaction import Prompts, corrected, first_prompts
from anymask.training.losses import mask_iou, mask_losses, prompt_loss, quality_loss
from anymask.training.recipe import MaskLoss, Recipe
from anymask.training.samples import Batch

QUALITY_WEIGHT = 2.0
THIRD_CLICK = 0.4  # how often a correction without gradient comes before the last one


@dataclass(frozen=True, eq=False)
class Outcome:
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


def run_step(
    model: nn.Module, batch: Batch, balance: float, rng: Generator, recipe: Recipe
) -> Outcome:
    """Forward of one batch with two answers that learn.

    balance  weight of the balanced loss
    recipe   its part of boxes and its loss of masks
    """
    objects = batch.targets.shape[1]
    images = (batch.images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    features = each_prompt(model.encode(images), objects)  # type: ignore[operator]
    targets = batch.targets.flatten(0, 1).float()[:, None] / 255
    flat = (batch.centres.flatten(0, 1), batch.insides.flatten(0, 1), batch.boxes.flatten(0, 1))
    prompts = first_prompts(flat, images.shape[-1], rng, recipe.boxes)
    logits, quality = answer(model, features, prompts)
    loss, iou = judged(logits, quality, targets, prompts, (balance, recipe.mask_loss))
    shown = best_shown(logits, quality, prompts)
    first_iou = mask_iou(shown[:, None], targets).mean().item()
    prompts = corrected(prompts, shown, targets[:, 0], rng)
    if rng.random() < THIRD_CLICK:
        with torch.no_grad():
            shown = best_shown(*answer(model, features, prompts), prompts)
        prompts = corrected(prompts, shown, targets[:, 0], rng)
    second, second_quality = answer(model, features, prompts)
    second_loss, second_iou = judged(
        second, second_quality, targets, prompts, (balance, recipe.mask_loss)
    )
    return Outcome(
        loss=loss + second_loss,
        first_iou=first_iou,
        oracle_iou=iou.amax(1).mean().item(),
        last_iou=second_iou[:, 0].mean().item(),
        quality_error=(quality.detach() - iou).abs().mean().item(),
    )


def each_prompt(features: tuple[Tensor, ...], objects: int) -> tuple[Tensor, ...]:
    """Repeat a picture's maps for its objects: (B, C, h, w) -> (B * M, C, h, w)."""
    return tuple(f.repeat_interleave(objects, dim=0) for f in features)


def answer(
    model: nn.Module, features: tuple[Tensor, ...], prompts: Prompts
) -> tuple[Tensor, Tensor]:
    """-> logits (N, T, s, s), quality (N, T), float32."""
    logits, quality = model.decode(  # type: ignore[operator]
        features, prompts.coords, prompts.labels, prompts.masks, prompts.has_mask
    )
    return logits.float(), quality.float()


def judged(
    logits: Tensor,
    quality: Tensor,
    targets: Tensor,
    prompts: Prompts,
    losses_of: tuple[float, MaskLoss],
) -> tuple[Tensor, Tensor]:
    """The mean loss of one answer, and each mask's true overlap (N, T)."""
    iou = mask_iou(logits.detach(), targets)
    losses = prompt_loss(mask_losses(logits, targets, *losses_of), prompts.ambiguous)
    return (losses + QUALITY_WEIGHT * quality_loss(quality, iou)).mean(), iou


def best_shown(logits: Tensor, quality: Tensor, prompts: Prompts) -> Tensor:
    """The mask a user would see: best of three for a lone click, else mask 0: -> (N, s, s)."""
    best = quality[:, 1:].argmax(1) + 1
    pick = torch.where(prompts.ambiguous, best, torch.zeros_like(best))
    return logits.detach()[torch.arange(len(pick)), pick]
