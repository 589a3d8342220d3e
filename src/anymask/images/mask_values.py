"""Interpret the values of a mask image: labels, one object, or a color for each object.

Without an instruction, an image must leave no doubt: it has a single value besides 0, or a palette,
or few grays without white, or clear values: they form regions, or grays hardly ever lie between two
others. Soft edges (from scaling or smoothing), noisy edges (from JPEG) and photos consist of other
values, so they raise an error that names the options. In tests at least 98 % of labels are clear,
of others at most 60 %.

Letters: H W the image, K colors of a palette.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.base import AmbiguousMaskError, BoolArray, ImageError, UintImage

MaskValues = Literal["auto", "labels", "binary", "colors"]
WHITE, WHITE_16 = 255, 65535
MIN_WHITE = 0.9  # minimum fraction of white for a maximum that may represent white
MAX_SMALL = 127  # maximum value that never represents white
# A clear value has at least REGION_SHARE of its pixels inside regions, or less than BETWEEN_SHARE
# of them between others; CLEAR_SHARE is the minimum fraction of clear values.
REGION_SHARE, BETWEEN_SHARE, CLEAR_SHARE = 0.5, 0.05, 0.9
MAX_GRAY_NUMBERS = 20  # grays that are numbers if none is white
_MAX_TABLE_VALUE = 1 << 24  # values below this are counted in a table


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """Mask image as stored."""

    values: NDArray[Any]  # (H, W) values, or (H, W, 3) 8-bit colors
    palette: UintImage | None = None  # (K, 3) colors if the values are indices
    alpha: UintImage | None = None  # (H, W) 0..255; None if all pixels are opaque
    lossy: bool = False  # Whether the format is lossy, like JPEG


def interpret(stored: MaskPixels, requested: MaskValues, name: str) -> tuple[NDArray[Any], bool]:
    """Return object values (H, W), 0 for background, and whether they are colors.

    Raises ImageError.
    """
    if requested == "binary":
        return _joined(stored, name), False
    if requested == "labels":
        return _as_labels(stored.values, stored.alpha, name), False
    values, alpha = stored.values, stored.alpha
    if stored.palette is not None:
        if requested == "auto" and not _has_colors(values, stored.palette):
            return _as_labels(values, alpha, name), False
        values = stored.palette[values]
    if requested == "auto" and alpha is not None:
        visible = values[alpha > 0]
        if not len(visible) or (visible == visible[:1]).all():  # one color: alpha is the mask
            return _cut(alpha, int(alpha.max())), False
    values = _without_hidden(values, alpha)
    colored = values.ndim == 3 and not _is_gray(values)
    values = colors_to_numbers(values) if colored else _as_labels(values, None, name)
    if requested == "auto" or stored.lossy:
        _check_clear(values, colored, name, stored.lossy)
    return values, colored


def _has_colors(indices: NDArray[Any], palette: UintImage) -> bool:
    """Return whether a palette tells more than its indices: it has only grays, or black is not its
    first color."""
    used = np.unique(indices)
    colors = palette[used]
    if len(np.unique(colors, axis=0)) < len(used):  # a palette that was not filled in
        return False
    return _is_gray(palette) or bool(palette[0].any() and not colors.any(axis=1).all())


def _is_gray(colors: NDArray[Any]) -> bool:
    return bool((colors == colors[..., :1]).all())


def _check_clear(numbers: NDArray[Any], colored: bool, name: str, lossy: bool) -> None:
    """Raise AmbiguousMaskError if values are not clear, or if a lossy format changed them."""
    if numbers.max(initial=0) >= _MAX_TABLE_VALUE:
        numbers = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape)
    counts = np.bincount(numbers.ravel().astype(np.intp))
    counts[:1] = 0
    count = int(np.count_nonzero(counts))
    if count <= 1:
        return
    if lossy:
        what = f"{count} values or colors, which its lossy format has changed"
        raise _ambiguous(name, what, "binary, or save it as PNG")
    has_white = int(numbers.max()) >= MIN_WHITE * np.iinfo(numbers.dtype).max
    if not colored and count <= MAX_GRAY_NUMBERS and not has_white:
        return
    across = np.pad(numbers[:, 1:] == numbers[:, :-1], ((0, 0), (1, 1)))
    down = np.pad(numbers[1:] == numbers[:-1], ((1, 1), (0, 0)))
    corner = (across[:, 1:] | across[:, :-1]) & (down[1:] | down[:-1])
    between = np.full_like(corner, colored)
    between[1:-1] |= _between(numbers[:-2], numbers[1:-1], numbers[2:])
    between[:, 1:-1] |= _between(numbers[:, :-2], numbers[:, 1:-1], numbers[:, 2:])
    inside, off = (
        np.bincount(numbers[at].astype(np.intp), minlength=len(counts)) for at in (corner, between)
    )
    clear = (counts > 0) & ((inside >= REGION_SHARE * counts) | (off < BETWEEN_SHARE * counts))
    if np.count_nonzero(clear) < CLEAR_SHARE * count:
        raise _ambiguous(name, f"{count} values or colors, many of them in soft or noisy edges")


def _between(one: NDArray[Any], here: NDArray[Any], other: NDArray[Any]) -> BoolArray:
    """Return which values lie strictly between two others."""
    return np.asarray((np.minimum(one, other) < here) & (here < np.maximum(one, other)))


def _ambiguous(
    name: str, what: str, choice: str = "labels, binary or colours"
) -> AmbiguousMaskError:
    return AmbiguousMaskError(
        f"{name} is ambiguous as a mask image: it has {what}. Pass --mask-values {choice} (in "
        "Python mask_values=)."
    )


def _joined(stored: MaskPixels, name: str) -> NDArray[Any]:
    """Merge all labels or colors to one object, else threshold at half of white."""
    try:
        values, _ = interpret(stored, "auto", name)
        return (values > 0).astype(np.uint8)
    except ImageError:
        gray = stored.values if stored.palette is None else stored.palette[stored.values]
        if stored.alpha is not None:
            gray = stored.alpha
        gray = gray.max(axis=2) if gray.ndim == 3 else gray
        return _cut(gray, _white_level(gray, name))


def _white_level(values: NDArray[Any], name: str) -> float:
    """Return the value that stands for white in a mask image. Raises ImageError for NaN."""
    most = float(values.max(initial=0))
    if not np.isfinite(most):
        raise ImageError(f"The mask image {name} contains NaN or infinity. Replace them with 0.")
    if values.dtype.kind == "f":
        return 0.0 if values.min() < 0 else 1.0 if most <= 1 else max(most, WHITE)
    if MAX_SMALL < most <= WHITE:
        return WHITE
    return WHITE_16 if MIN_WHITE * WHITE_16 <= most <= WHITE_16 else most


def _cut(values: NDArray[Any], white: float) -> NDArray[Any]:
    """Threshold at half of white; logits (`white` 0) at 0."""
    at = (values * 2.0 >= white) & (values != 0) if white else values > 0
    return np.asarray(at, np.uint8)


def _as_labels(values: NDArray[Any], alpha: UintImage | None, name: str) -> NDArray[Any]:
    """Return non-negative integers. Raises ImageError for colors and other values."""
    if values.ndim == 3:
        if not _is_gray(values):
            raise ImageError(
                f"{name} is a color image, which has no label values. Pass "
                '--mask-values colors (in Python mask_values="colors").'
            )
        values = values[..., 0]
    values = _without_hidden(values, alpha)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        labels = values.astype(np.int64) if np.isfinite(values).all() else np.zeros((0, 0))
        if labels.shape != values.shape or not (labels == values).all():
            raise _ambiguous(name, "fractions, which are no label values")
        values = labels
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise _ambiguous(name, f"the value {values.min()}, and label values are at least 0")
    return values


def _without_hidden(values: NDArray[Any], alpha: UintImage | None) -> NDArray[Any]:
    if alpha is None:
        return values
    hidden = alpha == 0
    return np.where(hidden[..., None] if values.ndim == 3 else hidden, values.dtype.type(0), values)


def colors_to_numbers(colors: NDArray[Any]) -> NDArray[np.int32]:  # (..., 3) -> (...)
    """Return red * 65536 + green * 256 + blue for each pixel."""
    numbers = colors[..., 0].astype(np.int32)
    for channel in (1, 2):
        numbers = (numbers << 8) | colors[..., channel]
    return numbers
