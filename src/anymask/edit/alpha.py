"""Soft alpha at a mask's edge, and foreground colors.

In a band along the mask's outline, alpha is solved by closed-form matting: in each window of 3 x 3
pixels it is a linear function of the colors (Levin, Lischinski and Weiss, "A closed-form solution
to natural image matting", PAMI 2008). The band is `BAND_RADIUS` pixels wide on each side, and alpha
is regularized towards the slightly blurred mask, because the Laplacian itself leaves soft rims
along sharp edges.

Where the image has no sharp edge along the outline (`edge_width`), a wider band is also solved. If
a blurred mask fits that solution, it replaces the narrow one: the edge is out of focus, and the
solution determines the width of the blur.

Large images are solved at reduced size; the local linear functions of color then give alpha at full
size (He and Sun, "Fast guided filter", 2015).

Letters: H W an image, B pixels of the band.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, Floats, InputError, UintImage

MAX_SOLVED_SIDE = 1000  # maximum length of an object's longest side when solved, pixels
BAND_RADIUS = 3  # half width of the band along sharp edges, pixels
PRIOR_SIGMA, PRIOR_WEIGHT = 0.7, 0.1  # of the blurred mask, and of the squared distance from it
BLURRED = 2.0  # minimum sigma of an image edge for wider bands
EDGE = 9  # side of the window for the steepest slope of an edge, pixels
REACHES = (5, 12, 28)  # half widths of wider bands, each used if the one before is too narrow
OPEN = 0.036  # mean difference from the mask in the band's outer part, above which it is too narrow
MIN_COLOR_DIFFERENCE = 0.5  # of object and background, in spreads, for a wider band
OUTER = 0.6  # start of the band's outer part, relative to its half width
COLOR_REGULARIZATION = 1e-7  # regularization of a window's colors, of 0..1 squared (Levin's)
MAX_ITERATIONS = 150  # maximum iterations of conjugate gradients
RESIDUAL_TOLERANCE = 1e-3  # relative residual at which the iteration stops
# Side of the linear functions' windows, pixels of the reduced image.
ALPHA_ROUNDING = 0.02  # alpha this close to 0 or 1 is rounded: a trace of the blur, not a soft edge
GUIDED = 5
GUIDED_EPSILON = 1e-5  # their regularization, of 0..1 squared
FARTHEST = 40  # maximum distance of sampled colors from the outline, pixels
WIDE_BLUR, NARROW_BLUR = 90, 7  # widths of the two blurs of colors, pixels
STRIP = 1 << 20  # pixels whose colors are estimated at once
MAX_BLUR_ERROR = 0.7  # maximum error of a blurred mask, relative to that of the mask
# Sigma of edges out of focus, in pixels.
BLURS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0)


def soft_alpha(image: UintImage, mask: BoolArray) -> FloatArray:  # (H, W, 3), (H, W) -> (H, W)
    """Coverage of each pixel by the object, 0..1; equal to the mask far from the outline.

    Raises InputError if image and mask differ in size.
    """
    if image.ndim != 3 or image.shape[:2] != mask.shape:
        raise size_error(image, mask)
    alpha = mask.astype(np.float32)
    if not mask.any() or mask.all():
        return alpha
    top, left, bottom, right, scale = surroundings(mask)
    here = np.s_[top:bottom, left:right]
    pixels, hard = image[here], alpha[here]
    if scale == 1:
        alpha[here] = _solved(pixels, mask[here])
        return alpha
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_mask = cv2.resize(hard, size, interpolation=cv2.INTER_AREA) >= 0.5
    alpha[here] = _at_full_size(pixels, hard, small, _solved(small, small_mask))
    return alpha


def foreground_colors(image: UintImage, alpha: FloatArray) -> UintImage:  # (H, W, 3), (H, W)
    """Foreground colors: removes the background color where alpha is below 1.

    The colors of object and background are blurred into the rim, each from its own side, then the
    object's are corrected by the residual of the mixture; twice, with a wide and a narrow blur
    (Forte, "Approximate fast foreground color estimation", ICIP 2021).
    """
    soft = (alpha > 0) & (alpha < 1)
    if not soft.any():
        return image
    ys, xs = np.nonzero(soft)
    columns = slice(max(0, int(xs.min()) - WIDE_BLUR), int(xs.max()) + WIDE_BLUR + 1)
    step = max(2 * WIDE_BLUR, STRIP // (columns.stop - columns.start))
    out = image.copy()
    for first in range(int(ys.min()), int(ys.max()) + 1, step):
        rows, start = slice(first, first + step), max(0, first - WIDE_BLUR)  # blurs reach less far
        around = np.s_[start : first + step + WIDE_BLUR, columns]
        pixels, part = image[around].astype(np.float32), alpha[around][..., None]
        front, back = pixels, pixels
        for width in (WIDE_BLUR, NARROW_BLUR):
            front, back = _blur_fusion(pixels, part, front, back, width)
        whole = np.clip(np.round(front[first - start :][:step]), 0, 255)
        here = np.s_[rows, columns]
        out[here] = np.where(soft[here][..., None], whole, out[here])
    return out


def _blur_fusion(
    image: FloatArray, alpha: FloatArray, front: FloatArray, back: FloatArray, width: int
) -> tuple[FloatArray, FloatArray]:
    """One step of the estimation of foreground and background, by a box blur of this width."""

    def blur(values: FloatArray) -> FloatArray:
        blurred = np.asarray(cv2.blur(values, (width, width)), np.float32)
        return blurred if blurred.ndim == 3 else blurred[..., None]

    covered = blur(alpha)
    front = blur(front * alpha) / (covered + 1e-5)
    back = blur(back * (1 - alpha)) / (1 - covered + 1e-5)
    front = front + alpha * (image - alpha * front - (1 - alpha) * back)
    return np.clip(front, 0, 255), back


def surroundings(mask: BoolArray) -> tuple[int, int, int, int, float]:
    """Window around the object (top, left, bottom, right), and the scale for solving."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    scale = min(1.0, MAX_SOLVED_SIDE / longest)
    margin = int(np.ceil((REACHES[-1] + 4) / scale))
    height, width = mask.shape
    return (
        max(0, int(rows[0]) - margin),
        max(0, int(columns[0]) - margin),
        min(height, int(rows[-1]) + 1 + margin),
        min(width, int(columns[-1]) + 1 + margin),
        scale,
    )


