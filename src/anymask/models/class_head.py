"""Class heads: logits of each class for every cell, from the maps of any image encoder.

After SAMed (Zhang and Liu 2023, arXiv 2304.13785): semantic segmentation without prompts, by a
model fine-tuned on K classes. Difference: SAMed adds K tokens to SAM's mask decoder; here all maps
of the encoder are combined, which works for every family.

After AutoSAM (Shaharabany et al. 2023, arXiv 2306.06370): a small network predicts the prompt from
the image for a frozen SAM. Differences: it uses SAM's features instead of the image, and predicts
one prompt per class: dense features and a learned token.

Letters: B images, C channels of a map, K classes, h w the cells of the low-resolution masks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import LayerNorm2d

HEAD_NAME = "class_head"  # name of the head in its model
CLASS_HEAD_WIDTH = 64


class ClassHead(nn.Module):
    """Maps (B, C, ..) each -> (B, 1 + K, h, w): logits of "no class", then of each class.

    Args:
        channels: Channels C of each map, in the encoder's order (the coarsest first).
        ratio: Mask cells along a side of a cell of the coarsest map.
        classes: Number of classes K.
    """

    def __init__(self, channels: Sequence[int], ratio: int, classes: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.project = nn.ModuleList(nn.Conv2d(count, CLASS_HEAD_WIDTH, 1) for count in channels)
        self.norm = LayerNorm2d(CLASS_HEAD_WIDTH)
        self.smooth = nn.Conv2d(CLASS_HEAD_WIDTH, CLASS_HEAD_WIDTH, 3, padding=1)
        self.classify = nn.Conv2d(CLASS_HEAD_WIDTH, 1 + classes, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps in the encoder's order, the coarsest first."""
        h, w = maps[0].shape[-2:]
        joined = torch.zeros(1).to(maps[0])
        for project, features in zip(self.project, maps, strict=True):
            size = (h * self.ratio, w * self.ratio)
            joined = joined + F.interpolate(
                project(features), size, mode="bilinear", align_corners=False
            )
        hidden = F.relu(self.smooth(F.relu(self.norm(joined))))
        return cast(Tensor, self.classify(hidden)).float()

    def class_logits(self, _model: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """Class logits of the maps."""
        return cast(Tensor, self(*maps))


class PromptHead(nn.Module):
    """Features (B, C, h, w) -> a prompt per class: dense (B * K, C, h, w), token (K, 1, C)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, CLASS_HEAD_WIDTH, 3, padding=1)
        self.norm = LayerNorm2d(CLASS_HEAD_WIDTH)
        self.smooth = nn.Conv2d(CLASS_HEAD_WIDTH, CLASS_HEAD_WIDTH, 3, padding=1)
        self.prompt = nn.Conv2d(CLASS_HEAD_WIDTH, classes * channels, 1)
        self.token = nn.Parameter(torch.zeros(classes, 1, channels))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Dense prompts and tokens of all classes."""
        hidden = F.relu(self.smooth(F.relu(self.norm(self.project(features)))))
        return self.prompt(hidden).unflatten(1, (-1, features.shape[1])).flatten(0, 1), self.token

    def class_logits(self, model: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """Class logits of the maps: masks that the model's decoder predicts for the prompts."""
        network, sam = cast(Any, model), hasattr(model, "mask_decoder")
        decoder = network.mask_decoder if sam else network.sam_mask_decoder
        encoder = network.prompt_encoder if sam else network.sam_prompt_encoder
        dense, token = self(maps[0])
        K, B = len(token), len(maps[0])
        image, *detail = (level.repeat_interleave(K, dim=0) if B > 1 else level for level in maps)
        places = encoder.grid(image.shape[-2], image.shape[-1])
        logits, _ = decoder(image, places, token.repeat(B, 1, 1), dense, *detail)
        of_class = logits[:, 0].unflatten(0, (B, K)).float()
        return torch.cat([torch.zeros_like(of_class[:, :1]), of_class], dim=1)


def add_class_head(model: nn.Module, classes: int, prompts: bool = False) -> None:
    """Add a class head with random weights to a model.

    Args:
        model: The model.
        classes: Number of classes.
        prompts: Whether the head prompts the model's decoder (`takes_prompts`) instead of
            classifying cells.
    """
    spec = cast(Any, model).spec
    side = spec.pad_multiple or spec.image_side
    twin = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad():
        maps = cast(Any, twin).encode(torch.zeros(1, 3, side, side, device="meta"))
    cells = side * spec.mask_side // spec.image_side
    channels, ratio = [int(level.shape[1]) for level in maps], cells // int(maps[0].shape[-1])
    head = PromptHead(channels[0], classes) if prompts else ClassHead(channels, ratio, classes)
    model.add_module(HEAD_NAME, head)


def takes_prompts(model: nn.Module) -> bool:
    """Whether the model has SAM's decoder, which supports dense prompts."""
    return hasattr(model, "mask_decoder") or hasattr(model, "sam_mask_decoder")


def holds_prompts(names: Iterable[str]) -> bool:
    """Whether weights with these names include a head that prompts."""
    return f"{HEAD_NAME}.token" in names


def class_logits(model: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Class logits (B, 1 + K, h, w) of the maps from `encode`, by the head's own method."""
    return cast(Tensor, cast(Any, model.get_submodule(HEAD_NAME)).class_logits(model, maps))


def class_head_of(model: nn.Module) -> ClassHead | PromptHead | None:
    """The model's class head, or None."""
    return getattr(model, HEAD_NAME, None)


def without_class_head(model: nn.Module) -> nn.Module:
    """Return a model with the same tensors, but without a class head."""
    bare = copy.copy(model)
    bare._modules = {name: child for name, child in model._modules.items() if name != HEAD_NAME}
    return bare
