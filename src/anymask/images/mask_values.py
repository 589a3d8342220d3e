"""Interpret the values of a mask image: labels, one object, or a color for each object.

Labels form regions of a single value. Soft edges (from scaling or smoothing) and noisy edges (from
JPEG) have values between those of their neighbors. Two fractions of the pixels that are neither 0
nor white distinguish these cases:

    alike    equal to two neighbors around a corner: nearly all of labels, few of soft edges
    between  strictly between two opposite neighbors: most of soft edges, hardly any of labels

On synthetic images (discs and cells of 1 to 60 pixels; blurred, scaled, JPEG 30 to 100) labels of
at least 3 pixels have alike > 0.9, soft and noisy edges < 0.15; smaller labels have no pixel
between. Cases in the middle raise an error that names the options.

Letters: H W the image, C colors, K colors of a palette.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import AmbiguousMaskError, BoolArray, ImageError, UintImage

MaskValues = Literal["auto", "labels", "binary", "colours"]
WHITE, WHITE_16 = 255, 65535
MIN_WHITE = 0.9  # minimum fraction of white for a maximum that may represent white
MAX_SMALL = 127  # maximum value that never represents white
MAX_CLASSES = 20  # up to this number of values without white are classes, however thin
ALIKE, NOT_ALIKE = 0.5, 0.2  # minimum fraction of labels, maximum of edges
BETWEEN, NOT_BETWEEN = 0.3, 0.05
FEW = 0.25  # maximum ratio of stray to white pixels if they do not lie between
ENDS, NEAR = 0.5, 0.15  # fraction of an image near black and white, and the distance
GREY_TONES = 24  # maximum channel difference of a gray pixel in a lossy file
FLAT, GAP = 12, 12  # lossy files: value range within a region; gap between levels
PLATEAU = 64  # maximum levels of one region
MIN_SHARE, MIN_PIXELS = 0.0005, 16  # minimum size of a level or color in a lossy file
APART = 32  # distance of two colors in a lossy file
MAX_COLOURS = 64  # maximum classes of a lossy file; photos have more colors

SOFT = "The mask has soft or noisy edges: pixels from half of the maximum value are foreground."
NEAREST = "The edges between colors are soft or noisy: each pixel is assigned to the nearest color."


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """Mask image as stored."""

    values: NDArray[Any]  # (H, W) values, or (H, W, 3) 8-bit colors
    palette: UintImage | None = None  # (K, 3) colors if the values are indices
    alpha: UintImage | None = None  # (H, W) 0..255; None if all pixels are opaque
    lossy: bool = False  # Whether the format is lossy, like JPEG


Found = tuple[NDArray[Any], bool, str]  # values, whether they are colors, note


def interpret(stored: MaskPixels, wanted: MaskValues, name: str) -> Found:
    """Return object values (H, W), 0 for background, as in `MaskImage`. Raises ImageError."""
    if wanted == "binary":
        return _joined(stored, name), False, ""
    if wanted == "labels":
        return _as_labels(stored, name), False, ""
    colours = stored.values if stored.values.ndim == 3 else None
    if stored.palette is not None and (wanted == "colours" or _has_colours(stored)):
        colours = stored.palette[stored.values]
    if colours is None and wanted == "auto" and stored.palette is not None:
        return _as_labels(stored, name), False, ""
    if colours is None and wanted == "colours":
        grey = _as_labels(stored, name)
        return (*_lossy_levels(grey, name, strict=False), "") if stored.lossy else (grey, False, "")
    if colours is None and (stored.alpha is None or not _is_plain(stored.values, stored.alpha)):
        values, note = _greys(_without_hidden(stored.values, stored.alpha), stored, name)
        return values, False, note
    if (
        stored.alpha is not None
        and wanted == "auto"
        and (colours is None or _is_plain(colours, stored.alpha) or _looks_like_photo(colours))
    ):
        values, note = _greys(stored.alpha, stored, name)
        return values, False, note
    assert colours is not None
    tones = _tones(colours, stored) if wanted == "auto" else "many"
    if tones != "many":
        with contextlib.suppress(*([AmbiguousMaskError] if tones == "hue" else [])):
            grey = _without_hidden(colours.max(axis=2), stored.alpha)
            values, note = _greys(grey, stored, name)
            if note or tones == "grey":
                return values, False, note
    return _colours(colours, stored, name, strict=wanted == "auto")


# Gray values and indices.


def _has_colours(stored: MaskPixels) -> bool:
    """Whether a palette carries more information than its indices: black is not the first color,
    or all used colors are grays that differ from their indices."""
    assert stored.palette is not None
    used = np.flatnonzero(np.bincount(stored.values.ravel(), minlength=256))
    colours = stored.palette[used]
    if len(np.unique(colours, axis=0)) < len(used):  # a palette that was not filled in
        return False
    greys = bool((colours == colours[:, :1]).all())
    black = bool((colours == 0).all(axis=1).any())
    first = bool(stored.palette[0].any())
    return (greys and len(used) > 2 and int(colours.max()) >= MAX_SMALL) or (black and first)


def _is_plain(values: NDArray[Any], alpha: UintImage) -> bool:
    """Return whether all visible pixels have one color, so that the alpha channel is the mask."""
    seen = values[alpha > 0]
    return not len(seen) or bool((seen == seen[:1]).all())


def _joined(stored: MaskPixels, name: str) -> NDArray[Any]:
    """Merge all labels or colors to one object, else threshold at half of white."""
    try:
        values, *_ = interpret(stored, "auto", name)
        return (values > 0).astype(np.uint8)
    except ImageError:
        grey = _brightness(stored)
        return _cut(grey, _white_level(grey, name))


def _brightness(stored: MaskPixels) -> NDArray[Any]:  # -> (H, W)
    """Return the values that are compared with half of white."""
    if stored.alpha is not None:
        return stored.alpha
    values = stored.values if stored.palette is None else stored.palette[stored.values]
    return values.max(axis=2) if values.ndim == 3 else values


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
    object_at: BoolArray = values * 2.0 >= white if white else values > 0
    kind = np.uint8 if white <= WHITE else np.uint16 if white <= WHITE_16 else np.int64
    return np.where(object_at & (values != 0), kind(white or 1), kind(0))


def _as_labels(stored: MaskPixels, name: str) -> NDArray[Any]:
    """Return the stored values. Raises ImageError for colors and fractions."""
    values = stored.values
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise ImageError(
                f"{name} is a color image, which has no label values. Pass "
                '--mask-values colours (in Python mask_values="colours").'
            )
        values = values[..., 0]
    return _whole(_without_hidden(values, stored.alpha), name)


def _without_hidden(values: NDArray[Any], alpha: UintImage | None) -> NDArray[Any]:
    return values if alpha is None else np.where(alpha == 0, values.dtype.type(0), values)


def _whole(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert to non-negative integers. Raises ImageError for other values."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        found = values.astype(np.int64) if np.isfinite(values).all() else np.zeros((0, 0))
        if found.shape != values.shape or not (found == values).all():
            raise ImageError(
                f"{name} contains fractions. Label values are whole numbers of at least 0."
            )
        values = found
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise ImageError(
            f"{name} contains the label value {values.min()}. Label values are whole "
            "numbers of at least 0, and 0 is background."
        )
    return values


def _greys(values: NDArray[Any], stored: MaskPixels, name: str) -> tuple[NDArray[Any], str]:
    """Interpret the values of one channel. Raises ImageError or AmbiguousMaskError."""
    if values.dtype.kind == "f" and not _are_whole(values):
        return _fractions(values, name)
    values = _whole(values, name)
    most = int(values.max(initial=0))
    counts = _count_numbers(values)
    if counts <= 1:
        return values, ""
    if stored.lossy and stored.alpha is None:
        return _lossy_levels(values, name)[0], SOFT
    middle = (values > 0) & (values < most)
    alike = _share(_alike(values), middle)
    if alike >= ALIKE:
        return values, ""
    between = _share(_between(values), middle)
    whites, strays = np.count_nonzero(values == most), np.count_nonzero(middle)
    soft = alike < NOT_ALIKE and (between >= BETWEEN or strays <= FEW * whites)
    if soft and _may_be_white(values, most) and _has_ends(values, most):
        return _cut(values, most), SOFT
    tiny = between < NOT_BETWEEN and strays > FEW * whites
    if tiny or (counts <= MAX_CLASSES and not _may_be_white(values, most)):
        return values, ""
    if counts > MAX_COLOURS and alike < NOT_ALIKE and not _has_ends(values, most):
        raise _photo(name)
    raise _ambiguous(name, f"{counts} gray levels, which may be labels or a soft edge")


def _are_whole(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all() and (values == np.trunc(values)).all())


def _fractions(values: NDArray[Any], name: str) -> tuple[NDArray[Any], str]:
    """Threshold probabilities, or an 8-bit mask that was scaled as floats."""
    white = _white_level(values, name)
    least, most = float(values.min()), float(values.max())
    if least >= 0 and (most <= 1 or (MIN_WHITE * WHITE <= most <= WHITE)):
        white = 1.0 if most <= 1 else WHITE
        if most <= 1 or _has_ends(values, most):
            return _cut(values, white), SOFT
    raise _ambiguous(name, f"fractions from {least:.3g} to {most:.3g}")


def _count_numbers(values: NDArray[Any]) -> int:
    """Count the different values besides 0."""
    if values.dtype.itemsize <= 2 and values.dtype.kind == "u":
        return int(np.count_nonzero(np.bincount(values.ravel())[1:]))
    return int(np.count_nonzero(np.unique(values)))


def _may_be_white(values: NDArray[Any], most: int) -> bool:
    whites = {1: (WHITE,), 2: (WHITE_16,)}.get(values.dtype.itemsize, (WHITE, WHITE_16))
    return any(MIN_WHITE * white <= most <= white for white in whites)


def _has_ends(values: NDArray[Any], most: float) -> bool:
    """Return whether most pixels are nearly black or white, unlike those of a photo."""
    ends = (values < NEAR * most) | (values > (1 - NEAR) * most)
    return bool(ends.mean() >= ENDS)


def _neighbours(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the neighbors of each pixel: left, right, above, below."""
    wide = np.pad(values, [(1, 1), (1, 1)] + [(0, 0)] * (values.ndim - 2), "edge")
    return [wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]]


