"""One training step: simulated prompts, predictions, corrections and the loss.

    masks    masks from prompts
    distil   features and masks of a teacher: features as in MobileSAM (Zhang et al. 2023, arXiv
             2306.14289, section 3.2), prompts in the loop as in EdgeSAM (Zhou et al. 2023, arXiv
             2312.06660, section 3.3). Deviations: features pass through a learned 1 x 1
             convolution, so that any two encoders can be combined; the next click is placed where
             student and teacher differ; the teacher gets clicks and boxes, not masks

Letters: B images, M objects per image, N = B * M prompts, s the side of the masks, T masks, C
channels, h w features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask import models
from anymask.base import brief
from anymask.masks import ModelSpec, TokenRoles
from anymask.models.class_head import class_head_of, class_logits
from anymask.models.mask_decoder import Decoded
from anymask.models.rules import (
    MASK_LOGIT,
    MemoryBank,
    TrackingSettings,
    VideoMoment,
    for_users,
    open_family,
)
from anymask.models.video_model import Frame, ObjectAnswer, VideoModel, is_multimask
from anymask.runtime import trainable_weights
from anymask.training.channels import Trainee, as_colors
from anymask.training.classes import class_loss
from anymask.training.clips import ClipBatch
from anymask.training.interaction import (
    WITHOUT_CLICK,
    Draws,
    PromptRules,
    SimulatedPrompts,
    corrected,
    first_prompts,
    shares_without_click,
)
from anymask.training.losses import mask_iou, mask_losses, prompt_loss, quality_loss
from anymask.training.recipe import MaskLoss, Recipe
from anymask.training.samples import Batch
from anymask.training.weights import TASK_HEAD, load_start

QUALITY_WEIGHT = 2.0
THIRD_CLICK = 0.4  # probability of an additional correction without gradient before the last one


@brief
@dataclass(frozen=True, eq=False)
class StepOutcome:
    """Loss of a step, and metrics for the log (detached means over prompts, NaN if undefined)."""

    loss: Tensor
    first_iou: float = math.nan  # IoU of the best-rated mask after the first prompt
    oracle_iou: float = math.nan  # IoU of the best of the first masks
    last_iou: float = math.nan  # IoU of the best mask after the last prompt
    quality_error: float = math.nan  # Absolute error of the predicted quality


class TrainingStep(nn.Module):
    """Model and loss of one training step.

    It is a module so that DistributedDataParallel can wrap it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.spec = cast(Trainee, model).spec
        self.roles = open_family(self.spec).roles
        self.rules = PromptRules.of(self.spec, recipe.boxes)

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """Run the forward pass of one batch with several predictions that contribute to the loss.

        Args:
            balance: Weight of the balanced loss.
            draws: Random numbers of this step.
        """
        features = self.encode_batch(batch)
        if self.recipe.learn == "no-prompt":
            return StepOutcome(cast(Tensor, self.naming_loss(batch, features)))
        return self.interaction_losses(batch, features, balance, draws)

    def encode_batch(self, batch: Batch) -> tuple[Tensor, ...]:
        """Encode the images (B, C, S, S)."""
        device = next(self.model.parameters()).device
        images = as_colors(self.model, batch.images.to(device).float())
        return cast(Trainee, self.model).encode(normalized(images, self.spec))

    def truth(self, batch: Batch, prompts: SimulatedPrompts) -> Tensor:
        """Return the target masks of the prompts, 0..1: (N, 1, s, s)."""
        return batch.targets.flatten(0, 1).float()[:, None] / 255

    def interaction_losses(
        self, batch: Batch, encoded: tuple[Tensor, ...], balance: float, draws: Draws
    ) -> StepOutcome:
        """Predict masks for the first prompts and for corrected prompts; return all losses."""
        objects, side = batch.targets.shape[1], batch.images.shape[-1]
        features = tuple(tensor.repeat_interleave(objects, dim=0) for tensor in encoded)
        centers, insides, boxes = (
            tensor.flatten(0, 1) for tensor in (batch.centers, batch.insides, batch.boxes)
        )
        prompts = first_prompts((centers, insides, boxes), side, draws, self.rules)
        targets = self.truth(batch, prompts).to(features[0].device)
        logits, quality = self.answer(features, prompts)
        loss, iou = self.judge(logits, quality, targets, prompts, balance)
        shown = best_shown(logits.detach(), quality, prompts.ambiguous, self.roles)
        first_iou = mask_iou(shown[:, None], targets).mean().item()
        losses, last_iou = [loss], iou
        for has_loss, without_click in self.corrections(draws):
            masks = shown.cpu(), targets[:, 0].cpu()
            prompts = corrected(prompts, *masks, draws, self.rules, without_click)
            targets = self.truth(batch, prompts).to(features[0].device) if has_loss else targets
            with torch.set_grad_enabled(has_loss and torch.is_grad_enabled()):
                logits, of_round = self.answer(features, prompts)
            shown = best_shown(logits.detach(), of_round, prompts.ambiguous, self.roles)
            if has_loss:
                loss, last_iou = self.judge(logits, of_round, targets, prompts, balance)
                losses.append(loss)
        # Twice the mean, so that learning rate and clipping suit any number of rounds.
        total = 2 * torch.stack(losses).mean() + self.naming_loss(batch, encoded)
        return StepOutcome(
            loss=total,
            first_iou=first_iou,
            oracle_iou=iou.amax(1).mean().item(),
            last_iou=last_iou[:, list(self.roles.clear)].amax(1).mean().item(),
            quality_error=(quality.detach() - iou).abs().mean().item(),
        )

    def corrections(self, draws: Draws) -> list[tuple[bool, float]]:
        """Return for each correction whether it has a loss, and the fraction without a click."""
        if self.recipe.rounds:
            return [(True, share) for share in shares_without_click(self.recipe.rounds, draws)]
        further = draws.of_step.random() < THIRD_CLICK
        return [(False, WITHOUT_CLICK)] * further + [(True, WITHOUT_CLICK)]

    def naming_loss(self, batch: Batch, features: tuple[Tensor, ...]) -> Tensor | float:
        """Return the loss of the label map; 0 if no classes are trained."""
        if class_head_of(self.model) is None or batch.numbers is None:
            return 0.0
        return class_loss(
            class_logits(self.model, features), batch.numbers.long().to(features[0].device)
        )

    def answer(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts: logits (N, T, s, s) and quality (N, T), float32."""
        tensors = (prompts.coords, prompts.labels, prompts.masks, prompts.has_mask)
        moved = (tensor.to(features[0].device) for tensor in tensors)
        return corrections_added(*cast(Trainee, self.model).decode(features, *moved), self.roles)

    def judge(
        self,
        logits: Tensor,
        quality: Tensor,
        targets: Tensor,
        prompts: SimulatedPrompts,
        balance: float,
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of one prediction, and the IoU of each mask (N, T)."""
        iou = mask_iou(logits.detach(), targets)
        losses = mask_losses(logits, targets, balance, self.recipe.mask_loss)
        ambiguous = prompts.ambiguous.to(losses.device)
        wrong = prompt_loss(losses, ambiguous, self.roles, self.recipe.several)
        return (wrong + QUALITY_WEIGHT * quality_loss(quality, iou)).mean(), iou


def normalized(images: Tensor, spec: ModelSpec) -> Tensor:  # (B, 3, S, S) 0..255 -> the same
    """Normalize images for a model."""
    if spec.resample == "medsam":  # stretches each image's own range to 0..255
        low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
        images = (images - low) * (255 / (high - low).clamp(min=1e-8))
    mean, std = (
        torch.tensor(three, device=images.device)[:, None, None] for three in (spec.mean, spec.std)
    )
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def corrections_added(
    logits: Tensor, quality: Tensor, roles: TokenRoles
) -> tuple[Tensor, Tensor]:  # (N, T, s, s), (N, T)
    """Return both as float32; the logits of a correction output are added to those of the masks."""
    logits, quality = logits.float(), quality.float()
    if roles.added is None:
        return logits, quality
    return logits[:, : roles.added] + logits[:, roles.added :], quality[:, : roles.added]


def best_shown(logits: Tensor, quality: Tensor, ambiguous: Tensor, roles: TokenRoles) -> Tensor:
    """Select the mask of highest quality: (N, T, s, s), (N, T), (N,) -> (N, s, s)."""
    tokens = [torch.tensor(some, device=quality.device) for some in (roles.ambiguous, roles.clear)]
    several, single = (some[quality[:, some].argmax(1)] for some in tokens)
    pick = torch.where(ambiguous.to(quality.device), several, single)
    return logits[torch.arange(len(pick), device=pick.device), pick]


def build_step(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Create the step of the recipe's task. Raises ConfigError, ModelError or WeightsError."""
    if recipe.learn == "memory":
        return MemoryStep(model, recipe)
    if recipe.task == "masks":
        return TrainingStep(model, recipe)
    return DistillationStep(model, recipe, Teacher.open(recipe))


def add_head(model: nn.Module, recipe: Recipe) -> None:
    """Add the layer that the task requires, if any: `TASK_HEAD`, a 1 x 1 convolution."""
    if recipe.task == "distil":
        head = nn.Conv2d(feature_channels(recipe.model), feature_channels(recipe.teacher), 1)
        for parameter in head.parameters():  # an untrained head must not affect the features
            nn.init.zeros_(parameter)
        model.add_module(TASK_HEAD, head)


def feature_channels(name: str) -> int:
    """Return the number of channels of a model's coarsest features."""
    spec = models.spec(name)
    side = spec.pad_multiple or spec.image_side
    with torch.device("meta"), torch.no_grad():
        features = cast(Trainee, models.build(name)).encode(torch.zeros(1, 3, side, side))
    return int(features[0].shape[1])


class Teacher:
    """Teacher model; not part of the module that is trained, saved or sharded."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)
        self.spec: ModelSpec = cast(Trainee, module).spec
        self.roles = open_family(self.spec).roles

    @classmethod
    def open(cls, recipe: Recipe) -> Teacher:
        """Load the recipe's teacher. Raises InputError, ModelError or WeightsError."""
        module, file = models.build(recipe.teacher), recipe.teacher_weights
        load_start(module, Path(file) if file else trainable_weights(recipe.teacher))
        return cls(module)

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, ...]:  # (B, 3, S, S) uint8
        """Encode images with the teacher, resized to its input size."""
        self.module.to(images.device)
        side = images.shape[-1] if self.spec.pad_multiple else self.spec.image_side
        large = F.interpolate(
            images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
        )
        encoded = cast(Trainee, self.module).encode(normalized(large, self.spec))
        return tuple(tensor.float() for tensor in encoded)

    @torch.no_grad()
    def masks(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts, side: int, cells: int
    ) -> Tensor:
        """Predict masks with the teacher for prompts in images of `side`: (N, 1, s, s), 0..1.

        Args:
            features: Features of each prompt's image (N, ...).
            cells: Side s of the masks.
        """
        device = features[0].device
        teacher_side = side if self.spec.pad_multiple else self.spec.image_side
        low = teacher_side * self.spec.mask_side // self.spec.image_side
        coords = prompts.coords.to(device) * (teacher_side / side)
        labels, slots = prompts.labels.to(device), self.spec.fixed_points
        if slots:
            coords, labels = coords[:, :slots], labels[:, :slots]
        empty = torch.zeros(len(coords), 1, low, low, device=device)
        logits, quality = cast(Trainee, self.module).decode(
            features, coords, labels, empty, torch.zeros(len(coords), device=device)
        )
        logits, quality = corrections_added(logits, quality, self.roles)
        shown = best_shown(logits, quality, prompts.ambiguous, self.roles)[:, None]
        wide = F.interpolate(shown, (cells, cells), mode="bilinear", align_corners=False)
        return (wide > 0).float()


class DistillationStep(TrainingStep):
    """Step with the teacher's masks as targets, and a loss on the teacher's features."""

    def __init__(self, model: nn.Module, recipe: Recipe, teacher: Teacher) -> None:
        super().__init__(model, recipe)
        self.teacher, accepts = teacher, teacher.spec.accepts
        self.rules = replace(
            self.rules,
            slots=max(self.rules.slots, teacher.spec.fixed_points),
            boxes=self.rules.boxes if "box" in accepts else 0.0,
            negatives=self.rules.negatives and "negative_point" in accepts,
        )

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """Run `TrainingStep.forward` with an additional loss on the teacher's features."""
        objects, features = batch.targets.shape[1], self.encode_batch(batch)
        of_images = self.teacher.features(batch.images.to(features[0].device))
        self.of_teacher = tuple(tensor.repeat_interleave(objects, dim=0) for tensor in of_images)
        outcome = self.interaction_losses(batch, features, balance, draws)
        made, expected = getattr(self.model, TASK_HEAD)(features[0].float()), of_images[0]
        if made.shape[-2:] != expected.shape[-2:]:
            made = F.interpolate(made, expected.shape[-2:], mode="bilinear", align_corners=False)
        apart = self.recipe.feature_weight * F.mse_loss(made, expected)
        return replace(outcome, loss=outcome.loss + apart)

    def truth(self, batch: Batch, prompts: SimulatedPrompts) -> Tensor:
        """Return the teacher's masks for the prompts, or the labels of the images: (N, 1, s, s)."""
        if self.recipe.truth == "labels":
            return super().truth(batch, prompts)
        return self.teacher.masks(
            self.of_teacher, prompts, batch.images.shape[-1], batch.targets.shape[-1]
        )


# Training step of a video model's memory: track a window of a clip, and compare every frame.
#
# The first frame of a window is prompted. The network tracks the others with memories of its
# predictions, as in inference, and gradients pass through these memories. The image encoder is
# frozen.
#
# Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, appendix D.2): focal loss 20, Dice 1, predicted
# IoU 1 (absolute error), presence 1 (cross-entropy); if a prompt has several masks, the best one
# has the mask loss, and all have the IoU loss. Frames without the object only have the presence
# loss. Deviation: the mask loss uses logits before those of absent objects are replaced, so that an
# object that is missed can be learned.
#
# Letters: T frames, N objects, M masks per object, m side of a mask.


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
        several = is_multimask(prompts, self.settings)
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
    logits = torch.where(void, (2 * targets - 1) * MASK_LOGIT, decoded.logits[:, tokens].float())
    wrong = mask_losses(logits, targets, 0.0, kind).amin(dim=1)
    quality = decoded.quality[:, tokens].float()
    unsure = (quality - mask_iou(logits.detach(), targets)).abs().mean(dim=1)
    present = (targets.flatten(1) > 0).any(dim=1).float()
    presence = F.binary_cross_entropy_with_logits(
        decoded.object_score[:, 0].float(), present, reduction="none"
    )
    return (present * (wrong + unsure) + presence).mean()