def _solved(image: UintImage, mask: BoolArray) -> FloatArray:
    """Alpha in a narrow band, and in a wide band where the edge is out of focus."""
    # Distance of each pixel's centre to the mask's outline.
    inside = mask.astype(np.uint8)
    both = [cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (inside, 1 - inside)]
    distance = np.asarray(np.where(mask, *both) - 0.5, np.float32)
    hard = mask.astype(np.float32)
    # Centres of parts that are small enough to be covered by a band: alpha stays 1 there
    count, regions = cv2.connectedComponents(mask.astype(np.uint8))
    labels = np.asarray(regions, np.int32)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, labels[mask], distance[mask].astype(np.float32))
    deepest[deepest > REACHES[-1]] = np.inf
    settled = np.asarray(mask & (distance >= OUTER * deepest[labels]), np.bool_)
    rim = np.asarray(cv2.GaussianBlur(hard, (0, 0), PRIOR_SIGMA), np.float32)
    alpha = closed_form_alpha(image, hard, rim, (distance <= BAND_RADIUS) & ~settled, PRIOR_WEIGHT)
    alpha = np.clip((alpha - ALPHA_ROUNDING) / (1 - 2 * ALPHA_ROUNDING), 0, 1)
    blurred = edge_width(image, mask, distance) > BLURRED
    if (blurred & (distance <= 1)).any():
        wide, share = _out_of_focus(image, mask, distance, blurred, settled)
        alpha = alpha + share * (wide - alpha)
    return np.asarray(alpha, np.float32)


def size_error(image: UintImage, mask: BoolArray) -> InputError:
    """The error for an image and a mask that do not fit each other."""
    return InputError(
        "The image (H, W, 3) and the mask (H, W) must have the same size. "
        f"Given: {image.shape}, {mask.shape}."
    )


def edge_width(image: UintImage, mask: BoolArray, distance: FloatArray) -> FloatArray:
    """Sigma of the image's edge along the outline, in pixels, around each pixel.

    A color step blurred by a Gaussian has a maximum slope of its height / (sigma * sqrt(2 pi)).
    Texture increases slopes, so the width is a lower bound.
    """
    colors = image.astype(np.float32)
    inside, outside = _means(colors, mask, (distance > REACHES[0]) & (distance <= FARTHEST))
    step = inside - outside
    height = np.linalg.norm(step, axis=2) + 1e-3
    smooth = cv2.GaussianBlur(colors, (0, 0), 1.0)
    slopes = [
        (cv2.Sobel(smooth, -1, across, 1 - across, scale=0.125) * step).sum(axis=2) / height
        for across in (1, 0)
    ]
    steepest = cv2.dilate(np.hypot(*slopes), np.ones((EDGE, EDGE), np.uint8))
    rim = (distance <= 1).astype(np.float32)
    size = (FARTHEST + 1,) * 2
    mean = cv2.blur(steepest * rim, size) / (cv2.blur(rim, size) + 1e-6)
    return np.asarray(height / (np.sqrt(2 * np.pi) * np.maximum(mean, 1e-3)), np.float32)