def _alike(values: NDArray[Any]) -> BoolArray:  # (H, W)
    """Pixels equal to two neighbors around a corner; pixels outside the image never match."""
    across = np.pad(values[:, 1:] == values[:, :-1], ((0, 0), (1, 1)))
    down = np.pad(values[1:] == values[:-1], ((1, 1), (0, 0)))
    found: BoolArray = (across[:, 1:] | across[:, :-1]) & (down[1:] | down[:-1])
    return found


def _between(values: NDArray[Any]) -> BoolArray:  # (H, W[, C]) -> (H, W)
    """Pixels strictly between two opposite neighbors; for colors, in no channel outside."""
    left, right, above, below = _neighbours(values)
    found = np.zeros(values.shape[:2], np.bool_)
    for one, other in ((left, right), (above, below)):
        inside = (np.minimum(one, other) <= values) & (values <= np.maximum(one, other))
        off_one, off_other = values != one, values != other
        if values.ndim == 3:
            inside, off_one, off_other = inside.all(2), off_one.any(2), off_other.any(2)
        found |= inside & off_one & off_other
    return found


def _share(of: BoolArray, among: BoolArray) -> float:
    count = np.count_nonzero(among)
    return float(np.count_nonzero(of & among) / count) if count else 1.0


# Lossy files.


