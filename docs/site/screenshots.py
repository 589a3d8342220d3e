"""Make the pictures of the labeling page and the README's animation, in a real Chromium.

python -m docs.site.screenshots                    docs/images/page-*.webp and demo.webp
python -m docs.site.screenshots FOLDER click demo  two of them, in another folder
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

import anymask
from anymask.masks import mask_to_rle, rle_to_coco
from demo.demo import BOWL_IN_PAN, pan
from docs.site.pictures import BOWL, DOG, model, nuclei, photo
from tests.studio.servers import inference
from tests.track.clips import write_video
from tests.web.chromium import find_chromium
from tests.web.conftest import SIZE, Annotator
from tests.web.project_server import Project, Site
from tests.web.test_annotate import annotate
from tests.web.test_volume import Reader, noisy_scan
from tests.web.viewers import Viewer, served

FOLDER = Path(__file__).resolve().parents[1] / "images"
NAMES = "dog", "truck", "coffee"  # sample images, in the order of the project
MILLISECONDS = 130  # of a frame of the animation


def project(**about: Any) -> Project:
    """A project with sample images."""
    images = {name: anymask.load_image(anymask.sample(name)) for name in NAMES}
    return Project(images, labels=["dog", "bowl", "person"], guesses={"dog": 0.9}, **about)


def record(mask: np.ndarray, score: float, label: str | None) -> dict[str, Any]:
    """A mask as the project stores it."""
    rle = mask_to_rle(mask)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    box = [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    return {
        "rle": rle_to_coco(rle), "box": [int(v) for v in box], "area": int(mask.sum()),
        "score": score, "label": label, "state": "accepted", "provenance": {},
    }  # fmt: skip


def labeled(shelf: Project) -> Project:
    """A few masks of the dog's image, as boxes make them."""
    for label, box in (("dog", DOG), ("bowl", BOWL)):
        answer = model().segment(shelf.images["dog"], box=box)
        shelf.add("dog", record(answer.masks[0], float(answer.scores[0]), label))
    shelf.queue = ["r2"]
    return shelf


def take(ann: Annotator, name: str, folder: Path) -> None:
    """Write a picture of the page."""
    ann.page.wait_for_timeout(600)
    image = Image.open(io.BytesIO(ann.page.screenshot()))
    image.convert("RGB").save(folder / f"page-{name}.webp", quality=80, method=6)
    print(folder / f"page-{name}.webp")


def click(ann: Annotator, folder: Path) -> None:
    """A click on the object and one beside it."""
    ann.begin()
    ann.click(200, 400)
    ann.click(570, 200, negative=True)
    take(ann, "click", folder)


def everything(ann: Annotator, folder: Path) -> None:
    """Proposed masks of the whole image."""
    ann.begin()
    ann.keys("m")
    ann.until_so(lambda: ann.ask("s.editor.state.masks.length") > 1)
    ann.keys("o")
    ann.page.mouse.move(*ann.at(200, 150))
    take(ann, "everything", folder)


def outline(ann: Annotator, folder: Path) -> None:
    """The corners of a mask."""
    ann.begin("s.editor?.state.masks.length", 2)
    ann.ask("s.editor.select(s.editor.state.masks[1].key)")
    ann.keys("g")
    ann.until("!!s.editor.draft.rings")
    take(ann, "outline", folder)


def review(ann: Annotator, folder: Path) -> None:
    """A mask to review."""
    ann.begin("s.review?.item.record", "r2")
    ann.seen()
    take(ann, "review", folder)


def cells() -> np.ndarray:  # (Z, C, H, W)
    """Blurred discs in five depths and two dyes."""
    rng, (rows, columns) = np.random.default_rng(1), np.mgrid[:400, :520]
    stack = rng.normal(8, 2, (5, 2, 400, 520))
    for number in range(40):
        y, x, radius = rng.integers(20, 380), rng.integers(20, 500), rng.integers(6, 14)
        disc = 240 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius**2))
        near = np.exp(-np.abs(np.arange(5) - rng.integers(0, 5)))
        stack[:, number % 2] += near[:, None, None] * disc
    return stack.clip(0, 255).astype(np.uint8)


