"""Segment three images with the bundled models: one click, one box, a cut-out and all objects.

    python demo/demo.py --out out/demo                    sample images of the package
    python demo/demo.py --out out/demo --image mine.jpg   your image; click and box at its center

Writes the results for each image, and a contact sheet. Also tracks an object through a short clip.
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
from anymask.segment import Model, Prediction

Pixels = NDArray[np.uint8]

LARGEST = 1600  # longest side of an image of the user, in pixels; the model supports any size
BOWL_IN_PAN = 235, 95, 412, 224  # box in the first frame of `pan`
CELL = 440  # longest side of an image on the contact sheet, in pixels


@dataclass(frozen=True)
class Scene:
    """An image with a click and a box in pixels."""

    name: str
    image: Pixels  # (H, W, 3)
    click: tuple[float, float]  # x, y
    box: tuple[float, float, float, float]  # x0, y0, x1, y1


def shipped_scenes() -> list[Scene]:
    """Three sample images of the package."""
    return [
        Scene("dog", load_image(anymask.sample("dog")), (200, 400), (485, 135, 662, 264)),
        Scene("coffee", load_image(anymask.sample("coffee")), (290, 210), (75, 12, 495, 388)),
        Scene("truck", load_image(anymask.sample("truck")), (240, 225), (242, 356, 362, 478)),
    ]


def own_scene(path: Path) -> Scene:
    """An image of the user, with a click at its center and a box around its central half."""
    image = shrunk(load_image(path))
    height, width = image.shape[:2]
    box = (width / 4, height / 4, 3 * width / 4, 3 * height / 4)
    return Scene(path.stem, image, (width / 2, height / 2), box)


def shrunk(image: Pixels) -> Pixels:
    """Reduce the size of a large image."""
    smaller = Image.fromarray(image)
    smaller.thumbnail((LARGEST, LARGEST))
    return np.asarray(smaller)


def panels(model: Model, scene: Scene) -> tuple[list[tuple[Pixels, str]], list[float]]:
    """The scene's images with their titles, and the milliseconds of each step.

    The first prompt on an image encodes it, the next ones only decode.
    """
    ticks = [time.perf_counter()]
    model.segment(scene.image, points=[scene.click])
    ticks.append(time.perf_counter())
    click = model.segment(scene.image, points=[scene.click])
    ticks.append(time.perf_counter())
    box = model.segment(scene.image, box=scene.box)
    ticks.append(time.perf_counter())
    records = model.everything(scene.image, granularity="whole", grid=14, score=0.6)
    ticks.append(time.perf_counter())
    cutout = model.cutout(scene.image, points=[scene.click], background="white")
    everything = [record.mask for record in records]

    def shown(answer: Prediction) -> Pixels:
        return draw.overlay(scene.image, answer.masks[:1])

    images = [
        (draw.marks(shown(click), points=[scene.click]), "one click"),
        (draw.marks(shown(box), boxes=[scene.box]), "one box"),
        (np.asarray(cutout.convert("RGB")), "cut-out"),
        (draw.overlay(scene.image, everything, alpha=0.55), f"everything: {len(records)} masks"),
    ]
    return images, [1000 * (after - before) for before, after in pairwise(ticks)]


def pan(image: Pixels, count: int) -> list[Pixels]:
    """Frames of a camera pan over the image of the dog and its bowl."""
    return [image[40 + 2 * n : 340 + 2 * n, 250 + 5 * n : 750 + 5 * n] for n in range(count)]


def track_panels() -> list[tuple[Pixels, str]]:
    """The bowl in three frames of a camera pan over the image, tracked from a box."""
    frames = pan(load_image(anymask.sample("dog")), 12)
    with anymask.load("nano").track(frames, refine_edges=True) as session:
        session.add(frame=0, id=1, box=BOWL_IN_PAN)
        masks = [frame.objects[1].mask for frame in session]
    return [(draw.overlay(frames[n], [masks[n]]), f"track: frame {n}") for n in (0, 5, 11)]


def write(path: Path, image: Pixels) -> None:
    """Write a JPEG."""
    Image.fromarray(image).save(path, quality=85)


def main() -> int:
    """Run the demo; 0 when the contact sheet is written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="output folder")
    parser.add_argument(
        "--image",
        type=Path,
        action="append",
        help="image to use instead of the sample images; repeat the option for several",
    )
    args = parser.parse_args()

    began = time.perf_counter()
    model = anymask.load()
    print(f"{model.spec.name} loaded in {1000 * (time.perf_counter() - began):.0f} ms")
    scenes = [own_scene(path) for path in args.image] if args.image else shipped_scenes()

    args.out.mkdir(parents=True, exist_ok=True)
    sheet: list[tuple[Pixels, str]] = []
    steps = "encode + prompt", "prompt", "box", "everything"
    print(f"{'image':<12}{'size':>9}" + "".join(f"{step:>17}" for step in steps) + "  (ms)")
    for scene in scenes:
        images, times = panels(model, scene)
        height, width = scene.image.shape[:2]
        figures = "".join(f"{ms:>17.0f}" for ms in times)
        print(f"{scene.name:<12}{f'{width}x{height}':>9}{figures}")
        for image, title in images:
            write(args.out / f"{scene.name}-{title.split(':')[0].replace(' ', '-')}.jpg", image)
        if args.image or scene is not scenes[-1]:  # the last sample shows all objects only
            sheet += [(scene.image, scene.name), *images[:3]]
    sheet += images[3:] if args.image else [*images[3:], *track_panels()]
    write(args.out / "sheet.jpg", draw.contact_sheet(sheet, columns=4, cell=CELL))
    print(f"Images: {args.out}/*.jpg. Contact sheet: {args.out / 'sheet.jpg'}")
    print(f"Finished in {time.perf_counter() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AnymaskError as error:
        print(f"anymask: error: {error}", file=sys.stderr)
        sys.exit(2)
