"""Scenes that are hard to segment, with exact truth: photos as backgrounds, drawn foregrounds.

    thin    wires     cables of 1.5 to 4 pixels, each a mask
            spokes    a wheel of thin spokes
            mesh      a wire fence across the whole image
    glass   glass     tumblers, bottles and goblets that refract the background
    soft    smoke     a plume that thins out
            fog       a bank of fog
            strands   a shape of another photo whose rim is strands

Each background is a photo, each foreground is drawn with an opacity between 0 and 1 for every
pixel. The truth is the opacity itself, and the mask of pixels with an opacity of at least 0.5
(smoke and fog: 0.35). A kind, a number and a folder of photos always produce the same pixels.
Letters: H W a scene, P corners. Colours and opacities are 0..1.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from anymask.base import BoolArray, DataError, FloatArray, Floats, UintImage
from anymask.edit.cutouts import covering
from anymask.formats import AnnotatedImage, SetInfo
from anymask.images import list_images, load_image
from anymask.masks import Mask, mask_to_rle
from research.matting import make_alpha

SCENE_HW = (360, 480)
SUPER = 4  # shapes are drawn this much larger and averaged
SCENES_A_KIND = 12
LEAST_AREA = 100  # visible pixels of a mask
HALF, DENSE = 0.5, 0.35  # opacity from which a pixel belongs to an object, to smoke or fog
Y, X = np.mgrid[: SCENE_HW[0], : SCENE_HW[1]].astype(np.float32)

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class HardScene:
    """Image (H, W, 3), and the mask and the opacity (H, W) of each object."""

    image: UintImage
    masks: tuple[BoolArray, ...]
    alphas: tuple[FloatArray, ...]


# Shapes and light.


def coverage(shapes: Sequence[Floats], width: float | None = None) -> FloatArray:  # (P, 2) each
    """Covered part of each pixel (H, W), by polygons, or by lines of a width in pixels."""
    canvas = np.zeros([SUPER * side for side in SCENE_HW], np.uint8)
    for shape in shapes:
        corners = [np.round(np.asarray(shape) * SUPER).astype(np.int32)]
        if width is None:
            cv2.fillPoly(canvas, corners, (255,))
        else:
            cv2.polylines(canvas, corners, False, (255,), max(round(width * SUPER), 1))
    small = cv2.resize(canvas, SCENE_HW[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def clouds(rng: Rng, size: float) -> FloatArray:  # -> (H, W)
    """Smooth noise with details of `size` pixels and finer."""
    total = np.zeros(SCENE_HW, np.float32)
    for octave in range(4):
        cell = max(size / 2**octave, 1)
        grid = rng.random([int(side / cell) + 2 for side in SCENE_HW], np.float32)
        total += cv2.resize(grid, SCENE_HW[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = np.quantile(total, (0.01, 0.99))
    return np.clip((total - low) / (high - low), 0, 1).astype(np.float32)


def over(image: FloatArray, paint: FloatArray, alpha: FloatArray) -> FloatArray:
    """Blend paint, (3,) or (H, W, 3), over a picture (H, W, 3)."""
    return np.asarray(image + (paint - image) * alpha[..., None], np.float32)


def contrasting(rng: Rng, image: FloatArray, alpha: FloatArray) -> FloatArray:  # -> (3,)
    """Dark grey on a bright ground, bright grey on a dark one."""
    ground = float((image.mean(2) * alpha).sum() / alpha.sum())
    tone = rng.uniform(0.05, 0.2) if ground > 0.45 else rng.uniform(0.75, 0.95)
    return (tone + rng.normal(0, 0.02, 3)).astype(np.float32)


def scene_of(source_image: FloatArray, alphas: Sequence[FloatArray], least: float) -> HardScene:
    """Scene with the objects that are visible; later ones lie in front."""
    masks: list[BoolArray] = []
    for alpha in alphas:
        masks = [mask & (alpha < least) for mask in masks] + [alpha >= least]
    seen = [n for n, mask in enumerate(masks) if np.count_nonzero(mask) >= LEAST_AREA]
    image = np.clip(source_image * 255 + 0.5, 0, 255).astype(np.uint8)
    return HardScene(image, tuple(masks[n] for n in seen), tuple(alphas[n] for n in seen))


# Thin structures. Each function draws on one photo; the second one fills objects.


def wires(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """Cables that sag between poles outside the image."""
    image, alphas = ground, []
    for _ in range(rng.integers(2, 5)):
        x = np.linspace(-5, SCENE_HW[1] + 5, 120)
        middle, sag = rng.uniform(150, 330), rng.uniform(10, 60)
        y = rng.uniform(30, 290) + (x - 240) * rng.uniform(-0.35, 0.35)
        y += sag * (1 - ((x - middle) / 240) ** 2)
        alpha = coverage([np.stack([x, y], 1)], rng.uniform(1.5, 4))
        if alpha.any():
            image = over(image, contrasting(rng, image, alpha), alpha)
            alphas.append(alpha)
    return scene_of(image, alphas, HALF)


def spokes(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """A wheel: a rim, a hub, and 16 to 32 spokes between them."""
    center = np.array([rng.uniform(190, 290), rng.uniform(150, 210)])
    radius, squeeze = rng.uniform(95, 140), rng.uniform(0.6, 1)
    turn = np.linspace(0, 2 * np.pi, 181)
    ring = np.stack([np.cos(turn), squeeze * np.sin(turn)], 1)
    count, start = int(rng.integers(16, 33)), rng.uniform(0, 1)
    lines = []
    for number in range(count):
        angle = start + 2 * np.pi * number / count
        ends = [[r * np.cos(angle), r * squeeze * np.sin(angle)] for r in (8, radius)]
        lines.append(center + np.array(ends))
    alpha = coverage(lines, rng.uniform(1.5, 2.5))
    alpha = np.maximum(alpha, coverage([center + radius * ring], rng.uniform(4, 7)))
    alpha = np.maximum(alpha, coverage([center + 10 * ring]))
    image = over(ground, contrasting(rng, ground, alpha), alpha)
    return scene_of(image, [alpha], HALF)


def mesh(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """A fence of diamonds with a shadow."""
    step, lean = rng.uniform(24, 44), rng.uniform(0.7, 1.3)
    rows = np.linspace(-20, SCENE_HW[0] + 20, 60)
    wave = 3 * np.sin(rows / step * np.pi)
    lines = [
        np.stack([begin + side * (rows * lean + wave), rows], 1)
        for side in (-1, 1)
        for begin in np.arange(-600, 1100, step)
    ]
    alpha = coverage(lines, rng.uniform(2, 4))
    shadow = np.roll(cv2.GaussianBlur(alpha, (0, 0), 1.0), (2, 2), (0, 1))
    image = over(ground, np.zeros(3, np.float32), 0.3 * shadow)
    image = over(image, contrasting(rng, ground, alpha), alpha)
    return scene_of(image, [alpha], HALF)


# Glass.

PROFILES = (  # height from the bottom and half width, of a tumbler, a bottle and a goblet
    ((0, 0.8), (0.02, 0.85), (1, 1)),
    ((0, 1), (0.03, 1.03), (0.6, 1), (0.72, 0.75), (0.8, 0.4), (0.97, 0.36), (1, 0.42)),
    ((0, 0.8), (0.03, 0.75), (0.06, 0.12), (0.42, 0.1), (0.5, 0.6), (0.68, 0.98), (1, 0.85)),
)


def glass(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """One to three glasses side by side."""
    image, alphas = ground, []
    for x in rng.permutation(np.linspace(90, 390, 3))[: rng.integers(1, 4)]:
        profile = np.array(PROFILES[rng.integers(len(PROFILES))])
        up = np.linspace(0, 1, 60)
        half = rng.uniform(34, 58) * np.interp(up, profile[:, 0], profile[:, 1])
        y = SCENE_HW[0] * rng.uniform(0.8, 0.93) - rng.uniform(140, 220) * up
        right, left = np.stack([x + half, y], 1), np.stack([x - half, y], 1)
        alpha = coverage([np.concatenate([right, left[::-1]])])
        image = over(image, refracted(rng, image, alpha, float(x)), alpha)
        alphas.append(alpha)
    return scene_of(image, alphas, HALF)


def refracted(rng: Rng, image: FloatArray, alpha: FloatArray, x: float) -> FloatArray:
    """The picture through a glass at x: bent, tinted, with a dark rim and two reflections."""
    inside = (alpha >= HALF).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    across = x + (X - x) * 0.72 - 26 * np.exp(-depth / 9) * np.sign(X - x)
    bent = cv2.remap(
        image, across.astype(np.float32), Y + 4, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    body = bent * (1 - 0.12 * rng.random(3, np.float32))
    body = body * (1 - 0.4 * np.exp(-(((depth - 2.5) / 1.8) ** 2))[..., None])
    half = max(np.count_nonzero(inside.any(0)) / 2, 1)
    light = 0.18 * np.exp(-(((depth - 6) / 2.5) ** 2))
    for place, wide, strong in ((-0.55, 0.09, 0.45), (0.6, 0.05, 0.3)):
        stripe = np.exp(-((((X - x) / half - place) / wide) ** 2))
        light = light + strong * stripe * np.clip(depth / 12, 0, 1)
    return np.asarray(np.clip(body + light[..., None], 0, 1), np.float32)


# Soft matter.


def smoke(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """A plume that rises and drifts."""
    x, y = rng.uniform(140, 340), rng.uniform(280, 345)
    up = np.clip((y - Y) / rng.uniform(220, 320), 0, 1)
    drift = rng.uniform(-100, 100) * up**1.4 + 16 * np.sin(7 * up + rng.uniform(0, 6.3)) * up
    core = np.exp(-(((X - x - drift) / (10 + rng.uniform(50, 80) * up)) ** 2)) * (y >= Y)
    alpha = core * (0.5 + 0.8 * clouds(rng, 60)) * (1 - 0.45 * up) * np.clip(up * 12, 0, 1)
    return hazy(rng, ground * np.float32(rng.uniform(0.55, 0.85)), np.minimum(alpha, 0.92))


def fog(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """A bank of fog across the image."""
    middle = rng.uniform(120, 260) + 30 * np.sin(X / rng.uniform(60, 120) + rng.uniform(0, 6.3))
    bank = np.exp(-(np.abs((Y - middle) / rng.uniform(45, 90)) ** 3))
    return hazy(rng, ground, np.clip(bank * (0.45 + 0.6 * clouds(rng, 110)), 0, 0.95))


def hazy(rng: Rng, image: FloatArray, alpha: FloatArray) -> HardScene:
    """A scene with bright grey haze of this opacity."""
    soft = cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 1.5)
    tone = rng.uniform(0.7, 0.95) * (0.9 + 0.2 * clouds(rng, 35))[..., None]
    paint = np.asarray(tone * np.ones(3), np.float32)
    return scene_of(over(image, paint, soft), [soft], DENSE)


def strands(rng: Rng, ground: FloatArray, other: FloatArray) -> HardScene:
    """A shape whose rim is strands, as in `research.matting`."""
    alpha = make_alpha("strands", SCENE_HW, rng)
    return scene_of(over(ground, other, alpha), [alpha], HALF)


Drawing = Callable[[Rng, FloatArray, FloatArray], HardScene]
GROUPS: dict[str, tuple[Drawing, ...]] = {
    "thin": (wires, spokes, mesh),
    "glass": (glass,),
    "soft": (smoke, fog, strands),
}
KINDS: dict[str, Drawing] = {one.__name__: one for some in GROUPS.values() for one in some}


def render(kind: str, number: int, images: Path) -> HardScene:
    """The scene of this kind with this number, on photos of a folder. Raises DataError."""
    paths = sorted_images(images)
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
    pair = [load_image(paths[place]) for place in rng.choice(len(paths), 2, replace=False)]
    ground, other = (covering(one, SCENE_HW).astype(np.float32) / 255 for one in pair)
    return KINDS[kind](rng, ground, other)


@lru_cache(maxsize=4)
def sorted_images(folder: Path) -> tuple[Path, ...]:
    """Photos of a folder, by name. Raises DataError where there are fewer than two."""
    paths = tuple(sorted(list_images(folder))) if folder.is_dir() else ()
    if len(paths) < 2:
        raise DataError(
            f"{folder} holds fewer than two photos. The hard scenes require a folder of photos as "
            "backgrounds. Pass --data DIR, with photos in DIR/unlabelled."
        )
    return paths


def scene_set(
    kind: str, images: Path, count: int = SCENES_A_KIND
) -> tuple[SetInfo, list[AnnotatedImage]]:
    """A dataset of one kind, in memory; `info.folder` is the folder of photos."""
    samples = []
    for number in range(count):
        scene = render(kind, number, images)
        masks = tuple(Mask(mask_to_rle(mask), kind) for mask in scene.masks)
        samples.append(
            AnnotatedImage(
                file_name=f"{kind}/{number}", hw=SCENE_HW, masks=masks, source=scene.image
            )
        )
    info = SetInfo(name=kind, folder=images, domain=kind, source=__name__)
    return info, samples
