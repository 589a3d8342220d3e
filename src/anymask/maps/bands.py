"""Selection of the bands of a map, and scaling of their values to 8 bits.

A map may have any number of bands of any type; a model requires three bands of 8 bits. They are
selected by a preset, by numbers or both (`nir-r-g=4,1,2`). An index such as NDVI combines two bands
to one grayscale image. The value range is the same in every tile, so that objects do not change at
tile borders.

Letters: C bands, h w a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats, InputError, UintImage

PRESETS = {
    "rgb": ("red", "green", "blue"),
    "nir-r-g": ("nir", "red", "green"),
    "swir-nir-r": ("swir", "nir", "red"),
    "ndvi": ("nir", "red"),  # (first - second) / (first + second)
    "ndwi": ("green", "nir"),
}
BAND_PERCENTILES = (2.0, 98.0)  # default percentiles of other types than 8 bits

# Names of bands in files: descriptions (Sentinel-2, Landsat) or color interpretation.
_CALLED = {
    "red": {"red", "r", "b04", "b4", "sr_b4"},
    "green": {"green", "g", "b03", "b3", "sr_b3"},
    "blue": {"blue", "b", "b02", "b2", "sr_b2"},
    "nir": {"nir", "near infrared", "nir1", "b08", "b8", "sr_b5"},
    "swir": {"swir", "swir1", "swir16", "b11", "sr_b6"},
}
_SAMPLES, _SAMPLE_SIDE = 6, 256  # samples per side for percentiles, and their size in pixels


@dataclass(frozen=True)
class BandView:
    """Conversion of bands to an image."""

    bands: tuple[int, ...]  # Band numbers, from 1: one for grayscale, or three
    index: bool = False  # Whether two bands are combined to (first - second) / (first + second)
    # Values (2, C or 1) of black and white. None: the values are 8 bits.
    ranges: Floats | None = None
    palette: UintImage | None = None  # Color table (256, 3) of a paletted image, or None

    def about(self) -> dict[str, Any]:
        """Settings that affect results."""
        ranges = None if self.ranges is None else self.ranges.tolist()
        return {"bands": list(self.bands), "index": self.index, "ranges": ranges}

    def values(self, bands: NDArray[Any]) -> NDArray[Any]:
        """Band values before scaling: (C, h, w), or (1, h, w) for an index."""
        if not self.index:
            return bands
        first, second = bands.astype(np.float32)
        total = first + second
        ratio = np.zeros((1, *total.shape), np.float32)
        np.divide(first - second, total, out=ratio[0], where=total != 0)
        return ratio

    def image(self, bands: NDArray[Any]) -> UintImage:
        """Convert a window (C, h, w) to an RGB image (h, w, 3) uint8."""
        if self.palette is not None:
            return np.ascontiguousarray(self.palette[np.clip(bands[0], 0, 255)])
        shown = self.values(bands)
        if self.ranges is not None:
            low, high = self.ranges[:, :, None, None].astype(np.float32)
            gray = (np.nan_to_num(shown.astype(np.float32)) - low) / np.maximum(high - low, 1e-12)
            shown = np.rint(gray.clip(0, 1) * 255)
        three = np.broadcast_to(shown, (3, *shown.shape[1:]))
        return np.ascontiguousarray(three.transpose(1, 2, 0).astype(np.uint8))


def choose_bands(dataset: Any, colors: str, numbers: tuple[int, ...] | None) -> BandView:
    """Select the bands of an open map by preset (`auto`, PRESETS, NAME=N,N,N) or numbers.

    Raises InputError if the preset is unknown or the file does not have its bands.
    """
    name, equals, typed = colors.partition("=")
    if name != "auto" and name not in PRESETS:
        raise InputError(
            f"Invalid colors {colors!r}. Choose from: auto, {', '.join(PRESETS)}, or "
            "pass band numbers, such as nir-r-g=4,1,2"
        )
    if equals:
        numbers = tuple(int(part) if part.isdigit() else 0 for part in typed.split(","))
        requested = len(PRESETS.get(name, ()))
        if len(numbers) != requested:
            raise InputError(f"{name} requires {requested} band numbers, but got {colors!r}.")
    if numbers is None and name == "auto":
        numbers, palette = _own_colors(dataset)
        if palette is not None:
            return BandView(numbers, palette=palette)
    if numbers is None:
        numbers = tuple(_find_band(dataset, role, name) for role in PRESETS[name])
    if any(not 1 <= number <= dataset.count for number in numbers):
        raise InputError(
            f"Band numbers must be from 1 to {dataset.count}, got {','.join(map(str, numbers))}."
        )
    return BandView(numbers, name in ("ndvi", "ndwi"))


def _own_colors(dataset: Any) -> tuple[tuple[int, ...], UintImage | None]:
    """Natural color bands of a map, and its palette or None."""
    bands = [n for n, kind in enumerate(dataset.colorinterp, 1) if kind.name != "alpha"]
    if len(bands) == 1 and dataset.colorinterp[0].name == "palette":
        palette = np.zeros((256, 3), np.uint8)
        for value, color in dataset.colormap(1).items():
            if 0 <= value < 256:
                palette[value] = color[:3]
        return (1,), palette
    if len(bands) < 3:
        return (bands[0] if bands else 1,), None
    roles = [number for role in PRESETS["rgb"] if (number := _role(dataset, role))]
    return tuple(roles if len(roles) == 3 else bands[:3]), None


def _find_band(dataset: Any, role: str, preset: str) -> int:
    number = _role(dataset, role)
    if number is None:
        listed = [
            f"{n} {text or kind.name}"
            for n, (text, kind) in enumerate(
                zip(dataset.descriptions, dataset.colorinterp, strict=True), start=1
            )
        ]
        example = ",".join("421"[: len(PRESETS[preset])])
        raise InputError(
            f"{preset} requires a {role} band, but the file does not declare one: "
            f"{', '.join(listed)}. Pass the band numbers, such as --colors {preset}={example}"
        )
    return number


def _role(dataset: Any, role: str) -> int | None:
    """Number of the band with this name or color, or its usual position if bands are unnamed."""
    called = [(text or "").strip().lower() for text in dataset.descriptions]
    kinds = [kind.name for kind in dataset.colorinterp]
    for number, (text, kind) in enumerate(zip(called, kinds, strict=True), start=1):
        if text in _CALLED[role] or (not text and kind == role):
            return number
    usual = {"red": 1, "green": 2, "blue": 3, "nir": 4}.get(role, 0)
    declared = any(called) or (role != "nir" and "red" in kinds)
    few = role == "nir" and dataset.count != 4
    return None if declared or few or not 0 < usual <= dataset.count else usual


def choose_ranges(
    dataset: Any,
    view: BandView,
    stretch: tuple[float, ...] | None,
    ranges: tuple[tuple[float, float] | None, ...] | None,
) -> Floats | None:
    """Values of black and white of each band (2, C), the same for the whole map.

    They are computed from evenly spaced samples, so that the cost does not depend on the map size.

    Args:
        stretch: Percentiles. None: -1 to 1 for an index, unchanged for 8 bits, else
            BAND_PERCENTILES.
        ranges: Values instead of percentiles, for all bands or for each.
    """
    if ranges is not None and None not in ranges:
        return np.array([pair for pair in ranges if pair is not None], np.float64).T
    if stretch is None:
        if view.index:
            return np.array([[-1.0], [1.0]])
        if view.palette is not None or set(dataset.dtypes) == {"uint8"}:
            return None
    ends = BAND_PERCENTILES if stretch is None else stretch
    parts = [view.values(bands)[:, valid] for bands, valid in _samples(dataset, view.bands)]
    values = np.concatenate(parts, axis=1).astype(np.float64) if parts else np.zeros((1, 0))
    limits = []
    for band in values:
        finite = band[np.isfinite(band)]
        limits.append(np.percentile(finite, ends) if finite.size else (0.0, 1.0))
    return np.array(limits, np.float64).T


def _samples(dataset: Any, bands: tuple[int, ...]) -> Iterator[tuple[NDArray[Any], BoolArray]]:
    starts = [
        sorted(
            {round(part * max(0, length - _SAMPLE_SIDE)) for part in np.linspace(0, 1, _SAMPLES)}
        )
        for length in dataset.shape
    ]
    for y in starts[0]:
        for x in starts[1]:
            window = (
                (y, min(y + _SAMPLE_SIDE, dataset.height)),
                (x, min(x + _SAMPLE_SIDE, dataset.width)),
            )
            yield dataset.read(bands, window=window), dataset.dataset_mask(window=window) > 0
