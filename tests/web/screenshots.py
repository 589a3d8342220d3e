"""The pictures of docs/get-started/first-project.md, taken in a real Chromium.

python tests/web/screenshots.py [FOLDER [SCENE ...]]
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import anymask
from anymask.masks import mask_to_rle, rle_to_coco
from tests.studio.servers import inference
from tests.track.clips import write_video
from tests.web.chromium import find_chromium
from tests.web.conftest import SIZE, Annotator
from tests.web.project_server import Project, Site, model
from tests.web.test_volume import Reader, noisy_scan
from tests.web.viewers import Viewer, served

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"


def project(**about: Any) -> Project:
    photos = {"astronaut": data.astronaut(), "coffee": data.coffee(), "cat": data.chelsea()}
    labels = ["person", "suit", "helmet", "flag"]
    return Project(photos, labels=labels, guesses={"person": 0.8}, **about)


def record(mask: np.ndarray, score: float, label: str | None) -> dict[str, Any]:
    rle = mask_to_rle(mask)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    box = [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    return {
        "rle": rle_to_coco(rle), "box": [int(v) for v in box], "area": int(mask.sum()),
        "score": score, "label": label, "state": "accepted", "provenance": {},
    }  # fmt: skip


def labelled(shelf: Project) -> Project:
    """A few masks of the astronaut, as boxes make them."""
    photo = shelf.photos["astronaut"]
    for label, box in (
        ("person", (20, 5, 400, 511)),
        ("helmet", (318, 330, 510, 511)),
        ("flag", (0, 0, 128, 400)),
    ):
        answer = model().segment(photo, box=box)
        shelf.add("astronaut", record(answer.masks[0], float(answer.scores[0]), label))
    shelf.queue = ["r2"]
    return shelf


def take(ann: Annotator, name: str, folder: Path) -> None:
    ann.page.wait_for_timeout(600)
    picture = Image.open(io.BytesIO(ann.page.screenshot()))
    picture.convert("RGB").save(folder / f"page-{name}.webp", quality=80, method=6)
    print(folder / f"page-{name}.webp")


def click(ann: Annotator, folder: Path) -> None:
    ann.begin()
    ann.click(210, 130)
    ann.click(390, 60, negative=True)
    take(ann, "click", folder)
    ann.keys("?")
    take(ann, "help", folder)


def everything(ann: Annotator, folder: Path) -> None:
    ann.begin()
    ann.keys("m")
    ann.until_so(lambda: ann.ask("s.editor.state.masks.length") > 1)
    ann.keys("o")
    ann.page.mouse.move(*ann.at(200, 150))
    take(ann, "everything", folder)


def outline(ann: Annotator, folder: Path) -> None:
    ann.begin("s.editor?.state.masks.length", 3)
    ann.ask("s.editor.select(s.editor.state.masks[1].key)")
    ann.keys("g")
    ann.until("!!s.editor.draft.rings")
    take(ann, "outline", folder)


def review(ann: Annotator, folder: Path) -> None:
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
    ann.begin("s.editor !== null")
    ann.keys(">", ">")
    ann.until("s.editor?.sight.page === 20 && !s.opening")
    ann.keys(";")
    ann.until("s.editor?.sight.channel", 1)
    ann.keys("Control+g")
    ann.page.mouse.move(*ann.at(300, 210))
    take(ann, "stack", folder)


def local(ann: Annotator, folder: Path) -> None:
    ann.open("?local=1")
    take(ann, "open", folder)


def moving_photo(path: Path) -> Path:
    """A video: a cat's face drifts behind a post, over a picture of a rocket."""
    rows, columns = np.mgrid[:320, :480]
    ground = np.asarray(Image.fromarray(data.rocket()).resize((480, 320))) // 2 + 40
    face = np.asarray(Image.fromarray(data.chelsea()[30:290, 70:330]).resize((130, 130)))
    pictures = []
    for step in range(16):
        x, y = 90 + 19 * step, 150 + 4 * step
        whole = np.zeros((520, 680, 3), np.uint8)
        whole[y + 35 : y + 165, x + 35 : x + 165] = face
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 62**2
        picture = np.where(disc[..., None], whole[100:420, 100:580], ground)
        picture[:, 220:330] = (96, 74, 58)
        pictures.append(picture.astype(np.uint8))
    return write_video(path, pictures, codec="libx264", pix_fmt="yuv420p")


def draw_box(ann: Viewer, first: tuple[int, int], last: tuple[int, int]) -> None:
    ann.page.mouse.move(*ann.at(*first))
    ann.page.mouse.down()
    ann.page.mouse.move(*ann.at(*last), steps=4)
    ann.page.mouse.up()


def video(browser: Any, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place, served(inference(anymask.load)) as address:
        path = moving_photo(Path(place) / "cat.mp4")
        context = browser.new_context(viewport=SIZE, color_scheme="dark")
        ann = Viewer(context.new_page(), address)
        ann.open()
        ann.watch(path)
        ann.keys("b")
        draw_box(ann, (27, 87), (153, 213))
        ann.until("f.tracks.of(1, 0) !== null && !f.asking")
        ann.page.get_by_label("Class of object 1").fill("cat")
        ann.keys("Enter", "n", "b")
        draw_box(ann, (219, 1), (331, 319))
        ann.until("f.tracks.of(2, 0) !== null && !f.asking")
        ann.page.get_by_label("Class of object 2").fill("post")
        ann.keys("Enter")
        ann.follow()
        ann.keys("1")  # the cat is lost behind the post: corrected on the last frame
        draw_box(ann, (331, 148), (437, 272))
        ann.page.wait_for_timeout(3000)
        take(ann, "video", folder)
        context.close()


def scan(browser: Any, folder: Path) -> None:
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


SCENES: list[tuple[Any, dict[str, Any], str]] = [
    (local, {}, "light"),
    (click, {}, "dark"),
    (everything, {"stage": "semi"}, "light"),
    (outline, {"arm": "control"}, "dark"),
    (review, {"stage": "review"}, "light"),
    (stack, {"arm": "control"}, "dark"),
]


def main(folder: Path, names: Sequence[str] = ()) -> None:
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
                labelled(shelf)
            if scene is stack:
                planes = cells()
                shelf.photos = {"cells": np.repeat(planes[0, 0][..., None], 3, 2)}
                shelf.stacks = {"cells": planes}
            site = Site(None if scene is local else shelf)
            context = browser.new_context(viewport=SIZE, color_scheme=scheme)
            scene(Annotator(context.new_page(), site.url), folder)
            context.close()
            site.close()
        for opened in (video, scan):
            if not names or opened.__name__ in names:
                opened(browser, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER, sys.argv[2:])
