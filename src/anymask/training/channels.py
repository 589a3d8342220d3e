"""Training on images with any number of channels, through a learned 1 x 1 convolution.

`add_channels` adds the convolution of a recipe to a model. `take_channels` removes it and stores
the learned weights in the model's spec (`masks.spec`), which every command reads. Training images
are (H, W, C) uint8 on the scale of the mix, with C from 1 to 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from anymask.base import ConfigError, InputError, UintImage
from anymask.images import load_channels, load_for_mix, read_planes
from anymask.masks import WHITE, ChannelMix, ModelSpec, measure_ranges
from anymask.models.layers import ModelParts


class Trainee(Protocol):
    """Interface of a torch module that can be trained."""

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


MIX = "channel_mix"  # name of the convolution in the model
PACE = 10.0  # learning rate factor of its weights, which are of order 1
PERCENTILES = (0.1, 99.9)  # percentiles of training values mapped to 0 and 255
MAX_MEASURED_IMAGES = 100  # images, evenly spaced, that the ranges are computed from
_SAMPLES_PER_AXIS = 200  # rows and columns of each image that are sampled


class ChannelConvolution(nn.Module):
    """Learned mix of channels: (B, C, S, S) on the scale 0..255 -> (B, 3, S, S) on the same scale.

    The parameters are the change from the start divided by `PACE`, so weight decay pulls back to
    the start.
    """

    def __init__(self, mix: ChannelMix) -> None:
        super().__init__()
        self.mix = mix
        self.weights = nn.Parameter(torch.zeros(3, mix.count))
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("start_weights", torch.tensor(mix.weights), persistent=False)
        self.register_buffer("start_bias", torch.tensor(mix.bias) / WHITE, persistent=False)

    def now(self) -> tuple[Tensor, Tensor]:
        """Return weights (3, C) and bias (3,), the latter as a fraction of white."""
        weights, bias = cast(Tensor, self.start_weights), cast(Tensor, self.start_bias)
        return weights + PACE * self.weights, bias + PACE * self.bias

    def forward(self, images: Tensor) -> Tensor:
        """Mix to red, green and blue, clipped to 0..255."""
        weights, bias = self.now()
        with torch.autocast(images.device.type, enabled=False):
            mixed = torch.einsum("oc,bchw->bohw", weights.float(), images.float() / WHITE)
            return WHITE * (mixed + bias.float()[:, None, None]).clamp(0, 1)

    def learned(self) -> ChannelMix:
        """Return the learned mix."""
        weights, bias = (tensor.detach().cpu().double() for tensor in self.now())
        return replace(
            self.mix,
            weights=tuple(tuple(row) for row in weights.tolist()),
            bias=tuple((WHITE * bias).tolist()),
        )


def mix_of(channels: dict[str, Any], where: str = "the recipe") -> ChannelMix | None:
    """Return the initial mix of a recipe's `channels`; None for RGB. Raises ConfigError."""
    if not channels:
        return None
    try:
        return ChannelMix.of(channels)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Invalid channels in {where}. Set lows, highs, weights (3 x C), bias and dtype."
        ) from error


def add_channels(model: nn.Module, channels: dict[str, Any]) -> None:
    """Add the trainable convolution of a recipe in front of the model, if it has one."""
    mix = mix_of(channels)
    if mix is not None:
        model.add_module(MIX, ChannelConvolution(mix))


def take_channels(model: nn.Module) -> None:
    """Remove the convolution and store it in the model's spec."""
    convolution = getattr(model, MIX, None)
    if convolution is not None:
        trainee = cast(Trainee, model)
        trainee.spec = replace(
            trainee.spec, channels=cast(ChannelConvolution, convolution).learned()
        )
        delattr(model, MIX)


def as_colors(model: nn.Module, images: Tensor) -> Tensor:  # (B, C, S, S) -> (B, 3, S, S)
    """Convert training images to the RGB input of the model's own layers, before normalization."""
    convolution = getattr(model, MIX, None)
    return images if convolution is None else cast(Tensor, convolution(images))


def load_scaled(path: Path, mix: ChannelMix) -> UintImage:  # -> (H, W, C)
    """Read an image on the scale used in training. Raises ImageError or InputError."""
    return mix.scaled(load_for_mix(path, mix))


def starting_mix(paths: Sequence[Path], count: int, rgb: Sequence[int] | None) -> ChannelMix:
    """Compute the initial mix: value ranges of these images, and red, green and blue if known.

    Raises ImageError, or InputError if an image differs in channels or data type from the first.

    Args:
        rgb: Channels to use as red, green and blue, counted from 1. Defaults to those that the
            first image declares.
    """
    chosen = [paths[i * len(paths) // MAX_MEASURED_IMAGES] for i in range(MAX_MEASURED_IMAGES)]
    parts: list[np.ndarray[Any, Any]] = []
    for path in chosen if len(paths) > MAX_MEASURED_IMAGES else paths:
        array = load_channels(path, count=count)
        if array.shape[2] != count or (parts and array.dtype != parts[0].dtype):
            expected = f"{count} channels" + (f" of {parts[0].dtype}" if parts else "")
            raise InputError(
                f"{str(path)!r} has {array.shape[2]} channels of {array.dtype}, but every "
                f"image must have {expected}. Set channels to the number of channels in your "
                "images."
            )
        step = max(1, max(array.shape[:2]) // _SAMPLES_PER_AXIS)
        parts.append(array[::step, ::step])
    colors, planes = rgb, read_planes(paths[0])
    named = planes.colors and planes.bands and not any(axis == "C" for axis, _ in planes.pages.axes)
    if rgb is None and (count == 3 or (count > 3 and named)):  # three channels count as RGB
        colors = (1, 2, 3)
    return ChannelMix.initial(measure_ranges(parts, PERCENTILES), colors, str(parts[0].dtype))
