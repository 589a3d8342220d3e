"""Made clips with exact truth: cut-outs of the bundled samples that move over another sample.

    python -m research.made_clips PHOTOS FOLDER --seed 7

writes ten clips of one object, FOLDER/NAME/images and masks: the subject of a photo of PHOTOS turns
and grows over another photo, alone, with its double, behind a pillar, or on spoked wheels.

Each scene is a function of the frame number, so that frames are drawn on demand and a clip of any
length takes constant memory. Sprites are drawn in order; a later one hides an earlier one.

Letters: H W a frame, h w a sprite. Positions are x, y of a sprite's centre in pixels.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np
from PIL import Image

import anymask
from anymask.base import BoolArray, FloatArray, UintImage
from anymask.edit.subject import main_subject
from anymask.images import list_images

HW = (180, 240)
FRAMES = 60
VISIBLE = 0.35  # minimum visible share of a sprite that must be tracked
Path = Callable[[int], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A cut-out with a path.

    Attributes:
        colors: Pixels (h, w, 3).
        alpha: Share of the object in each pixel (h, w).
        path: Function from the frame number to the centre.
        number: Number of the object. 0: scenery, which is no object of the truth.
        pose: Function from the frame number to an angle in degrees and a scale.
    """

    colors: UintImage
    alpha: FloatArray
    path: Path
    number: int
    pose: Path = lambda frame: (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class MadeScene:
    """A clip as a function of the frame number.

    Attributes:
        grounds: First frame of a shot to its background (H, W, 3).
        sprites: First frame of a shot to its sprites, in drawing order.
    """

    name: str
    grounds: Mapping[int, UintImage]
    sprites: Mapping[int, tuple[Sprite, ...]]
    frames: int = FRAMES
    _held: dict[int, tuple[UintImage, dict[int, BoolArray], set[int]]] = field(
        default_factory=dict, repr=False
    )

    def image(self, frame: int) -> UintImage:  # (H, W, 3)
        """One frame."""
        return self._draw(frame)[0]

    def masks(self, frame: int) -> dict[int, BoolArray]:
        """Visible pixels of each object that is in the frame."""
        return self._draw(frame)[1]

    def optional(self, frame: int) -> set[int]:
        """Objects of which less than `VISIBLE` is visible: neither required nor wrong."""
        return self._draw(frame)[2]

    def _draw(self, frame: int) -> tuple[UintImage, dict[int, BoolArray], set[int]]:
        if frame not in self._held:
            self._held.clear()  # one frame is kept
            self._held[frame] = self._drawn(frame)
        return self._held[frame]

    def _drawn(self, frame: int) -> tuple[UintImage, dict[int, BoolArray], set[int]]:
        shot = max(first for first in self.grounds if first <= frame)
        drawn, masks, whole = self.grounds[shot].astype(np.float32), dict[int, BoolArray](), {}
        for sprite in self.sprites[shot]:
            (h, w), (x, y) = sprite.alpha.shape, sprite.path(frame)
            middle = (w - 1) / 2, (h - 1) / 2
            matrix = cv2.getRotationMatrix2D(middle, *sprite.pose(frame))
            matrix[:, 2] += (x - middle[0], y - middle[1])
            size = (drawn.shape[1], drawn.shape[0])
            alpha = cv2.warpAffine(sprite.alpha, matrix, size)
            layer = cv2.warpAffine(sprite.colors, matrix, size)
            drawn += alpha[..., None] * (layer - drawn)
            mask = np.asarray(alpha > 0.5)
            masks = {number: one & ~mask for number, one in masks.items()}
            if sprite.number:
                masks[sprite.number] = mask | masks.get(sprite.number, False)
                whole[sprite.number] = int((sprite.alpha > 0.5).sum())
        masks = {number: one for number, one in masks.items() if one.any()}
        noise = np.random.default_rng(frame).normal(0, 2, drawn.shape)
        optional = {number for number, one in masks.items() if one.sum() < VISIBLE * whole[number]}
        return (drawn + noise).clip(0, 255).astype(np.uint8), masks, optional


def ground(name: str, hw: tuple[int, int] = HW) -> UintImage:  # (H, W, 3)
    """A bundled sample that fills the frame."""
    image = anymask.load_image(anymask.sample(name))
    scale = max(hw[0] / image.shape[0], hw[1] / image.shape[1])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    wide = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return wide[: hw[0], : hw[1]]


def textured(shape: str, side: int, hue: int, seed: int) -> tuple[UintImage, FloatArray]:
    """A disc, a box or a star with stripes and grain; `hue` of OpenCV, 0 to 179."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    stripes = 40 * np.sin((rows * (1 + seed % 3) + 2 * columns) * 2 * np.pi / (side / 3))
    grain = cv2.resize(rng.normal(0, 25, (side // 4, side // 4)), (side, side))
    color = np.stack(
        [np.full((side, side), hue), np.full((side, side), 190), 170 + stripes + grain]
    )
    hsv = np.moveaxis(color, 0, -1).clip(0, 255).astype(np.uint8)
    alpha, middle = np.zeros((side, side), np.float32), (side - 1) / 2
    if shape == "disc":
        cv2.circle(alpha, (side // 2, side // 2), side // 2 - 2, (1,), -1, cv2.LINE_AA)
    elif shape == "box":
        alpha[2:-2, side // 6 : -side // 6] = 1
    else:
        turns = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, 0.55, 1.0) * (middle - 1)
        corners = np.stack([middle + reach * np.sin(turns), middle - reach * np.cos(turns)], 1)
        cv2.fillPoly(alpha, [corners.round().astype(np.int32)], (1,), cv2.LINE_AA)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8), alpha


def subject(image: UintImage, mask: BoolArray, height: int) -> tuple[UintImage, FloatArray]:
    """The object of a mask as a cut-out of this height."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colors, alpha = image[window], mask[window].astype(np.float32)
    size = (max(1, round(colors.shape[1] * height / colors.shape[0])), height)
    return (
        np.asarray(cv2.resize(colors, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32),
    )


def line(start: tuple[float, float], step: tuple[float, float], begin: int = 0) -> Path:
    """A straight path from `start` on frame `begin`."""
    return lambda frame: (
        start[0] + step[0] * (frame - begin), start[1] + step[1] * (frame - begin),
    )  # fmt: skip


def swing(middle: tuple[float, float], reach: tuple[float, float], period: float) -> Path:
    """A path to and fro."""

    def place(frame: int) -> tuple[float, float]:
        turn = 2 * np.pi * frame / period
        return (
            float(middle[0] + reach[0] * np.sin(turn)),
            float(middle[1] + reach[1] * np.sin(1.7 * turn)),
        )

    return place


def scenes() -> list[MadeScene]:
    """Crossing objects, exit and return, a pillar in front, a late entry, and a change of shot."""
    disc, box, star = (
        textured(shape, side, hue, seed)
        for seed, (shape, side, hue) in enumerate(
            (("disc", 56, 60), ("box", 60, 120), ("star", 64, 25))
        )
    )
    pillar = np.repeat(np.repeat(np.array([[[92, 88, 84]]], np.uint8), 220, 0), 40, 1)
    stand = Sprite(pillar, np.ones((220, 40), np.float32), lambda frame: (130.0, 90.0), 0)
    rocket, coffee, cat = ground("rocket"), ground("coffee"), ground("cat")
    crossing = (
        Sprite(*disc, line((40, 70), (2.7, 0.5)), 1),
        Sprite(*star, line((205, 110), (-2.7, -0.5)), 2),
    )
    leaving = (
        Sprite(*disc, swing((190, 60), (95, 8), 54), 1), Sprite(*box, line((70, 120), (0.3, 0)), 2),
    )  # fmt: skip
    passing = (Sprite(*star, line((45, 90), (2.8, 0.1)), 1), stand)
    entering = (
        Sprite(*box, line((60, 70), (0.5, 0.3)), 1),
        Sprite(*disc, line((280, 120), (-3.3, 0), 15), 2),
    )
    before, after = (Sprite(*disc, line((60, 70), (2.0, 0.7)), 1),), (
        Sprite(*star, line((180, 100), (-2.0, -0.3), 30), 2),
    )  # fmt: skip
    return [
        MadeScene("crossing", {0: rocket}, {0: crossing}),
        MadeScene("leaving", {0: coffee}, {0: leaving}),
        MadeScene("pillar", {0: rocket}, {0: passing}),
        MadeScene("entering", {0: coffee}, {0: entering}),
        MadeScene("shots", {0: rocket, 30: cat}, {0: before, 30: after}),
    ]


# Clips from photos.

WILD_HW = (240, 320)
KINDS = ("alone", "double", "pillar", "wheels")


def wild_scene(
    name: str, rng: np.random.Generator, thing: tuple[UintImage, FloatArray], photo: UintImage
) -> MadeScene:
    """A cut-out over a photo; the name ends with one of `KINDS`."""
    (high, wide), h = WILD_HW, thing[1].shape[0]
    middle, empty = (wide / 2, high / 2), np.zeros((*WILD_HW, 3), np.uint8)
    spread, solid = rng.uniform((-25, -0.4), (25, 0.4)), np.ones(photo.shape[:2], np.float32)
    place = swing(middle, (rng.uniform(50, 110), rng.uniform(10, 40)), rng.uniform(40, 90))
    waves = swing((0, 0), (spread[0], spread[1]), rng.uniform(30, 80))
    pan = swing(middle, (0.1 * wide, 0.1 * high), rng.uniform(60, 160))
    size = 1.3 * max(high / photo.shape[0], wide / photo.shape[1])
    angle, rate = rng.uniform(0, 360), rng.uniform(4, 16)

    def pose(frame: int) -> tuple[float, float]:
        return waves(frame)[0], float(np.exp(waves(frame)[1]))

    def axle(frame: int, offset: complex) -> tuple[float, float]:
        turn, scale = pose(frame)
        offset *= scale * np.exp(-1j * np.radians(turn))
        return place(frame)[0] + offset.real, place(frame)[1] + offset.imag

    sprites = [
        Sprite(photo, solid, pan, 0, lambda frame: (0.0, size)),
        Sprite(*thing, place, 1, pose),
    ]
    if name.endswith("double"):
        way = swing(middle, (-rng.uniform(50, 110), 30), rng.uniform(40, 90))
        sprites.insert(1, Sprite(thing[0][:, ::-1].copy(), thing[1][:, ::-1].copy(), way, 0))
    elif name.endswith("pillar"):
        post = np.full((high, 36, 3), rng.integers(40, 200, 3), np.uint8)
        sprites.append(Sprite(post, np.ones((high, 36), np.float32), line(middle, (0, 0)), 0))
    elif name.endswith("wheels"):
        wheel = textured("disc", 48, int(rng.integers(180)), int(rng.integers(1000)))[0] // 2
        rim = cv2.circle(np.zeros((48, 48), np.float32), (24, 24), 21, (1,), 3, cv2.LINE_AA)
        for spoke in 21 * np.exp(1j * np.arange(3) * np.pi / 3).view(np.float64).reshape(3, 2):
            cv2.line(rim, (24 - spoke).astype(int), (24 + spoke).astype(int), (1,), 2, cv2.LINE_AA)
        sprites += [
            Sprite(
                wheel, rim, partial(axle, offset=h * complex(0.5 * side, 0.45)), 1,
                lambda frame: (angle + rate * frame, 0.016 * h * pose(frame)[1]),
            )
            for side in (-1, 1)
        ]  # fmt: skip
    return MadeScene(name, {0: empty}, {0: tuple(sprites)}, 50)


def main() -> None:
    """Write clips, for `anymask evaluate videos`."""
    parser = argparse.ArgumentParser(description="Write clips of one object with exact masks.")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    rng, model = np.random.default_rng(args.seed), anymask.load("small")
    files = list_images(args.photos)
    photos = (anymask.load_image(files[n]) for n in rng.permutation(len(files)))
    for number in range(10):
        name, mask = f"{number:02d}-{KINDS[number % len(KINDS)]}", None
        while mask is None:
            mask = main_subject(model, photo := next(photos))
        thing = subject(photo, mask.mask, int(rng.integers(60, 110)))
        scene = wild_scene(name, rng, thing, next(photos))
        for frame in range(scene.frames):
            truth = scene.masks(frame).get(1, np.zeros(WILD_HW, np.bool_))
            for kind, drawn in (("images", scene.image(frame)), ("masks", truth)):
                file = args.folder / name / kind / f"{frame:05d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(drawn).save(file)


if __name__ == "__main__":
    main()