def _flat(values: UintImage, side: int = 3) -> BoolArray:  # (H, W[, 3]) -> (H, W)
    """Pixels inside regions: their neighborhood has nearly one value."""
    square = np.ones((side, side), np.uint8)
    spread = cv2.dilate(values, square).astype(np.int16) - cv2.erode(values, square)
    return np.asarray(spread <= FLAT if spread.ndim == 2 else spread.max(axis=2) <= FLAT)


def _lossy_levels(
    values: NDArray[Any], name: str, *, strict: bool = True
) -> tuple[NDArray[Any], bool]:
    """Threshold a gray mask of a lossy file at half of white; if not `strict`, by nearest level.

    Raises AmbiguousMaskError for several levels.
    """
    counts = np.bincount(values[_flat(values, 5)].ravel(), minlength=256)
    places = np.flatnonzero(counts)
    groups = np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1) if len(places) else []
    least = max(MIN_PIXELS, MIN_SHARE * values.size)
    groups = [group for group in groups if counts[group].sum() >= least]
    levels = [int(np.average(group, weights=counts[group]).round()) for group in groups]
    bright = [one for one, group in zip(levels, groups, strict=True) if group[-1] > GREY_TONES]
    gradient = any(group[-1] - group[0] > PLATEAU for group in groups)
    most = int(values.max())
    if not strict:
        table = np.unique([0, *bright])
        nearest = np.abs(np.arange(256)[:, None] - table).argmin(axis=1)
        return table[nearest].astype(np.uint8)[values], False
    if len(bright) <= 1 and most > MAX_SMALL and _has_ends(values, most):
        return _cut(values, most), False
    if gradient and not _has_ends(values, most):
        raise _photo(name)
    what = (
        "label values, which its lossy format has changed" if most <= MAX_SMALL
        else f"{max(2, len(bright))} gray levels in a lossy format"
    )  # fmt: skip
    raise _ambiguous(name, what)


