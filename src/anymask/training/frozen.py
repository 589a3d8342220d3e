"""Cache the outputs of the frozen part of a network.

If fine-tuning draws its crops from a small pool (`Recipe.views`), the frozen part computes the same
maps in every pass over the pool. They are stored in 16 bits by a hash of the input, so that a step
only computes the trained part. Held-out images are cached in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from anymask.models.video_model import Frame
from anymask.training.channels import Trainee
from anymask.training.recipe import Learn, Recipe

MAX_BYTES = 2 << 30  # limit of stored maps; later ones are not cached


class FrozenOutputs:
    """Cache for networks that share the weights of their frozen part.

    Args:
        learn: Trained part, as in the recipe.
    """

    def __init__(self, learn: Learn) -> None:
        self.learn = learn
        self.bytes = 0
        self._rows: dict[bytes, list[Tensor]] = {}

    @classmethod
    def of(cls, recipe: Recipe) -> FrozenOutputs | None:
        """Create a cache for a recipe with a pool of crops; None for other recipes."""
        return cls(recipe.learn) if recipe.views else None

    def __deepcopy__(self, _: dict[int, Any]) -> FrozenOutputs:
        """Return the same cache: a copied network has the same frozen weights."""
        return self

    def attach(self, module: nn.Module) -> nn.Module:
        """Cache the outputs of the frozen part of a module; return the module."""
        parts = cast(Trainee, module).parts
        prefix = {"decoder": parts.encoder, "neck": parts.pretrained}.get(self.learn, "")
        if self.learn == "memory":
            _cache_frames(module, self._frozen_features)
        elif prefix:
            part = module.get_submodule(prefix.rstrip("."))
            part.forward = partial(self._frozen_features, part.forward)
        return module

    def _frozen_features(
        self, plain: Callable[[Tensor], Any], images: Tensor
    ) -> Any:  # (B, 3, H, W)
        """Return cached outputs for B images; outputs other than maps are not cached."""
        rows = [self._row(plain, image) for image in images]
        if any(row is None for row in rows):
            return plain(images)
        maps = (
            torch.stack([tensor.to(images) for tensor in same])
            for same in zip(*(row for row in rows if row), strict=True)
        )
        return tuple(tensor.contiguous(memory_format=torch.channels_last) for tensor in maps)

    def _row(self, plain: Callable[[Tensor], Any], image: Tensor) -> list[Tensor] | None:
        pixels = image.detach().float().cpu().contiguous().numpy()
        key = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode()).digest()
        if key in self._rows:
            return self._rows[key]
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            maps = plain(image[None])
        if not isinstance(maps, tuple | list) or not all(
            isinstance(tensor, Tensor) and tensor.ndim == 4 for tensor in maps
        ):
            return None
        row = [tensor[0].to("cpu", torch.float16) for tensor in maps]
        self.bytes += sum(tensor.nbytes for tensor in row)
        if self.bytes <= MAX_BYTES:
            self._rows[key] = row
        return row


def _cache_frames(module: Any, load_features: Callable[..., tuple[Tensor, ...]]) -> None:
    """Cache the maps of a video model's frames, which are smaller than those of its encoder."""
    plain = module.encode_frame

    def maps(images: Tensor) -> tuple[Tensor, ...]:
        frame = plain(images)
        return (frame.features, *frame.fine)

    def encode_frame(images: Tensor) -> Frame:
        features, *fine = load_features(maps, images)
        return Frame(features, tuple(fine))

    module.encode_frame = encode_frame
