"""Class head: the maps of any image encoder in, a logit of each class for every cell out.

After SAMed (Zhang and Liu 2023, arXiv 2304.13785): a label map without prompts, from a model that
was tuned on K classes. Deviation: SAMed gives SAM's mask decoder K tokens of its own; here all maps
that the encoder hands to its decoder are joined, so that it fits every family.

Letters: B images, C channels of a map, K classes, h w the cells of the low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import LayerNorm2d

NAME = "class_head"  # of the head in the model whose maps it reads
WIDTH = 64


class ClassHead(nn.Module):
    """Maps (B, C, ..) each -> (B, 1 + K, h, w): logits of "none of them", then of each class.

    channels  C of each map, the coarsest first, as the encoder gives them
    ratio     cells of a mask along a side of a cell of the coarsest map
    """

    def __init__(self, channels: Sequence[int], ratio: int, classes: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.project = nn.ModuleList(nn.Conv2d(count, WIDTH, 1) for count in channels)
        self.norm = LayerNorm2d(WIDTH)
        self.smooth = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.classify = nn.Conv2d(WIDTH, 1 + classes, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """The coarsest map first."""
        h, w = maps[0].shape[-2:]
        joined = torch.zeros(1).to(maps[0])
        for project, one in zip(self.project, maps, strict=True):
            size = (h * self.ratio, w * self.ratio)
            joined = joined + F.interpolate(
                project(one), size, mode="bilinear", align_corners=False
            )
        seen = F.relu(self.smooth(F.relu(self.norm(joined))))
        return cast(Tensor, self.classify(seen)).float()


def add_class_head(model: nn.Module, classes: int) -> None:
    """Give a model a head of its own maps, with random weights."""
    channels, ratio = _maps_of(model)
    model.add_module(NAME, ClassHead(channels, ratio, classes))


def class_head_of(model: nn.Module) -> ClassHead | None:
    """The model's head, where it has one."""
    return getattr(model, NAME, None)


def _maps_of(model: nn.Module) -> tuple[list[int], int]:
    """Channels of each map that the encoder makes, and a coarse cell's side in mask cells."""
    import copy

    spec = cast(Any, model).spec
    side = spec.pad_multiple or spec.image_side
    twin = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad():
        maps = cast(Any, twin).encode(torch.zeros(1, 3, side, side, device="meta"))
    cells = side * spec.mask_side // spec.image_side
    return [int(one.shape[1]) for one in maps], cells // int(maps[0].shape[-1])