# Colors.


def _ambiguous(name: str, what: str) -> AmbiguousMaskError:
    return AmbiguousMaskError(
        f"{name} is ambiguous as a mask image: it has {what}. Pass --mask-values labels, binary or "
        "colours (in Python mask_values=)."
    )


def _visible(colours: UintImage, stored: MaskPixels) -> UintImage:  # -> (P, 3)
    seen = colours if stored.alpha is None else colours[stored.alpha > 0]
    return seen.reshape(-1, 3)


def _tones(colours: UintImage, stored: MaskPixels) -> Literal["grey", "hue", "many"]:
    """Classify the colors: only grays, shades of one color, or several colors."""
    seen = _visible(colours, stored).astype(np.int16)
    if not len(seen):
        return "grey"
    low, high = seen.min(axis=1), seen.max(axis=1)
    tones = GREY_TONES if stored.lossy else 0
    if int((high - low).max()) <= tones:
        return "grey"
    strong = high >= (PLATEAU if stored.lossy else 1)
    if not strong.any():
        return "grey"
    shares = seen[strong] / high[strong, None]
    spread = shares.max(axis=0) - shares.min(axis=0)
    slack = 0.35 if stored.lossy else 3.0 / max(3, int(high[strong].min()))
    return "hue" if spread.max() <= slack else "many"


def _looks_like_photo(colours: UintImage) -> bool:
    """Return whether few adjacent pixels of many have the same color, apart from black."""
    packed = _packed(colours)
    same = (packed[:, 1:] == packed[:, :-1])[(packed[:, 1:] > 0) | (packed[:, :-1] > 0)]
    few = bool(same.size) and float(same.mean()) < 0.75
    return few and len(np.unique(packed)) > MAX_COLOURS


def _packed(colours: NDArray[Any]) -> NDArray[np.int32]:  # (..., 3) -> (...)
    """Encode colors as red * 65536 + green * 256 + blue."""
    numbers = colours[..., 0].astype(np.int32)
    for channel in (1, 2):
        numbers = (numbers << 8) | colours[..., channel]
    return numbers


def _photo(name: str) -> ImageError:
    return ImageError(
        f"{name} appears to be a photo, but a mask image is required, such as white "
        "objects on black. If the pixel values are labels, pass --mask-values labels "
        '(in Python mask_values="labels").'
    )


