"""The protocol of trainable models: what training needs of a torch module."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from anymask.models.parts import ModelParts
from anymask.primitives.spec import ModelSpec


class Trainee(Protocol):
    """What training needs of a torch module."""

    spec: ModelSpec
    parts: ModelParts

    def encode(self, images: Tensor) -> tuple[Tensor, ...]: ...

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]: ...
