"""Rendered scenes that are hard to segment: a kind and a number in, a photo with exact masks out.

    glass         tumblers and bottles that show what is behind them, bent
    smoke         plumes that thin out; a pixel belongs where at least SMOKE of its light is smoke
    mesh          a wire fence in front of an animal: the fence, and what is seen of the animal
    wires         cables two to four pixels wide against the sky, each one a mask
    crowd         dozens of pebbles that cover one another: what is seen of each
    camouflage    an animal that has the pattern of the ground
    low contrast  shapes a few grey levels from their ground, in fog and noise

They share nothing with the scenes that models are trained on here. Each picture is HW pixels; the
same name and place give the same bytes. Letters: H W a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage
from anymask.formats import AnnotatedImage, SetInfo
from anymask.masks import Mask, mask_to_rle
from research.paper.scene_parts import (
    SCENE_HW,
    Corners,
    Field,
    Rng,
    blob,
    clouds,
    colour,
    coverage,
    creature,
    depth_inside,
    inside,
    over,
    picture_of,
    room,
    soft,
    strokes,
    texture,
)

SCENES_A_KIND = 12  # of each kind
SMOKE_DENSITY = 0.35
LEAST_VISIBLE_AREA = 100  # pixels that are seen of a pebble or a wire that is asked for
ROWS, COLUMNS = np.mgrid[: SCENE_HW[0], : SCENE_HW[1]].astype(np.float32)


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A picture (H, W, 3) and its masks, (H, W) each."""

    image: UintImage
    masks: tuple[BoolArray, ...]


def glass(rng: Rng) -> RenderedScene:
    """One to three glasses on a table."""
    picture = room(rng)
    masks: list[BoolArray] = []
    places = rng.permutation(np.linspace(110, 400, 3))[: rng.integers(1, 4)]
    for x in places:
        outline = _vessel(rng, float(x), SCENE_HW[0] * rng.uniform(0.8, 0.93))
        cover = coverage([outline])
        picture = _refract(rng, picture, cover, float(x))
        masks = [mask & ~inside(cover) for mask in masks] + [inside(cover)]
    return RenderedScene(picture_of(picture), tuple(masks))


def _vessel(rng: Rng, x: float, bottom: float) -> Corners:
    """The outline of a tumbler, a bottle or a goblet that stands on `bottom`."""
    tall, wide = rng.uniform(150, 240), rng.uniform(34, 58)
    profiles = (
        ((0, 0.8), (0.02, 0.85), (1, 1)),
        ((0, 1), (0.03, 1.03), (0.6, 1), (0.72, 0.75), (0.8, 0.4), (0.97, 0.36), (1, 0.42)),
        ((0, 0.8), (0.03, 0.75), (0.06, 0.12), (0.42, 0.1), (0.5, 0.6), (0.68, 0.98), (1, 0.85)),
    )
    profile = np.array(profiles[rng.integers(len(profiles))])
    up = np.linspace(0, 1, 60)
    half = wide * np.interp(up, profile[:, 0], profile[:, 1])
    right = np.stack([x + half, bottom - tall * up], axis=1)
    left = np.stack([x - half, bottom - tall * up], axis=1)
    return np.concatenate([right, left[::-1]])