def _means(
    values: FloatArray, mask: BoolArray, near: BoolArray, reach: int = REACHES[1]
) -> list[FloatArray]:
    """Mean of the nearby values inside and outside the mask, around each pixel."""
    window = (8 * reach + 1,) * 2
    means = []
    for side in (mask, ~mask):
        counted = (near & side).astype(np.float32)[..., None]
        weight = np.asarray(cv2.blur(counted, window), np.float32)[..., None] + 1e-6
        means.append(np.asarray(cv2.blur(values * counted, window) / weight, np.float32))
    return means


def _out_of_focus(
    image: UintImage, mask: BoolArray, distance: FloatArray, blurred: BoolArray, settled: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Alpha of edges out of focus, and its share in the result, 0..1."""
    hard = mask.astype(np.float32)
    wide = np.zeros(mask.shape, bool)
    band = (distance <= REACHES[0]) & ~settled
    start = np.asarray(cv2.GaussianBlur(hard, (0, 0), 1.0), np.float32)
    alpha = closed_form_alpha(image, hard, start, band)
    for reach, next_reach in itertools.pairwise(REACHES):
        outer = ((distance > reach * OUTER) & (distance <= reach)).astype(np.float32)
        window = (8 * reach + 1,) * 2
        undecided = cv2.blur(np.abs(alpha - hard) * outer, window)
        open_here = undecided > OPEN * cv2.blur(outer, window)
        open_here &= blurred & (_apart(image, mask, distance, next_reach) > MIN_COLOR_DIFFERENCE)
        more = (distance <= next_reach) & open_here & ~band & ~settled
        if not more.any():
            break
        band |= more
        wide |= open_here
        alpha = closed_form_alpha(image, hard, alpha, band)
    best, share = _as_blur(alpha, hard, band & wide, distance)
    return best, share * ~settled


def _apart(image: UintImage, mask: BoolArray, distance: FloatArray, reach: int) -> FloatArray:
    """Color difference of object and background around each pixel, in spreads.

    If both are similar, the color does not determine the edge, and the mask does.
    """
    near = (distance > OUTER * reach) & (distance <= 3 * reach)
    colors = image.astype(np.float32)
    inside, outside = _means(colors, mask, near, reach)
    squares = _means(colors**2, mask, near, reach)
    variance = (squares[0] - inside**2) + (squares[1] - outside**2)
    spread = np.sqrt(np.maximum(variance, 0).sum(axis=2)) + 4
    return np.asarray(np.linalg.norm(inside - outside, axis=2) / spread, np.float32)


def _as_blur(
    alpha: FloatArray, hard: FloatArray, solved: BoolArray, distance: FloatArray
) -> tuple[FloatArray, FloatArray]:  # four (H, W)
    """The blurred mask nearest to the solution, and its share, 0..1.

    Along the outline, the share and the width of the blur change gradually, so that a wide band
    fades into a narrow one.
    """
    side = (2 * REACHES[-1] + 1,) * 2
    counted = solved.astype(np.float32)
    weight = cv2.blur(counted, side) + 1e-6
    nearest = cv2.blur(np.abs(alpha - hard) * counted, side) / weight * MAX_BLUR_ERROR
    level = np.zeros(alpha.shape, np.float32)  # 1 is the first blur; 0 where none fits
    blurs = [cv2.GaussianBlur(hard, (0, 0), width) for width in BLURS]
    for n, blurred in enumerate(blurs, 1):
        off = cv2.blur(np.abs(alpha - blurred) * counted, side) / weight
        level[off < nearest] = n
        nearest = np.minimum(nearest, off)
    outline = (distance <= 1).astype(np.float32)
    fits = outline * counted * (level > 0)
    fitting = cv2.blur(fits, side)
    level = cv2.blur(level * fits, side) / (fitting + 1e-6)
    share = np.clip(2 * fitting / (cv2.blur(outline, side) + 1e-6) - 0.5, 0, 1)
    best = sum(blurred * np.clip(1 - np.abs(level - n), 0, 1) for n, blurred in enumerate(blurs, 1))
    return np.asarray(best, np.float32), np.asarray(share, np.float32)


def closed_form_alpha(
    image: UintImage, hard: FloatArray, start: FloatArray, band: BoolArray, pull: float = 0.0
) -> FloatArray:  # (H, W, 3), three (H, W) -> (H, W)
    """Solve alpha in the band by the matting Laplacian and conjugate gradients; `hard` outside.

    If the band covers the whole image, `start` is returned.

    Args:
        image: Image (H, W, 3).
        hard: Alpha outside the band (H, W).
        start: Initial alpha (H, W).
        band: Pixels to solve (H, W).
        pull: Weight of the squared distance from `start` in the cost.
    """
    height, width = band.shape
    ys, xs = np.nonzero(band)
    weights = _laplacian(image, band)  # (B, 25)
    weights[:, 12] += np.float32(pull)
    padded = np.pad(np.where(band, start, hard), 2, mode="edge").astype(np.float32).ravel()
    around = np.array([y * (width + 4) + x for y in range(-2, 3) for x in range(-2, 3)])
    middle = (ys + 2) * (width + 4) + xs + 2
    neighbors = middle[:, None] + around
    diagonal = np.maximum(weights[:, 12], 1e-6)

    def product(values: FloatArray) -> FloatArray:
        return np.asarray(np.einsum("bk,bk->b", weights, values[neighbors]), np.float32)

    residual = np.float32(pull) * padded[middle] - product(padded)
    ready = residual / diagonal
    step = np.zeros_like(padded)
    step[middle] = ready
    left = float(residual @ ready)
    enough = RESIDUAL_TOLERANCE**2 * left
    for _ in range(MAX_ITERATIONS):
        if left <= enough or left <= 0:
            break
        moved = product(step)
        length = left / float(step[middle] @ moved)
        padded[middle] += length * step[middle]
        residual -= length * moved
        ready = residual / diagonal
        left, before = float(residual @ ready), left
        step[middle] = ready + left / before * step[middle]
    out = hard.copy()
    out[band] = np.clip(padded[middle], 0, 1)
    return out


def _laplacian(image: UintImage, band: BoolArray) -> FloatArray:  # -> (B, 25)
    """Rows of the matting Laplacian in the band: weights of each pixel's 5 x 5 neighbours."""
    height, width = band.shape
    wide = width + 4  # two pixels around the image, so that all windows are inside
    colors = np.pad(image.astype(np.float32) / 255, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    inside = np.pad(band.astype(np.uint8), 2)
    windows = np.flatnonzero(cv2.dilate(inside, np.ones((3, 3), np.uint8)))
    places = [y * wide + x for y in range(-1, 2) for x in range(-1, 2)]
    members = colors.reshape(-1, 3)[windows[:, None] + np.array(places)]  # (windows, 9, 3)
    members = members - members.mean(axis=1, keepdims=True, dtype=np.float64)
    covariance = members.swapaxes(1, 2) @ members / 9 + np.eye(3) * (COLOR_REGULARIZATION / 9)
    # Of each window, (9, 9)
    shared = (1 + members @ np.linalg.inv(covariance) @ members.swapaxes(1, 2)) / 9
    rows = np.zeros((25, inside.size), np.float32)
    for i, ours in enumerate(places):
        for j in range(9):
            offset = (j // 3 - i // 3 + 2) * 5 + j % 3 - i % 3 + 2
            rows[offset, windows + ours] += float(i == j) - shared[:, i, j]
    return np.ascontiguousarray(rows[:, np.flatnonzero(inside)].T)


def _at_full_size(
    image: UintImage, hard: FloatArray, small: UintImage, solved: FloatArray
) -> FloatArray:  # (H, W, 3), (H, W), (h, w, 3), (h, w) -> (H, W)
    """Alpha at full size, by the linear functions of color that give the solved alpha."""
    size = (image.shape[1], image.shape[0])
    # Slope and offset of the linear function of color around each pixel
    guide = small.astype(np.float64) / 255

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (GUIDED, GUIDED)), np.float64)

    middle, level = mean(guide), mean(solved.astype(np.float64))
    pairs = mean((guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9))
    covariance = pairs.reshape(*guide.shape, 3) - middle[..., :, None] * middle[..., None, :]
    covariance += np.eye(3) * GUIDED_EPSILON
    with_alpha = mean(guide * solved[..., None]) - middle * level[..., None]
    slope = np.linalg.solve(covariance, with_alpha[..., None])[..., 0]
    offset = mean(level - (slope * middle).sum(axis=2)).astype(np.float32)
    slope = mean(np.asarray(slope, np.float64)).astype(np.float32)
    alpha = np.asarray(cv2.resize(offset, size), np.float32)
    for channel in range(3):  # one by one: of a large image, the three together take much memory
        alpha += cv2.resize(slope[..., channel], size) * (image[..., channel] / np.float32(255))
    soft = ((solved > 0) & (solved < 1)).astype(np.uint8)
    near = cv2.resize(
        cv2.dilate(soft, np.ones((3, 3), np.uint8)), size, interpolation=cv2.INTER_NEAREST
    )
    return np.where(near > 0, np.clip(alpha, 0, 1, out=alpha), hard)
