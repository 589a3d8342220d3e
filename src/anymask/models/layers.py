"""Layers that the models share (norm, pointwise convolution, MLP, planted names), and their parts.

A checkpoint's parameter names are data here, not code: a layer takes the dotted names that its
official checkpoint uses, so that one class serves several families and loads each unchanged. The
parts of a model, for training, are prefixes of parameter names.

Letters: B images or prompts, C channels, h w a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import Activation, activated


def plant(root: nn.Module, name: str, leaf: nn.Module) -> None:
    """Register `leaf` below `root` under a dotted name, making empty modules on the way."""
    *parents, last = name.split(".")
    for parent in parents:
        if parent not in dict(root.named_children()):
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(last, leaf)


def embedding(root: nn.Module, name: str) -> Tensor:
    """The (rows, C) weight of an nn.Embedding that was planted under `name`."""
    return root.get_parameter(f"{name}.weight")


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (B, C, h, w) map, each place by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        by_place = x.permute(0, 2, 3, 1)
        normal = F.layer_norm(by_place, self.weight.shape, self.weight, self.bias, self.eps)
        return normal.permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that learns on a CPU as the matrix product that it is.

    With one thread and 32 bits torch convolves much slower than it multiplies; a map whose
    channels come last is multiplied where it lies. In eval mode, and so in an exported graph, it is
    the convolution.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h, w)
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        by_place = F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
        return by_place.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Linear layers with an activation between them, none after the last.

    Args:
        sizes: Channels in, of each hidden layer, and out.
        names: The dotted parameter names of the layers, one fewer than sizes.
        activation: What stands between two layers.
    """

    def __init__(self, sizes: Sequence[int], names: Sequence[str], activation: Activation) -> None:
        super().__init__()
        self.names = tuple(names)
        self.activation = activation
        for name, c_in, c_out in zip(self.names, sizes[:-1], sizes[1:], strict=True):
            plant(self, name, nn.Linear(c_in, c_out))

    def forward(self, x: Tensor) -> Tensor:  # (..., C) -> (..., C')
        for name in self.names[:-1]:
            x = activated(x, self.get_submodule(name), self.activation)
        return activated(x, self.get_submodule(self.names[-1]))


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Prefixes of parameter names.

    Attributes:
        encoder: Of everything that sees the picture.
        pretrained: Of what learns at a lower rate, as it has learned elsewhere before.
        frozen: Of what never learns.
        quality: Of the head that estimates the quality.
        hq: Of what SAM-HQ adds to SAM, where the model has it.
    """

    encoder: str
    pretrained: str
    frozen: tuple[str, ...] = ()
    quality: str
    hq: tuple[str, ...] = ()


# SAM 2's families: what only videos ask for stays as videos have taught it.
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
)  # fmt: skip
