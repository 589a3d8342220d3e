"""Medical SAM Adapter: bottleneck layers, which are the only trained parameters.

Source: Wu et al. 2023, "Medical SAM Adapter" (arXiv 2304.12620, section 3): C to C / 4, ReLU, and
back. Each block of the encoder has one after the attention, inside its residual branch, and one
parallel to the MLP, scaled by s; each two-way layer of the decoder has one after both cross
attentions and one parallel to the MLP. Differences: the up projection is initialized to zero, so
that training starts from the unchanged model; s is 0.5; those of the decoder do not depend on the
prompt, and none attends along a scan.

They are attached as forward hooks, so that names and code of the blocks stay unchanged and any
encoder with attention and MLP blocks supports them.

Letters: C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import ModelParts
from anymask.models.two_way import TwoWayLayer

MODULE_NAME = "bottleneck"  # name of the module in its layer
REDUCTION = 4  # C relative to the hidden width
BRANCH_SCALE = 0.5  # scale s


class Bottleneck(nn.Module):
    """Residual change of a layer's output, initialized to zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, max(1, channels // REDUCTION))
        self.up = nn.Linear(max(1, channels // REDUCTION), channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:  # (..., C) -> the same
        return self.up(F.relu(self.down(x)))


def adapted_blocks(model: nn.Module) -> list[nn.Module]:
    """Blocks of the encoder that support bottlenecks: those with attention and an MLP."""
    encoder = cast(ModelParts, model.parts).encoder
    return [
        part
        for name, part in model.named_modules()
        if name.startswith(encoder)
        and all(isinstance(getattr(part, child, None), nn.Module) for child in ("attn", "mlp"))
    ]


def add_bottlenecks(model: nn.Module) -> None:
    """Add bottlenecks to the blocks of a model, once."""
    if has_bottlenecks(model.state_dict()):
        return
    for block in adapted_blocks(model):
        attention = cast(nn.Module, block.attn)
        _hang(attention, cast(nn.Linear, attention.proj).out_features, _behind)
        _hang_beside(cast(nn.Module, block.mlp))
    for layer in [module for module in model.modules() if isinstance(module, TwoWayLayer)]:
        for read in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
            _hang(read.out_proj, read.out_proj.out_features, _behind)
        _hang_beside(layer.mlp)


def has_bottlenecks(names: Iterable[str]) -> bool:
    """Whether weights with these names belong to a model with bottlenecks."""
    return any(f".{MODULE_NAME}." in name for name in names)


def _hang_beside(mlp: nn.Module) -> None:
    *_, last = (part for part in mlp.modules() if isinstance(part, nn.Linear))
    _hang(mlp, last.out_features, _beside)


def _hang(layer: nn.Module, channels: int, hook: Any) -> None:
    like = next(layer.parameters())
    layer.add_module(MODULE_NAME, Bottleneck(channels).to(like.device, like.dtype))
    layer.register_forward_hook(hook)


def _behind(layer: nn.Module, _given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    return answer + cast(nn.Module, layer.bottleneck)(answer)


def _beside(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    return answer + BRANCH_SCALE * cast(nn.Module, layer.bottleneck)(given[0])