def stack(ann: Annotator, folder: Path) -> None:
    """One channel of a page of a stack."""
    ann.begin("s.editor !== null")
    ann.keys(">", ">")
    ann.until("s.editor?.sight.page === 20 && !s.opening")
    ann.keys(";")
    ann.until("s.editor?.sight.channel", 1)
    ann.keys("Control+g")
    ann.page.mouse.move(*ann.at(300, 210))
    take(ann, "stack", folder)


def write_pan(path: Path) -> Path:
    """Write the camera pan as a video."""
    return write_video(path, pan(photo("dog"), 8), codec="libx264", pix_fmt="yuv420p")


def draw_box(ann: Viewer, first: tuple[int, int], last: tuple[int, int]) -> None:
    """Drag a box."""
    ann.page.mouse.move(*ann.at(*first))
    ann.page.mouse.down()
    ann.page.mouse.move(*ann.at(*last), steps=4)
    ann.page.mouse.up()


def video(browser: Any, folder: Path) -> None:
    """A tracked object."""
    with tempfile.TemporaryDirectory() as place, served(inference(anymask.load)) as address:
        path = write_pan(Path(place) / "dog.mp4")
        context = browser.new_context(viewport=SIZE, color_scheme="dark")
        ann = Viewer(context.new_page(), address)
        ann.open()
        ann.watch(path)
        ann.keys("b")
        draw_box(ann, BOWL_IN_PAN[:2], BOWL_IN_PAN[2:])
        ann.until("f.tracks.of(1, 0) !== null && !f.asking")
        ann.page.get_by_label("Class of object 1").fill("bowl")
        ann.keys("Enter")
        ann.follow()
        ann.page.wait_for_timeout(3000)
        take(ann, "video", folder)
        context.close()


def scan(browser: Any, folder: Path) -> None:
    """A tracked object in three planes."""
    with tempfile.TemporaryDirectory() as place, served(inference(anymask.load)) as address:
        context = browser.new_context(viewport=SIZE, color_scheme="light")
        ann = Reader(context.new_page(), address)
        ann.open()
        ann.read(noisy_scan(Path(place) / "scan.nii.gz"))
        for name, value in (("Level", "110"), ("Width", "220")):
            ann.page.get_by_label(name, exact=True).fill(value)
            ann.page.get_by_label(name, exact=True).press("Enter")
        ann.until("f.scan.shown.join()", "110,220")
        ann.ready()
        ann.say(34, 40)
        ann.say(60, 70, negative=True)
        ann.page.get_by_label("Class of object 1").fill("lesion")
        ann.keys("Enter")
        ann.follow()
        ann.ready()
        take(ann, "scan", folder)
        context.close()


CURSOR = """() => {
    const arrow = document.createElement("div");
    arrow.innerHTML = '<svg width="26" height="30" viewBox="0 0 20 23">'
        + '<path d="M2 2v16l4-4 3 7 3-1-3-7h6z" fill="#fff" stroke="#000"/></svg>';
    arrow.style.cssText = "position:fixed;left:0;top:0;z-index:99999;pointer-events:none";
    document.body.append(arrow);
    addEventListener("mousemove", (event) => {
        arrow.style.transform = `translate(${event.clientX - 3}px, ${event.clientY - 3}px)`;
    }, true);
}"""


class Video:
    """Frames of the page, with a pointer and a line of text."""

    def __init__(self, ann: Annotator) -> None:
        self.ann = ann
        self.frames: list[Image.Image] = []
        self.times: list[int] = []
        self.text = ""
        ann.page.evaluate(CURSOR)

    def shoot(self, times: int = 1) -> None:
        """Add a frame that is shown for several times the usual duration."""
        frame = Image.open(io.BytesIO(self.ann.page.screenshot())).convert("RGB")
        self.add(frame.resize((960, 540), Image.Resampling.LANCZOS), times)

    def add(self, frame: Image.Image, times: int) -> None:
        """Add a frame with the text in its lower left corner."""
        pen, font = ImageDraw.Draw(frame), ImageFont.load_default(size=22)
        left, top, right, bottom = pen.textbbox((28, 496), self.text, font)
        pen.rounded_rectangle((left - 10, top - 8, right + 10, bottom + 8), 8, "#111")
        pen.text((28, 496), self.text, "#fff", font)
        self.frames.append(frame)
        self.times.append(times * MILLISECONDS)

    def move(self, start: tuple[float, float], end: tuple[float, float], steps: int = 6) -> None:
        """Move the pointer along a line on the image, one frame for each step."""
        for part in np.linspace(0, 1, steps):
            place = np.array(start) * (1 - part) + np.array(end) * part
            self.ann.page.mouse.move(*self.ann.at(*place))
            self.ann.page.wait_for_timeout(700)
            self.shoot()


