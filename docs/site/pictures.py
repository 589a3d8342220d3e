"""Make the pictures of the guides and of the gallery: docs/images/NAME.webp.

    python -m docs.site.pictures             all pictures, in some minutes
    python -m docs.site.pictures cutout find only these

Each function below is a picture: a row of images with their titles, made by the calls that its page
shows. `docs.site.screenshots` makes the pictures of the labeling page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import anymask
from anymask.edit import redact as redact_pixels
from anymask.masks import draw
from anymask.segment import Model
from demo.demo import BOWL_IN_PAN, pan

Pixels = NDArray[np.uint8]  # (H, W, 3)
Row = list[tuple[Pixels, str]]

IMAGES = Path(__file__).resolve().parents[1] / "images"
CELL = 330  # longest side of an image in a row, in pixels
DOG, BOWL = (0, 222, 430, 534), (485, 135, 662, 264)  # boxes in sample:dog
CUP = (75, 12, 495, 388)  # in sample:coffee
HANDLE = (518, 242, 580, 272)  # in sample:truck


@cache
def model(name: str = "small") -> Model:
    """A bundled model, loaded once."""
    return anymask.load(name)


@cache
def photo(name: str) -> Pixels:
    """A sample image, (H, W, 3)."""
    return anymask.load_image(anymask.sample(name))


def on_squares(cut: Image.Image) -> Pixels:
    """A cut-out on the gray squares that show transparency."""
    rows, columns = np.mgrid[: cut.height, : cut.width] // 12
    squares = np.where((rows + columns) % 2, 255, 224).astype(np.uint8)
    ground = Image.fromarray(squares).convert("RGBA")
    ground.alpha_composite(cut.convert("RGBA"))
    return np.asarray(ground.convert("RGB"))


def rgb(image: Image.Image) -> Pixels:
    """The pixels of an image without alpha."""
    return np.asarray(image.convert("RGB"))


def first_mask() -> Row:
    """A click, its mask and its cut-out."""
    click = model().segment(photo("dog"), points=[(200, 400)])
    cut = model().cutout(photo("dog"), points=[(200, 400)])
    return [
        (draw.marks(photo("dog"), points=[(200, 400)]), "a click"),
        (draw.overlay(photo("dog"), click.masks[:1]), "the mask"),
        (on_squares(cut), "the cut-out"),
    ]


def prompts() -> Row:
    """Points and a box."""
    image = photo("dog")

    def mask_of(**prompt: object) -> Pixels:
        return draw.overlay(image, model().segment(image, **prompt).masks[:1])  # type: ignore[arg-type]  # one kind of prompt each

    leg = mask_of(points=[(730, 120)])
    cup = model().segment(photo("coffee"), points=[(290, 210)]).masks[:1]
    return [
        (draw.marks(leg, points=[(730, 120)]), "a point"),
        (draw.marks(mask_of(box=BOWL), boxes=[BOWL]), "a box"),
        (draw.marks(draw.overlay(photo("coffee"), cup), points=[(290, 210)]), "a point"),
    ]


def everything() -> Row:
    """The objects with a high score, without their parts."""
    masks = model().everything(photo("truck"), granularity="whole", grid=14, score=0.6)
    return [(photo("truck"), "sample:truck"), (masks.draw(), "everything --grid 14 --score 0.6")]


def find() -> Row:
    """Objects with a name."""
    return [(photo("dog"), "sample:dog"), (model().find(photo("dog"), "dog").draw(), "find dog")]


def names() -> Row:
    """The most likely names of a mask."""
    mask = model().segment(photo("dog"), box=DOG)
    best = model().suggest_labels(photo("dog"), mask, top=2)[0]
    title = ", ".join(f"{one.label} {one.probability:.2f}" for one in best)
    return [(photo("dog"), "sample:dog"), (draw.overlay(photo("dog"), mask.masks[:1]), title)]


def prelabel() -> Row:
    """Masks in the boxes of a detector."""
    masks = model().segment(photo("dog"), boxes=[DOG, BOWL])
    return [
        (draw.marks(photo("dog"), boxes=[DOG, BOWL]), "boxes of a detector"),
        (draw.overlay(photo("dog"), masks.masks), "masks"),
    ]


def cutout() -> Row:
    """The main subject, and an object as on a product photo."""
    how = {"box": CUP, "crop": True, "margin": 20, "background": "white", "shadow": True}
    return [
        (photo("coffee"), "sample:coffee"),
        (on_squares(model().cutout(photo("coffee"))), "cutout"),
        (rgb(model().cutout(photo("coffee"), **how)), "cutout --crop --shadow"),  # type: ignore[arg-type]  # of several types
    ]


def redact() -> Row:
    """A head as the region to redact."""
    points = [(330, 320), (200, 450)]
    head = model().segment(photo("dog"), points=points, point_labels=[1, 0]).best
    ways = ("solid", "pixels")
    shown = [(redact_pixels(photo("dog"), head, how=how), f"--how {how}") for how in ways]
    return [(photo("dog"), "sample:dog"), *shown]


def track() -> Row:
    """An object in a video, tracked from a box."""
    frames = pan(photo("dog"), 12)
    with model("nano").track(frames, refine_edges=True) as session:
        session.add(frame=0, id=1, box=BOWL_IN_PAN)
        masks = [frame.objects[1].mask for frame in session]
    return [(draw.overlay(frames[n], [masks[n]]), f"frame {n}") for n in (0, 5, 11)]


def nuclei(step: int, least: int, most: int) -> Pixels:
    """Synthetic nuclei, as bright ellipses on a dark ground, with radii from `least` to `most`."""
    rng, (rows, columns) = np.random.default_rng(5), np.mgrid[:300, :400].astype(float)
    plane = np.full((300, 400), 14.0)
    for y in range(30, 300, step):
        for x in range(30, 400, step + 4):
            v, u = np.array([y, x]) + rng.integers(-9, 10, 2)
            a, b = rng.integers(least, most, 2)
            plane += 150 * (((rows - v) / a) ** 2 + ((columns - u) / b) ** 2 < 1)
    soft = Image.fromarray(plane.clip(0, 255).astype(np.uint8))
    noise = rng.normal(0, 6, plane.shape)
    return np.repeat((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def cells() -> Row:
    """Synthetic nuclei, and their masks."""
    image = nuclei(48, 11, 20)
    found = model("nano-cells").everything(image)
    return [(image, "synthetic nuclei"), (found.draw(), f"nano-cells: {len(found)} masks")]


def roofs() -> Row:
    """The map of the guide, and the roofs that clicks select."""
    ground = np.random.default_rng(0).integers(50, 80, (400, 400, 3)).astype(np.uint8)
    corners = ((60, 60), (250, 80), (90, 260), (280, 290))
    for x, y in corners:
        ground[y : y + 60, x : x + 80] += 140
    clicks = [(x + 40, y + 30) for x, y in corners]
    masks = [model().segment(ground, points=[click]).best.mask for click in clicks]
    return [(draw.marks(ground, points=clicks), "clicks"), (draw.overlay(ground, masks), "roofs")]


def audit() -> Row:
    """An image in which one of two objects is labeled."""
    dog, bowl = model().segment(photo("dog"), boxes=[DOG, BOWL])
    return [
        (draw.overlay(photo("dog"), [dog.mask]), "labels"),
        (draw.overlay(photo("dog"), [dog.mask, bowl.mask]), "a missing object, proposed"),
    ]


def edit() -> Row:
    """Objects blurred and removed, by the plug-in."""
    from anymask_inpaint import blur, remove

    dog, truck = photo("dog"), photo("truck")
    mask = model().segment(dog, points=[(200, 400)]).best
    without = remove(truck, model().segment(truck, box=HANDLE).best)
    door = np.s_[130:400, 400:800]
    return [
        (blur(dog, mask), "edit --blur"),
        (truck[door], "a door of sample:truck"),
        (without[door], "edit --remove"),
    ]


GALLERY: dict[str, Callable[[], Row]] = {
    "first-mask": first_mask, "prompts": prompts, "everything": everything, "find": find,
    "names": names, "prelabel": prelabel, "cutout": cutout, "redact": redact, "track": track,
    "cells": cells, "roofs": roofs, "audit": audit, "edit": edit,
}  # fmt: skip


def main(chosen: list[str]) -> None:
    """Make the chosen pictures, or all."""
    for name in chosen or GALLERY:
        sheet = draw.contact_sheet(row := GALLERY[name](), columns=len(row), cell=CELL)
        path = IMAGES / f"{name}.webp"
        Image.fromarray(sheet).save(path, quality=80, method=6)
        print(path, sheet.shape, f"{path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