def _colours(colours: UintImage, stored: MaskPixels, name: str, *, strict: bool) -> Found:
    """Assign a value to each color, 0 to black and transparent pixels. Raises ImageError."""
    shown = colours
    if stored.alpha is not None:
        shown = np.where((stored.alpha > 0)[..., None], colours, np.uint8(0))
    if stored.lossy:
        solid, classes = _lossy_colours(shown, name)
        return _packed(_nearest(shown, solid, classes)), True, NEAREST
    packed = _packed(shown)
    found, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    if len(found) <= 2:
        return packed, True, ""
    inverse = inverse.reshape(packed.shape)
    own = np.bincount(inverse[_alike(packed)], minlength=len(found))
    regions = (own >= ALIKE * counts) | (found == 0)
    stray = ~regions[inverse]
    strays = np.count_nonzero(stray)
    if not strays:
        return packed, True, ""
    count, without = np.count_nonzero(regions), not (regions & (found > 0)).any()
    mixed = count > MAX_COLOURS and strays > FEW * np.count_nonzero(packed)
    if strict and (mixed or (without and len(found) > MAX_COLOURS)):
        raise _photo(name)
    between = _share(_between(shown), stray)
    if between >= BETWEEN and not without:
        return _packed(_nearest(shown, ~stray, shown)), True, NEAREST
    if between < NOT_BETWEEN or not strict:
        return packed, True, ""
    raise _ambiguous(
        name,
        (
            f"{len(found)} colors, most of them with few pixels, which may be small "
            "objects or soft edges"
        ),
    )


def _lossy_colours(colours: UintImage, name: str) -> tuple[BoolArray, UintImage]:
    """Find regions of one color: their mask, and (H, W, 3) with the region colors."""
    flat = _flat(colours)
    tones, counts = np.unique(_packed(colours[flat] >> 3), return_counts=True)
    order = np.argsort(-counts)
    centres: list[NDArray[np.int32]] = []
    weights: list[int] = []
    for place in order:
        tone = int(tones[place])
        colour = np.array([tone >> 16, tone >> 8 & 255, tone & 255], np.int32) * 8 + 4
        away = [int(np.abs(colour - one).max()) for one in centres]
        if away and min(away) <= APART:
            weights[int(np.argmin(away))] += int(counts[place])
        elif len(centres) <= MAX_COLOURS:
            centres.append(colour)
            weights.append(int(counts[place]))
    least = max(MIN_PIXELS, MIN_SHARE * flat.size)
    kept = [one for one, weight in zip(centres, weights, strict=True) if weight >= least]
    if not kept or len(kept) > MAX_COLOURS or flat.mean() < ENDS:
        raise _photo(name)
    table = np.array(kept, np.int32)
    table[(table <= GREY_TONES).all(axis=1)] = 0
    pixels = colours[flat].astype(np.int32)
    nearest = np.zeros(len(pixels), np.intp)
    best = np.full(len(pixels), np.iinfo(np.int32).max, np.int32)
    for place, colour in enumerate(table):
        away = ((pixels - colour) ** 2).sum(axis=1)
        closer = away < best
        nearest[closer], best[closer] = place, away[closer]
    for place in np.flatnonzero(table.any(axis=1)):  # exact color instead of the bin center
        own = pixels[nearest == place]
        table[place] = np.median(own, axis=0) if len(own) else table[place]
    classes = np.zeros_like(colours)
    classes[flat] = table[nearest]
    return flat, classes


def _nearest(colours: UintImage, solid: BoolArray, classes: UintImage) -> UintImage:
    """Fill other pixels with the most similar class among the next ones in four directions."""
    height, width = solid.shape
    best = np.full(solid.shape, np.iinfo(np.int32).max, np.int32)
    found = np.where(solid[..., None], classes, np.uint8(0))
    grid: NDArray[np.int32] = np.indices(solid.shape, np.int32)
    rows, columns = grid[0], grid[1]
    for axis, places, size in ((0, rows, height), (1, columns, width)):
        before: NDArray[np.int32] = np.maximum.accumulate(np.where(solid, places, -1), axis)
        flipped = np.flip(np.where(solid, places, size), axis)
        after: NDArray[np.int32] = np.flip(np.minimum.accumulate(flipped, axis), axis)
        for nearby in (before, after):
            there = ~solid & (nearby >= 0) & (nearby < size)
            where = [rows[there], columns[there]]
            where[axis] = nearby[there]
            candidates = classes[where[0], where[1]]
            away = ((candidates.astype(np.int32) - colours[there]) ** 2).sum(axis=1)
            closer = away < best[there]
            at = np.flatnonzero(there)[closer]
            best.flat[at] = away[closer]
            found.reshape(-1, 3)[at] = candidates[closer]
    return found