def demo(browser: Any, folder: Path) -> None:
    """The README's animation: hover, click, correction and cut-out with `anymask annotate`."""
    os.environ.pop("ANYMASK_MODEL", None)
    with tempfile.TemporaryDirectory() as place:
        for name in NAMES:
            shutil.copy(anymask.sample(name), place)
        with annotate(Path(place), "--label", "dog") as address:
            context = browser.new_context(viewport=SIZE, color_scheme="light")
            ann = Annotator(context.new_page(), address)
            ann.open()
            ann.page.wait_for_timeout(1500)
            ann.ask("s.open(s.images.find(i => i.name.startsWith('dog')).id)")
            ann.page.wait_for_timeout(1500)
            ann.seen()
            video = Video(ann)
            video.text = "Hover: preview the mask"
            video.move((715, 150), (730, 120), 3)
            video.move((330, 340), (200, 400), 5)
            video.text = "Click: select the object"
            ann.click(200, 400)
            ann.page.wait_for_timeout(2500)
            video.shoot(8)
            video.text = "Shift + click: remove a part"
            ann.page.mouse.move(*ann.at(320, 300))
            video.shoot(4)
            ann.click(320, 300, negative=True)
            ann.page.wait_for_timeout(2500)
            video.shoot(9)
            video.text = "Ctrl + Z: undo"
            ann.keys("Control+z")
            ann.page.wait_for_timeout(2500)
            video.shoot(7)
            video.text = "Enter: keep the mask"
            ann.keys("1", "Enter")
            ann.page.wait_for_timeout(1500)
            video.shoot(8)
            context.close()
    image = anymask.load().cutout(anymask.sample("dog"), points=[(200, 400)])
    ground = Image.new("RGB", (960, 540), "#cfe8d5")
    image = image.resize((809, 540))
    ground.paste(image, (75, 0), image)
    video.text = "The cut-out"
    video.add(ground, 16)
    first, *others = video.frames
    path = folder / "demo.webp"
    first.save(path, save_all=True, append_images=others, duration=video.times, loop=0, quality=70,
               method=6)  # fmt: skip
    print(path, len(video.frames), f"frames, {path.stat().st_size // 1000} kB")


SCENES: list[tuple[Any, dict[str, Any], str]] = [
    (click, {}, "dark"),
    (everything, {"stage": "semi"}, "light"),
    (outline, {"arm": "control"}, "dark"),
    (review, {"stage": "review"}, "light"),
    (stack, {"arm": "control"}, "dark"),
]


def main(folder: Path, names: Sequence[str] = ()) -> None:
    """Make the chosen pictures, or all."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["ANYMASK_MODEL"] = "nano"  # the page decodes with the bundled files of nano
    chromium = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scene, about, scheme in SCENES:
            if names and scene.__name__ not in names:
                continue
            shelf = project(**about)
            if scene in (outline, review):
                labeled(shelf)
            if scene is everything:
                shelf.images = {"cells": nuclei(71, 18, 26)}
                shelf.labels = ["cell"]
            if scene is stack:
                planes = cells()
                shelf.images = {"cells": np.repeat(planes[0, 0][..., None], 3, 2)}
                shelf.stacks = {"cells": planes}
            site = Site(shelf)
            context = browser.new_context(viewport=SIZE, color_scheme=scheme)
            scene(Annotator(context.new_page(), site.url), folder)
            context.close()
            site.close()
        for opened in (video, scan, demo):
            if not names or opened.__name__ in names:
                opened(browser, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER, sys.argv[2:])
