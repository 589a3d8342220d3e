"""Mask and quality losses (Kirillov et al. 2023, appendix A): focal, Dice, balanced, quality.

Letters: N prompts, T masks per prompt, s the side of a mask. Logits and targets (0..1) are float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.masks import TokenRoles
from anymask.training.recipe import MaskLoss

FOCAL_WEIGHT = 20.0
NORMALIZED_WEIGHT = 0.5
EDGE_WEIGHT = 2.0
BALANCED_WEIGHT = 8.0
ALPHA, GAMMA = 0.25, 2.0
ALL_SHARE = 0.05
RANK_WEIGHT, RANK_TEMPERATURE = 0.05, 0.1


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss (Lin et al. 2017, equation 5), mean over pixels: -> (N, T).

    Args:
        logits: (N, T, s, s).
        targets: (N, 1, s, s).
    """
    p = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(
        logits, targets.expand_as(logits), reduction="none"
    )
    wrong = p + targets - 2 * p * targets
    weight = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (weight * wrong**GAMMA * entropy).mean((2, 3))


def normalized_focal_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Focal loss divided by the sum of its own weights: (N, T, s, s), (N, 1, s, s) twice -> (N, T).

    Sofiiuk et al. 2021 ("Reviving iterative training with mask guidance"), section 3.2: hard pixels
    keep their influence regardless of the number of easy ones. Deviations: the error of a soft
    target is |p - t|, and the weights carry no gradient.
    """
    error = (torch.sigmoid(logits.detach()) - targets).abs()
    pull = error**GAMMA * weights
    entropy = F.binary_cross_entropy_with_logits(
        logits, targets.expand_as(logits), reduction="none"
    )
    return (pull * entropy).sum((2, 3)) / (pull.sum((2, 3)) + 1.0)


def edge_weights(targets: Tensor) -> Tensor:
    """Return `EDGE_WEIGHT` within two cells of the object's edge, else 1: (N, 1, s, s)."""
    widest = F.max_pool2d(targets, 5, stride=1, padding=2)
    narrowest = -F.max_pool2d(-targets, 5, stride=1, padding=2)
    return 1 + (EDGE_WEIGHT - 1) * (widest - narrowest)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss, one minus the soft overlap: (N, T, s, s), (N, 1, s, s) -> (N, T)."""
    p = torch.sigmoid(logits)
    both = (p * targets).sum((2, 3))
    return 1 - (2 * both + 1) / (p.sum((2, 3)) + targets.sum((2, 3)) + 1)


def balanced_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with equal weight for object and background, for training from scratch."""
    targets = targets.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    on = (entropy * targets).sum((2, 3)) / (targets.sum((2, 3)) + 1)
    off = (entropy * (1 - targets)).sum((2, 3)) / ((1 - targets).sum((2, 3)) + 1)
    return 0.5 * (on + off)


def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU at the threshold: (N, T, s, s), (N, 1, s, s) -> (N, T), 1 if both are empty."""
    predicted, expected = logits > 0, targets > 0.5
    both = (predicted & expected).sum((2, 3))
    either = (predicted | expected).sum((2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both / 1.0))


def mask_losses(
    logits: Tensor, targets: Tensor, balance: float, kind: MaskLoss = "focal"
) -> Tensor:
    """Return the loss of each mask (N, T); the balanced term dominates if `balance` is near 1.

    From scratch, focal and Dice loss alone stay at "all background" for thousands of images.
    """
    if kind == "normalised":
        hard = normalized_focal_loss(logits, targets, edge_weights(targets))
        focal = NORMALIZED_WEIGHT * (1 - 0.9 * balance) * hard
    else:
        focal = FOCAL_WEIGHT * (1 - 0.9 * balance) * focal_loss(logits, targets)
    loss = focal + dice_loss(logits, targets)
    if balance > 0:
        loss = loss + BALANCED_WEIGHT * balance * balanced_loss(logits, targets)
    return loss


def prompt_loss(
    losses: Tensor, ambiguous: Tensor, roles: TokenRoles, all_share: float = ALL_SHARE
) -> Tensor:
    """Reduce the losses of the T masks of each prompt: (N, T), (N,) bool -> (N,).

    A single click is ambiguous: the best of its masks is trained, and the others with a small
    weight (`all_share` times the mean), so that none collapses. Other prompts are unambiguous:
    their own mask is trained, and the best of the others with a small weight.
    """
    several = losses[:, list(roles.ambiguous)]
    best = several.min(dim=1).values + all_share * several.mean(dim=1)
    if roles.clear == roles.ambiguous:
        return best
    single = losses[:, list(roles.clear)].min(dim=1).values
    return torch.where(ambiguous, best + 0.3 * single, single + 0.3 * best)


def quality_loss(quality: Tensor, iou: Tensor) -> Tensor:
    """Loss of the predicted IoU: squared error, and ranking: (N, T), (N, T) -> (N,).

    The ranking term is the cross-entropy between softmax(iou) and softmax(quality), both divided by
    RANK_TEMPERATURE: it depends on which mask of a prompt ranks first.
    """
    expected = torch.softmax(iou / RANK_TEMPERATURE, dim=1)
    given = torch.log_softmax(quality / RANK_TEMPERATURE, dim=1)
    ranking = -(expected * given).sum(dim=1)
    return ((quality - iou) ** 2).mean(dim=1) + RANK_WEIGHT * ranking
