"""A model as it only answers: a loaded module in, an equal one that computes faster out.

What learns, loads or saves weights needs their official names; what only answers does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anymask.models.folding import Foldable, fuse
from anymask.models.video_model import VideoModel


def for_inference(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    """The module on a device, in a precision, in eval mode and without gradients.

    On a CPU a video model's batch norms and parallel branches are folded into a copy whose channels
    lie last. Its trunk of convolutions stays in 32 bits: what is rounded behind each of a hundred
    convolutions adds up, and convolutions gain least. Anything else is moved as it is.
    """
    module = module.eval().requires_grad_(False)
    if device.type != "cpu" or not isinstance(module, VideoModel) or not _folds(module):
        return module.to(device, dtype)
    folded: Any = fuse(module)
    folded.to(memory_format=torch.channels_last)
    trunk = folded.image_encoder
    folded.image_encoder = nn.Identity()
    folded.to(dtype)
    folded.image_encoder = trunk
    return folded


def _folds(module: nn.Module) -> bool:
    return any(isinstance(part, Foldable) for part in module.modules())
