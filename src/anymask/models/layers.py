"""Layers shared by the models (norm, pointwise convolution, MLP), and model parts.

Parameter names of checkpoints are data: a layer accepts the dotted names of its official
checkpoint, so that one class serves several families and loads each unchanged. The parts of a
model, for training, are prefixes of parameter names.

Letters: B images or prompts, C channels, h w a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import Activation, activated


def add_submodule(root: nn.Module, name: str, leaf: nn.Module) -> None:
    """Register `leaf` below `root` under a dotted name, creating empty modules as required."""
    *parents, last = name.split(".")
    for parent in parents:
        if parent not in dict(root.named_children()):
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(last, leaf)


def embedding(root: nn.Module, name: str) -> Tensor:
    """Weight (rows, C) of an nn.Embedding registered under `name`."""
    return root.get_parameter(f"{name}.weight")


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (B, C, h, w) map at each place."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        by_place = x.permute(0, 2, 3, 1)
        normal = F.layer_norm(by_place, self.weight.shape, self.weight, self.bias, self.eps)
        return normal.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """Skips a residual branch for random images in training (Huang et al. 2016, arXiv:1603.09382).

    The branch of the others is divided by the probability of keeping it, so that the mean stays.

    Attributes:
        rate: Probability of skipping, set by `training.blocks.set_drop_path`.
    """

    rate = 0.0

    def forward(self, branch: Tensor) -> Tensor:  # (B, ...) -> the same
        if not self.rate or not self.training:
            return branch
        shape = (len(branch), *(1,) * (branch.ndim - 1))
        kept = torch.rand(shape, device=branch.device) >= self.rate
        return branch * kept.to(branch.dtype) / (1 - self.rate)


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution that is trained on a CPU as a matrix product.

    With one thread and 32 bits, torch's convolution is much slower than its matrix product, which
    needs no copy of a channels-last map. In eval mode, and so in exported graphs, it is a
    convolution.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h, w)
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        by_place = F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
        return by_place.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Linear layers with an activation between them.

    Args:
        sizes: Channels of the input, of each hidden layer, and of the output.
        names: Dotted parameter names of the layers, one fewer than sizes.
        activation: Activation between two layers.
    """

    def __init__(self, sizes: Sequence[int], names: Sequence[str], activation: Activation) -> None:
        super().__init__()
        self.names = tuple(names)
        self.activation = activation
        for name, c_in, c_out in zip(self.names, sizes[:-1], sizes[1:], strict=True):
            add_submodule(self, name, nn.Linear(c_in, c_out))

    def forward(self, x: Tensor) -> Tensor:  # (..., C) -> (..., C')
        for name in self.names[:-1]:
            x = activated(x, self.get_submodule(name), self.activation)
        return activated(x, self.get_submodule(self.names[-1]))


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Prefixes of parameter names of a model's parts."""

    encoder: str  # The image encoder
    pretrained: str  # Pretrained parameters, trained at a lower rate
    frozen: tuple[str, ...] = ()  # Parameters that are never trained
    quality: str  # The quality head
    hq: tuple[str, ...] = ()  # Parameters that SAM-HQ adds to SAM, if any
    memory: tuple[str, ...] = ()  # Parameters that track objects: memory and mask decoder, if any
    # Parameters among them that compute maps of a frame, which are cached
    maps: tuple[str, ...] = ()


# SAM 2's families: parameters used only for videos are frozen.
VIDEO_PARTS: ModelParts = ModelParts(
    encoder="image_encoder.",
    pretrained="image_encoder.",
    frozen=(
        "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial",
        "mask_downsample.", "memory_attention.", "memory_encoder.", "spatial_perceiver.",
        "obj_ptr_proj.", "obj_ptr_tpos_proj.", "sam_mask_decoder.obj_score_token.",
        "sam_mask_decoder.pred_obj_score_head.",
    ),
    quality="sam_mask_decoder.iou_prediction_head.",
    memory=(
        "maskmem_tpos_enc", "no_obj_ptr", "no_obj_embed_spatial", "mask_downsample.",
        "memory_attention.", "memory_encoder.", "spatial_perceiver.", "obj_ptr_proj.",
        "obj_ptr_tpos_proj.", "sam_mask_decoder.",
    ),
    maps=("sam_mask_decoder.conv_s",),
)  # fmt: skip