def _refract(rng: Rng, picture: Field, cover: Field, x: float) -> Field:
    """The picture with a glass in it: bent, tinted, a dark and a bright rim, two reflections."""
    mask = inside(cover)
    depth = depth_inside(mask)
    bend = np.exp(-depth / 9) * 26 * np.sign(COLUMNS - x)
    across = x + (COLUMNS - x) * np.float32(0.72) - bend
    bent = cv2.remap(picture, across, ROWS + 4, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    body = np.asarray(bent, np.float32) * (1 - 0.12 * (1 - colour(rng, None, 0.5, 1)))
    rim = np.exp(-(((depth - 2.5) / 1.8) ** 2))[..., None]
    body = body * (1 - 0.4 * rim) + 0.18 * np.exp(-(((depth - 6) / 2.5) ** 2))[..., None]
    half = max(float(np.count_nonzero(mask.any(axis=0))) / 2, 1)
    for place, wide, strong in ((-0.55, 0.09, 0.45), (0.6, 0.05, 0.3)):
        stripe = np.exp(-((((COLUMNS - x) / half - place) / wide) ** 2))
        body = body + strong * (stripe * soft(mask.astype(np.float32), 6) ** 2)[..., None]
    return over(picture, np.asarray(body, np.float32), cover)


def smoke(rng: Rng) -> RenderedScene:
    """A plume that rises and drifts."""
    picture = room(rng) * rng.uniform(0.55, 0.85)
    x, y = rng.uniform(150, 360), rng.uniform(300, 370)
    up = np.clip((y - ROWS) / rng.uniform(230, 330), 0, 1)
    drift = rng.uniform(-110, 110) * up**1.4 + 16 * np.sin(7 * up + rng.uniform(0, 6.3)) * up
    wide = 10 + rng.uniform(55, 85) * up
    core = np.exp(-(((COLUMNS - x - drift) / wide) ** 2)) * (y >= ROWS)
    alpha = core * (0.45 + 0.75 * clouds(rng, 60, 5)) * (1 - 0.45 * up) * np.clip(up * 12, 0, 1)
    alpha = soft(np.clip(alpha * 1.15, 0, 0.92).astype(np.float32), 1.5)
    tone = np.full(3, rng.uniform(0.72, 0.95), np.float32) + rng.normal(0, 0.015, 3)
    shade = (0.85 + 0.3 * clouds(rng, 35))[..., None]
    smoky = over(picture, np.asarray(tone * shade, np.float32), alpha)
    return RenderedScene(picture_of(smoky), (_largest(alpha >= SMOKE_DENSITY),))


def _largest(mask: BoolArray) -> BoolArray:
    """Its largest region."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest: BoolArray = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return largest


def mesh(rng: Rng) -> RenderedScene:
    """A fence of diamonds in front of an animal on grass."""
    hue = rng.uniform(0.2, 0.35)
    picture = texture(rng, colour(rng, hue, 0.4, 0.55), colour(rng, hue, 0.35, 0.28), 24)
    body = coverage(creature(rng, (rng.uniform(190, 320), rng.uniform(160, 220)), 95))
    fur = texture(rng, colour(rng, 0.08, 0.5, 0.7), colour(rng, 0.06, 0.45, 0.4), 12)
    light = (1.15 - 0.5 * ROWS / SCENE_HW[0])[..., None]
    picture = over(picture, np.asarray(fur * light, np.float32), body)
    step, lean = rng.uniform(26, 44), rng.uniform(0.7, 1.3)
    starts = np.arange(-700, 1300, step)
    rows = np.linspace(-20, SCENE_HW[0] + 20, 40)
    wave = 3 * np.sin(rows / step * np.pi)
    lines = [
        np.stack([start + side * (rows * lean + wave) + (side < 0) * SCENE_HW[0], rows], axis=1)
        for side in (-1, 1)
        for start in starts
    ]
    wires = strokes(lines, rng.uniform(2.4, 4.2))
    steel = (rng.uniform(0.45, 0.8) + 0.2 * clouds(rng, 8, 2))[..., None] * np.ones(3, np.float32)
    shadow = np.roll(soft(wires, 1.0), (3, 3), axis=(0, 1))
    picture = over(picture * (1 - 0.3 * shadow[..., None]), np.asarray(steel, np.float32), wires)
    fence = inside(wires)
    return RenderedScene(picture_of(soft(picture, 0.5)), (fence, inside(body) & ~fence))


def wires(rng: Rng) -> RenderedScene:
    """Cables that sag between poles outside the picture, over roofs and sky."""
    sky = (0.95 - 0.35 * ROWS / SCENE_HW[0])[..., None] * colour(
        rng, rng.uniform(0.55, 0.62), 0.75, 1
    )
    picture = over(np.asarray(sky, np.float32), np.ones(3, np.float32), 0.5 * clouds(rng, 120))
    roofs = np.array([(0, 400), *_skyline(rng), (520, 400)], np.float64)
    wall = texture(rng, colour(rng, 0.04, 0.6, 0.5), colour(rng, 0.08, 0.7, 0.3), 10)
    picture = over(picture, wall, coverage([roofs]))
    masks: list[BoolArray] = []
    for _ in range(rng.integers(3, 7)):
        x = np.linspace(-5, SCENE_HW[1] + 5, 200)
        sag = rng.uniform(10, 70) * (1 - ((x - rng.uniform(150, 360)) / 260) ** 2)
        y = rng.uniform(40, 230) + (x - 256) * rng.uniform(-0.3, 0.3) + sag
        cover = strokes([np.stack([x, y], axis=1)], rng.uniform(2, 4))
        paint = np.full(3, rng.uniform(0.08, 0.3), np.float32)
        picture = over(picture, paint, cover)
        masks = [mask & ~inside(cover) for mask in masks] + [inside(cover)]
    seen = tuple(mask for mask in masks if np.count_nonzero(mask) >= LEAST_VISIBLE_AREA)
    return RenderedScene(picture_of(soft(picture, 0.4)), seen)


def _skyline(rng: Rng) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    x = -10.0
    while x < 520:
        wide, high = rng.uniform(40, 110), rng.uniform(240, 360)
        corners += [(x, high), (x + wide / 2, high - rng.uniform(0, 40)), (x + wide, high)]
        x += wide
    return corners


def crowd(rng: Rng) -> RenderedScene:
    """Pebbles of a few like colours, one upon another."""
    hue = float(rng.random())
    picture = texture(rng, colour(rng, hue, 0.7, 0.3), colour(rng, hue, 0.6, 0.15), 10)
    grain = (0.85 + 0.3 * clouds(rng, 7, 2))[..., None]
    masks: list[BoolArray] = []
    size = rng.uniform(26, 40)
    for _ in range(int(11000 / size**1.6) + 14):
        centre = (rng.uniform(10, SCENE_HW[1] - 10), rng.uniform(10, SCENE_HW[0] - 10))
        cover = coverage([blob(rng, centre, size * rng.uniform(0.75, 1.25), 0.18)])
        mask = inside(cover)
        if not mask.any():
            continue
        depth = depth_inside(mask)
        dome = np.sqrt(depth / max(float(depth.max()), 1))
        slope = (centre[0] - COLUMNS + centre[1] - ROWS) / (4 * size)
        light = (0.6 + 0.35 * dome + 0.3 * slope)[..., None]
        tone = colour(rng, hue + rng.normal(0, 0.03), rng.uniform(0.6, 0.8), rng.uniform(0.5, 0.75))
        spots = np.roll(grain, rng.integers(0, 300, 2), axis=(0, 1))
        shadow = np.roll(soft(cover, 4), (5, 5), axis=(0, 1))
        picture = over(picture, np.zeros(3, np.float32), 0.45 * shadow)
        picture = over(picture, np.asarray(tone * light * spots, np.float32), cover)
        masks = [old & ~mask for old in masks] + [mask]
    seen = tuple(mask for mask in masks if np.count_nonzero(mask) >= LEAST_VISIBLE_AREA)
    return RenderedScene(picture_of(picture), seen)


def camouflage(rng: Rng) -> RenderedScene:
    """An animal with the ground's own pattern, a little shaded."""
    first, second = (colour(rng, rng.uniform(0.07, 0.3), 0.55, light) for light in (0.65, 0.3))
    size, stretch = rng.uniform(14, 34), rng.uniform(0.6, 2.0)
    ground = texture(rng, first, second, size, stretch)
    coat = texture(rng, first, second, size, stretch)
    cover = coverage(
        creature(rng, (rng.uniform(190, 320), rng.uniform(140, 220)), rng.uniform(70, 105))
    )
    mask = inside(cover)
    rows = np.flatnonzero(mask.any(axis=1))
    light = 1.1 - 0.22 * np.clip((ROWS - rows[0]) / (rows[-1] - rows[0] + 1), 0, 1)
    edge = 1 - 0.16 * np.exp(-depth_inside(mask) / 2.5)
    paint = np.asarray(coat * (light * edge)[..., None], np.float32)
    return RenderedScene(picture_of(over(ground, paint, cover)), (mask,))


def low_contrast(rng: Rng) -> RenderedScene:
    """One or two shapes that differ from their ground by 5 to 10 levels of 255."""
    tone = colour(rng, None, rng.uniform(0.75, 0.95), rng.uniform(0.4, 0.8))
    slope = (COLUMNS * rng.normal() + ROWS * rng.normal()) / 9000
    picture = np.asarray(tone + (slope + 0.03 * clouds(rng, 150, 2))[..., None], np.float32)
    masks: list[BoolArray] = []
    for x in rng.permutation([150.0, 360.0])[: rng.integers(1, 3)]:
        centre = (x + rng.uniform(-30, 30), rng.uniform(130, 250))
        cover = coverage([blob(rng, centre, rng.uniform(50, 95), 0.35)])
        step = rng.choice((-1, 1)) * rng.uniform(5, 10) / 255
        picture = picture + np.float32(step) * soft(cover, 1.2)[..., None]
        masks.append(inside(cover) & ~(masks[0] if masks else np.zeros(SCENE_HW, np.bool_)))
    noise = 2.2 / 255 * rng.standard_normal((*SCENE_HW, 3), np.float32)
    return RenderedScene(picture_of(np.asarray(picture + noise, np.float32)), tuple(masks))


SCENES: dict[str, Callable[[Rng], RenderedScene]] = {
    "glass": glass,
    "smoke": smoke,
    "mesh": mesh,
    "wires": wires,
    "crowd": crowd,
    "camouflage": camouflage,
    "low contrast": low_contrast,
}


def render(name: str, place: int) -> RenderedScene:
    """The scene of this kind with this number."""
    return SCENES[name](np.random.default_rng([zlib.crc32(name.encode()), place]))


@lru_cache(maxsize=len(SCENES))
def scene_set(name: str, photos: int = SCENES_A_KIND) -> tuple[SetInfo, list[AnnotatedImage]]:
    """A set of rendered scenes, held in memory."""
    samples = []
    for place in range(photos):
        scene = render(name, place)
        samples.append(
            AnnotatedImage(
                file_name=f"{name} {place}",
                hw=SCENE_HW,
                masks=tuple(Mask(mask_to_rle(mask), name) for mask in scene.masks),
                source=scene.image,
            )
        )
    info = SetInfo(
        name=name, folder=Path(), domain=name, licence="rendered", source=__name__, ships=True
    )
    return info, samples
