"""Learning on pictures of any channels: a model in, it behind a learned 1 x 1 convolution out.

`add_channels` gives a model the convolution of its recipe, `take_channels` takes it away again and
leaves what it learned in the model's spec (`masks.spec`), where every command reads it.
Training pictures are (H, W, C) uint8 on the mix's scale, C 1 to 16.
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


MIX = "channel_mix"  # the name of the convolution in the model
PACE = 10.0  # how much faster than the recipe's rate its weights move: they are of order 1
PERCENTILES = (0.1, 99.9)  # of the training pictures' numbers, that become 0 and 255
MEASURED = 100  # pictures, evenly, whose numbers give the ranges
_SAMPLES = 200  # rows and columns of each that are looked at


class ChannelConvolution(nn.Module):
    """(B, C, S, S) on the scale 0..255 -> (B, 3, S, S) on the same, by what is learned.

    Learned is the change from the start over `PACE`, so that decay pulls back to the start.
    """

    def __init__(self, mix: ChannelMix) -> None:
        super().__init__()
        self.mix = mix
        self.weights = nn.Parameter(torch.zeros(3, mix.count))
        self.bias = nn.Parameter(torch.zeros(3))
        start = (torch.tensor(mix.weights), torch.tensor(mix.bias) / WHITE)
        for name, value in zip(("start_weights", "start_bias"), start, strict=True):
            self.register_buffer(name, value, persistent=False)

    def now(self) -> tuple[Tensor, Tensor]:
        """(3, C) and (3,), the latter in parts of white."""
        weights, bias = cast(Tensor, self.start_weights), cast(Tensor, self.start_bias)
        return weights + PACE * self.weights, bias + PACE * self.bias

    def forward(self, images: Tensor) -> Tensor:
        """Red, green and blue, cut to 0..255."""
        weights, bias = self.now()
        with torch.autocast(images.device.type, enabled=False):
            mixed = torch.einsum("oc,bchw->bohw", weights.float(), images.float() / WHITE)
            return WHITE * (mixed + bias.float()[:, None, None]).clamp(0, 1)

    def learned(self) -> ChannelMix:
        """What it has become, as numbers."""
        weights, bias = (one.detach().cpu().double() for one in self.now())
        return replace(
            self.mix,
            weights=tuple(tuple(row) for row in weights.tolist()),
            bias=tuple((WHITE * bias).tolist()),
        )


def mix_of(channels: dict[str, Any], where: str = "the recipe") -> ChannelMix | None:
    """The mix that a recipe's field `channels` begins with; None for photos. Raises ConfigError."""
    if not channels:
        return None
    try:
        return ChannelMix.of(channels)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Invalid channels in {where}. The channels table requires the keys lows, highs, "
            "weights (3 x C), bias and dtype."
        ) from error


def add_channels(model: nn.Module, channels: dict[str, Any]) -> None:
    """Put the recipe's convolution in front of the model, where it has one. It learns."""
    mix = mix_of(channels)
    if mix is not None:
        model.add_module(MIX, ChannelConvolution(mix))


def take_channels(model: nn.Module) -> None:
    """Take the convolution away and say in the model's spec what it does."""
    convolution = getattr(model, MIX, None)
    if convolution is None:
        return
    own = cast(Trainee, model)
    own.spec = replace(own.spec, channels=cast(ChannelConvolution, convolution).learned())
    delattr(model, MIX)


def as_colours(model: nn.Module, images: Tensor) -> Tensor:  # (B, C, S, S) -> (B, 3, S, S)
    """Training pictures as the model's own layers take them, before normalisation."""
    convolution = getattr(model, MIX, None)
    return images if convolution is None else cast(Tensor, convolution(images))


def load_scaled(path: Path, mix: ChannelMix) -> UintImage:  # -> (H, W, C)
    """A picture on the scale that it is learned from. Raises ImageError, InputError."""
    return mix.scaled(load_for_mix(path, mix))


def starting_mix(paths: Sequence[Path], count: int, rgb: Sequence[int] | None) -> ChannelMix:
    """The mix to begin with: ranges of these pictures, red, green and blue where they are known.

    Raises ImageError, InputError for a picture of other channels or numbers than the first one.

    Args:
        rgb: Which channels these are, counted from 1; None: those that the first picture calls
            so.
    """
    chosen = [paths[i * len(paths) // MEASURED] for i in range(MEASURED)]
    parts: list[np.ndarray[Any, Any]] = []
    for path in chosen if len(paths) > MEASURED else paths:
        array = load_channels(path, count=count)
        if array.shape[2] != count or (parts and array.dtype != parts[0].dtype):
            wanted = f"{count} channels" + (f" of {parts[0].dtype}" if parts else "")
            raise InputError(
                f"{str(path)!r} has {array.shape[2]} channels of {array.dtype}, but every "
                f"image must have {wanted}. Set channels to the number of channels in your "
                "images."
            )
        step = max(1, max(array.shape[:2]) // _SAMPLES)
        parts.append(array[::step, ::step])
    colours = _named_colours(paths[0], count) if rgb is None else rgb
    return ChannelMix.starting(measure_ranges(parts, PERCENTILES), colours, str(parts[0].dtype))


def _named_colours(path: Path, count: int) -> Sequence[int] | None:
    """The channels that a picture calls red, green and blue; three channels are taken for them."""
    planes = read_planes(path)
    known = planes.colours and not any(name == "C" for name, _ in planes.pages.axes)
    return (1, 2, 3) if count == 3 or (count > 3 and known and planes.bands) else None
