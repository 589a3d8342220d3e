"""Learning from several models of the student's own kind: their mean answer in, one model out.

What several trainings of a network agree on is better than what each says, and so is the mean of
the answers about a picture and about its mirror image (Sofiiuk et al. 2021, "Reviving iterative
training with mask guidance", section 4, "with flip"). The student learns that mean, mask for mask,
as chances (Hinton et al. 2015, "Distilling the knowledge in a neural network"), beside the truth.
So it keeps its order of masks, and answers in one look.

A step asks two teachers that are drawn anew, one about the pictures and one about their mirror
images: on the mean over the steps that is all of them, at the price of two. Each of the two may see
them in a size of its own, as a network knows large things better where they are drawn smaller, and
small ones where they are larger.

Letters: N prompts, P points, T masks a prompt, s the side of the masks, S that of the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.families.choice import CORNERS
from anymask.training.draws import Draws
from anymask.training.interaction import SimulatedPrompts
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch
from anymask.training.step import (
    StepOutcome,
    TrainingStep,
    corrections_added,
    normalised,
)
from anymask.training.trainable import Trainee

AGREEMENT_WEIGHT = 2.0
LEAST_CELLS = 16.0  # added to a mask's area, so that the smallest ones do not count the most


@dataclass(frozen=True, eq=False)
class Look:
    """What a teacher sees.

    mirrored  whether the pictures are mirror images
    maps      of each prompt's picture
    side      of its pictures, pixels
    """

    teacher: nn.Module
    mirrored: bool
    maps: tuple[Tensor, ...]
    side: int


class EnsembleStep(TrainingStep):
    """A step whose masks are to agree with the mean of several teachers', and with the truth."""

    def __init__(self, model: nn.Module, recipe: Recipe, teachers: list[nn.Module]) -> None:
        super().__init__(model, recipe)
        # In a list of a tuple: no part of what learns, is saved or is shared.
        self.teachers = tuple([one.eval().requires_grad_(False) for one in teachers])
        self.looks: list[Look] = []

    def forward(self, batch: Batch, balance: float, draws: Draws) -> StepOutcome:
        """As `TrainingStep.forward`, with what two teachers see beside."""
        self.looks = self.look(batch, draws)
        return super().forward(batch, balance, draws)

    @torch.no_grad()
    def look(self, batch: Batch, draws: Draws) -> list[Look]:
        """What a teacher sees in the pictures, and what one sees in their mirror images."""
        images = normalised(batch.images.to(self.device).float(), self.spec)
        objects = batch.targets.shape[1]
        sides = self.recipe.teacher_sides or (images.shape[-1],)
        first, looks = int(draws.of_worker.integers(len(sides))), []
        for number, mirrored in enumerate((False, True)):
            teacher = self.teachers[int(draws.of_worker.integers(len(self.teachers)))]
            teacher.to(self.device)
            pictures = resized(images, sides[(first + number) % len(sides)])
            pictures = pictures.contiguous(memory_format=torch.channels_last)
            seen = cast(Trainee, teacher).encode(pictures.flip(-1) if mirrored else pictures)
            maps = tuple(one.repeat_interleave(objects, dim=0) for one in seen)
            looks.append(Look(teacher, mirrored, maps, pictures.shape[-1]))
        return looks

    @torch.no_grad()
    def told(self, prompts: SimulatedPrompts) -> Tensor:
        """The mean of the teachers' chances: (N, T, s, s)."""
        cells = prompts.masks.shape[-1]
        side = cells * self.rules.stride
        asked = (prompts, mirrored_prompts(prompts, side))
        chances = []
        for look in self.looks:
            one = scaled_prompts(asked[look.mirrored], side, look.side)
            given = (one.coords, one.labels, one.masks, one.has_mask)
            answer = cast(Trainee, look.teacher).decode(
                look.maps, *(tensor.to(look.maps[0].device) for tensor in given)
            )
            logits, _ = corrections_added(*answer, self.roles)
            chance = torch.sigmoid(resized(logits.float(), cells))
            chances.append(chance.flip(-1) if look.mirrored else chance)
        return torch.stack(chances).mean(0)

    def wrong(
        self, logits: Tensor, targets: Tensor, prompts: SimulatedPrompts, balance: float
    ) -> Tensor:
        """As `TrainingStep.wrong`: how far from the teachers, and from the truth."""
        apart = disagreement(logits, self.told(prompts)).mean(1)
        wrong = super().wrong(logits, targets, prompts, balance)
        return AGREEMENT_WEIGHT * apart + self.recipe.truth_weight * wrong


def mirrored_prompts(prompts: SimulatedPrompts, side: int) -> SimulatedPrompts:
    """The same prompts in the mirror image of a picture of `side` pixels."""
    coords = prompts.coords.clone()
    coords[..., 0] = side - coords[..., 0]
    left, right = (prompts.labels == corner for corner in CORNERS)
    x = coords[..., 0]
    low, high = x[left].clone(), x[right].clone()  # one of each in every row with a box
    x[left], x[right] = high, low
    return replace(prompts, coords=coords, masks=prompts.masks.flip(-1))


def scaled_prompts(prompts: SimulatedPrompts, side: int, other: int) -> SimulatedPrompts:
    """The same prompts about a picture of `side` pixels in one of `other` pixels."""
    cells = round(prompts.masks.shape[-1] * other / side)
    coords = prompts.coords * (other / side)
    return replace(prompts, coords=coords, masks=resized(prompts.masks, cells))


def resized(planes: Tensor, side: int) -> Tensor:  # (N, C, s, s) -> (N, C, side, side)
    """Planes of another side, those of the right one as they are."""
    if planes.shape[-1] == side:
        return planes
    return F.interpolate(
        planes, size=(side, side), mode="bilinear", antialias=side < planes.shape[-1]
    )


def disagreement(logits: Tensor, chances: Tensor) -> Tensor:
    """Least, 0, where they agree: logits (N, T, s, s), chances (N, T, s, s) -> (N, T).

    The divergence of all cells (Hinton et al. 2015, section 2, at temperature 1) over the mask's
    area, and one minus the overlap with squares in the denominator (Milletari et al. 2016, section
    3), which is 1 for equal chances, not only for sure ones.
    """
    said = torch.sigmoid(logits)
    area = chances.sum((2, 3)) + LEAST_CELLS
    doubt = -torch.xlogy(chances, chances) - torch.xlogy(1 - chances, 1 - chances)
    apart = F.binary_cross_entropy_with_logits(logits, chances, reduction="none") - doubt
    both = 2 * (said * chances).sum((2, 3)) + 1
    each = said.square().sum((2, 3)) + chances.square().sum((2, 3)) + 1
    return apart.sum((2, 3)) / area + 1 - both / each
