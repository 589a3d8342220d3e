"""Cost of automatic masks: settings and a photo's size in, the number of clicks out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymask.predictors.large import count_looks
from anymask.primitives.errors import InputError

A_LOOK = 256  # clicks: what the encoder takes beside them, about


def cost_of(image_hw: tuple[int, int], settings: Mapping[str, Any]) -> int:
    """Clicks of the whole grid in every tile and crop, and A_LOOK more for each of these.

    An upper bound: adaptive mode makes a third of the clicks. Raises InputError for values that are
    no numbers, or too small.
    """
    side = _whole(settings, "points_per_side", 32)
    layers = _whole(settings, "crop_n_layers", 0)
    factor = max(1, _whole(settings, "crop_n_points_downscale_factor", 1))
    cost = 0
    for layer in range(layers + 1):
        clicks: int = max(1, side // factor**layer) ** 2
        cost += 4**layer * (clicks + A_LOOK)
    return count_looks(settings.get("tile", "auto"), image_hw) * cost


def _whole(settings: Mapping[str, Any], name: str, usual: int) -> int:
    value = settings.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{name} must be a whole number, 0 or more, got {value!r}")
    return value
