"""Segment three photos with the bundled model: one click, one box, a cut-out, every object.

    python demo/demo.py --out out/demo                    three photos from scikit-image
    python demo/demo.py --out out/demo --photo mine.jpg   your photo: click and box in its center

Writes one image per photo and prompt, and a contact sheet of the prompts.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import anymask
from anymask.base import AnymaskError
from anymask.images import load_image
from anymask.masks import draw
from anymask.segment import GridDict, Model, Prediction

Picture = NDArray[np.uint8]

LARGEST = 1600  # the longest side of a user's photo here, in pixels; the model itself takes any
GRID = GridDict(grid=14)
CELL = 320  # the longest side of a picture on the contact sheet, in pixels


@dataclass(frozen=True)
class Scene:
    """A photo and what to ask of it, in its own pixels."""

    name: str
    image: Picture  # (H, W, 3)
    click: tuple[float, float]  # x, y
    box: tuple[float, float, float, float]  # x0, y0, x1, y1


def shipped_scenes() -> list[Scene]:
    """Three photos that scikit-image carries inside its wheel (CC0 and public domain)."""
    from skimage import data

    return [
        Scene("coffee", data.coffee(), (290, 210), (75, 12, 495, 388)),
        Scene("astronaut", data.astronaut(), (230, 100), (275, 335, 512, 512)),
        Scene("cat", data.chelsea(), (225, 150), (2, 2, 400, 298)),
    ]


def own_scene(path: Path) -> Scene:
    """A click in the middle of the user's photo, and a box around its middle half."""
    image = shrunk(load_image(path))
    height, width = image.shape[:2]
    box = (width / 4, height / 4, 3 * width / 4, 3 * height / 4)
    return Scene(path.stem, image, (width / 2, height / 2), box)


def shrunk(image: Picture) -> Picture:
    """A large photo made smaller, so that a hundred of its masks fit on the screen."""
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST, LARGEST))
    return np.asarray(picture)


def panels(model: Model, scene: Scene) -> tuple[list[tuple[Picture, str]], list[float]]:
    """The scene's images with their titles, and the milliseconds of each step.

    Clicks and boxes get the photo, not an embedding, so that edges are refined.
    """
    ticks = [time.perf_counter()]
    model.encode(scene.image)
    ticks.append(time.perf_counter())
    click = model.segment(scene.image, points=[scene.click])
    ticks.append(time.perf_counter())
    box = model.segment(scene.image, box=scene.box)
    ticks.append(time.perf_counter())
    records = model.everything(scene.image, **GRID)
    ticks.append(time.perf_counter())
    cutout = model.cutout(scene.image, points=[scene.click], background="white")
    everything = [record.mask for record in records]

    def shown(answer: Prediction) -> Picture:
        return draw.overlay(scene.image, answer.masks[:1])

    pictures = [
        (draw.marks(shown(click), points=[scene.click]), "one click"),
        (draw.marks(shown(box), boxes=[scene.box]), "one box"),
        (np.asarray(cutout.convert("RGB")), "cut-out"),
        (draw.overlay(scene.image, everything, alpha=0.55), f"everything: {len(records)} masks"),
    ]
    return pictures, [1000 * (after - before) for before, after in pairwise(ticks)]


def write(path: Path, picture: Picture) -> None:
    """Write a JPEG."""
    Image.fromarray(picture).save(path, quality=85)


def main() -> int:
    """Run the demo; 0 when the contact sheet is written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write into")
    parser.add_argument("--photo", type=Path, action="append", help="your photo; may be repeated")
    args = parser.parse_args()

    began = time.perf_counter()
    model = anymask.load()
    print(f"{model.spec.name} loaded in {1000 * (time.perf_counter() - began):.0f} ms")
    scenes = [own_scene(path) for path in args.photo] if args.photo else shipped_scenes()

    args.out.mkdir(parents=True, exist_ok=True)
    sheet: list[tuple[Picture, str]] = []
    print(f"{'photo':<12}{'size':>11}{'embed':>9}{'click':>9}{'box':>9}{'everything':>12}  (ms)")
    for scene in scenes:
        pictures, times = panels(model, scene)
        height, width = scene.image.shape[:2]
        figures = "".join(f"{ms:>{wide}.0f}" for ms, wide in zip(times, (9, 9, 9, 12), strict=True))
        print(f"{scene.name:<12}{f'{width}x{height}':>11}{figures}")
        for picture, title in pictures:
            write(args.out / f"{scene.name}-{title.split(':')[0].replace(' ', '-')}.jpg", picture)
            if not title.startswith("everything"):
                sheet.append((picture, f"{scene.name}: {title}"))
    write(args.out / "sheet.jpg", draw.contact_sheet(sheet, columns=3, cell=CELL))
    print(f"pictures: {args.out}/*.jpg; all on one sheet: {args.out / 'sheet.jpg'}")
    print(f"done in {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AnymaskError as error:
        print(f"anymask: error: {error}", file=sys.stderr)
        sys.exit(2)
