"""Outputs of a part of a network that does not learn, each computed once.

Where a fine-tuning draws its pictures from a small pool (`Recipe.views`), the frozen part computes
the same maps in every round over the pool. They are stored by a hash of the input, in 16 bits, so
that a step costs only what learns. Held-out images are stored in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from anymask.training.channels import Trainee
from anymask.training.recipe import Learn, Recipe

MAX_BYTES = 2 << 30  # of stored maps; what comes after them is computed each time


def frozen_prefix(module: nn.Module, learn: Learn) -> str:
    """What the names of the parameters that see the picture and do not learn begin with; "" where
    all of them may learn."""
    parts = cast(Trainee, module).parts
    return {"decoder": parts.encoder, "neck": parts.pretrained}.get(learn, "")


class FrozenOutputs:
    """Outputs of the frozen part of one run's networks, which all have the same weights there.

    Args:
        learn: Of the recipe.
    """

    def __init__(self, learn: Learn) -> None:
        self.learn = learn
        self.bytes = 0
        self._rows: dict[bytes, list[Tensor]] = {}

    @classmethod
    def of(cls, recipe: Recipe) -> FrozenOutputs | None:
        """For a recipe with a pool of pictures; None for others."""
        return cls(recipe.learn) if recipe.views else None

    def __deepcopy__(self, _: dict[int, Any]) -> FrozenOutputs:
        """The same store: a copied network has the same frozen weights."""
        return self

    def attach(self, module: nn.Module) -> nn.Module:
        """The module itself, whose frozen part computes each output once from now on."""
        prefix = frozen_prefix(module, self.learn)
        if prefix:
            part = module.get_submodule(prefix.rstrip("."))
            part.forward = partial(self._look_up, part.forward)
        return module

    def _look_up(self, plain: Callable[[Tensor], Any], images: Tensor) -> Any:  # (B, 3, H, W)
        """What `plain` returns for B images; other things than maps are computed each time."""
        rows = [self._row(plain, image) for image in images]
        if any(row is None for row in rows):
            return plain(images)
        maps = (
            torch.stack([one.to(images) for one in same])
            for same in zip(*(row for row in rows if row), strict=True)
        )
        return tuple(one.contiguous(memory_format=torch.channels_last) for one in maps)

    def _row(self, plain: Callable[[Tensor], Any], image: Tensor) -> list[Tensor] | None:
        pixels = image.detach().float().cpu().contiguous().numpy()
        key = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode()).digest()
        if key in self._rows:
            return self._rows[key]
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            maps = plain(image[None])
        if not isinstance(maps, tuple | list) or not all(
            isinstance(one, Tensor) and one.ndim == 4 for one in maps
        ):
            return None
        row = [one[0].to("cpu", torch.float16) for one in maps]
        self.bytes += sum(one.nbytes for one in row)
        if self.bytes <= MAX_BYTES:
            self._rows[key] = row
        return row
