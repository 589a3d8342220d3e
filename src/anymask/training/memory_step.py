"""Training step of a video model's memory: track a window of a clip, and compare every frame.

The first frame of a window is prompted. The network tracks the others with memories of its
predictions, as in inference, and gradients pass through these memories. The image encoder is
frozen.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, appendix D.2): focal loss 20, Dice 1, predicted
IoU 1 (absolute error), presence 1 (cross-entropy); if a prompt has several masks, the best one has
the mask loss, and all have the IoU loss. Frames without the object only have the presence loss.
Deviation: the mask loss uses logits before those of absent objects are replaced, so that an object
that is missed can be learned.

Letters: T frames, N objects, M masks per object, m side of a mask.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mask_decoder import Decoded
from anymask.models.rules import SURE, MemoryBank, TrackingSettings, VideoMoment, for_users
from anymask.models.video_model import Frame, ObjectAnswer, VideoModel, returns_several
from anymask.training.clips import ClipBatch
from anymask.training.interaction import Draws
from anymask.training.losses import mask_iou, mask_losses
from anymask.training.outcome import StepOutcome
from anymask.training.recipe import MaskLoss, Recipe


class MemoryStep(nn.Module):
    """Video model and loss of one training step. Sets the input side of the model."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = cast(VideoModel, model).resized(recipe.stages[0].side)
        self.settings: TrackingSettings = for_users(self.model.config.settings)
        self.kind: MaskLoss = recipe.mask_loss

    def forward(self, batch: ClipBatch, balance: float, draws: Draws) -> StepOutcome:
        """Track a window and return the mean loss of its frames.

        Args:
            balance: Not used, as the model is pretrained.
            draws: Not used, as the batch contains the prompts.
        """
        device = self.model.no_mem_embed.device
        targets = batch.targets.to(device)
        banks = [MemoryBank() for _ in range(targets.shape[1])]
        losses, ious = [], []
        for number, target in enumerate(targets):
            with torch.no_grad():
                frame = self.model.encode_frame(batch.images[number : number + 1].to(device))
            at = VideoMoment(number)
            answer, loss = self.predict(frame, banks, at, batch, target[:, None])
            if loss is not None:
                losses.append(loss)
            if number:
                ious.append(mask_iou(answer.logits.detach(), target[:, None]).mean())
            memories = self.model.remember(frame, answer, at, number == 0, self.settings)
            banks = [
                bank.grown(memory, at, self.settings, number == 0)
                for bank, memory in zip(banks, memories, strict=True)
            ]
        return StepOutcome(torch.stack(losses).mean(), last_iou=torch.stack(ious).mean().item())

    def predict(
        self,
        frame: Frame,
        banks: list[MemoryBank],
        at: VideoMoment,
        batch: ClipBatch,
        targets: Tensor,
    ) -> tuple[ObjectAnswer, Tensor | None]:
        """Predict a frame; return the selected masks, and the loss if masks were not given."""
        first = at.frame == 0
        if first and batch.given is not None:
            return self.model.given(frame, batch.given.to(targets.device)), None
        prompts = batch.prompts if first else None
        features = self.model.condition(frame, banks, at, self.settings)
        decoded = self.model.decode_prompts(frame, features, len(banks), prompts)
        several = returns_several(prompts, self.settings)
        void = batch.void[at.frame].to(targets.device)
        loss = frame_loss(decoded, several, targets, void, self.kind)
        return self.model.chosen(decoded, several, self.settings), loss


def frame_loss(
    decoded: Decoded, several: bool, targets: Tensor, void: Tensor, kind: MaskLoss = "focal"
) -> Tensor:
    """Return the mean loss of N objects on a frame.

    Args:
        decoded: Output of the decoder: M masks, the first one for unambiguous prompts.
        several: Whether the best of the other masks is used.
        targets: Masks (N, 1, m, m), 0..1.
        void: Ignored cells (m, m).
    """
    tokens = slice(1, None) if several else slice(0, 1)
    # An ignored cell is predicted correctly.
    logits = torch.where(void, (2 * targets - 1) * SURE, decoded.logits[:, tokens].float())
    wrong = mask_losses(logits, targets, 0.0, kind).amin(dim=1)
    quality = decoded.quality[:, tokens].float()
    unsure = (quality - mask_iou(logits.detach(), targets)).abs().mean(dim=1)
    present = (targets.flatten(1) > 0).any(dim=1).float()
    presence = F.binary_cross_entropy_with_logits(
        decoded.object_score[:, 0].float(), present, reduction="none"
    )
    return (present * (wrong + unsure) + presence).mean()
