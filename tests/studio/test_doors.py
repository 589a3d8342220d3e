"""Several doors, one answer: Python, the command line and the server give the same values.

The page sends what is asked of the server here; what it computes itself is compared in
`tests/web/test_one_answer.py`.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import anymask
from anymask.cli.main import main
from anymask.masks import Masks, Rle, coco_to_rle, mask_to_rle, rle_iou, rle_to_coco
from anymask.segment import Model
from anymask.studio import EmbeddingCache
from tests.studio.servers import client, inference

SAME = 0.99  # IoU of masks that differ by the rounding of a runtime
PHOTO = anymask.sample("coffee")
IMAGE = f"data:image/jpeg;base64,{base64.b64encode(PHOTO.read_bytes()).decode()}"
Found = list[tuple[Rle, float]]  # masks with their scores
SPOT = np.zeros((400, 600), bool)
SPOT[80:160, 240:340] = True
# Questions about one or several objects, as keyword arguments of `Model.segment`.
QUESTIONS: dict[str, dict[str, Any]] = {
    "a point": {"points": [(290, 120)]},
    "a point on the background": {"points": [(290, 120), (60, 60)], "point_labels": [1, 0]},
    "a box": {"box": (180, 20, 400, 230)},
    "a box and a point": {"box": (180, 20, 400, 230), "points": [(290, 120)]},
    "a mask and a point": {"mask": SPOT, "points": [(310, 250)]},
    "a scribble": {"scribble": [(250, 100), (290, 130), (330, 120)]},
    "a lasso": {"lasso": [(180, 20), (400, 20), (400, 230), (180, 230)]},
    "two boxes": {"boxes": [(180, 20, 400, 230), (20, 20, 150, 150)]},
    "a part": {"points": [(290, 120)], "granularity": 0.0},
    "one mask": {"points": [(290, 120)], "multimask": False},
    "its own edges": {"points": [(290, 120)], "refine_edges": False},
    "a mirrored image": {"points": [(290, 120)], "mirror": True},
    "a small box in full": {"box": (250, 90, 330, 150), "zoom": False},
    "filled holes": {"points": [(60, 60)], "max_hole_area": 50, "min_island_area": 50},
}
SETTINGS = ("granularity", "multimask", "refine_edges", "mirror", "zoom", "max_hole_area",
            "min_island_area")  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return anymask.load("nano")


@pytest.fixture(scope="module")
def http(model: Model) -> Iterator[TestClient]:
    cache = EmbeddingCache(100_000_000)
    with client(inference(lambda: model, cache=cache)) as started:
        yield started


def run(*words: object) -> None:
    assert main([*map(str, words), "--model", "nano"]) == 0


def posted(http: TestClient, path: str, **body: Any) -> Any:
    reply = http.post(path, json={"image": IMAGE, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()


def of_masks(masks: Masks) -> Found:
    return [(one.rle, one.score) for one in masks]


def of_records(records: list[Any]) -> Found:
    return [(coco_to_rle(one["segmentation"]), one["predicted_iou"]) for one in records]


def of_file(path: str) -> Found:
    return of_records(json.loads(Path(path).read_text())["annotations"])


def words_of(question: dict[str, Any]) -> list[object]:
    """The question as options of the command line."""
    words: list[object] = []
    labels = question.get("point_labels", [1] * 9)
    for (x, y), label in zip(question.get("points", ()), labels, strict=False):
        words += ["--point" if label else "--negative", f"{x},{y}"]
    for box in question.get("boxes", [question["box"]] if "box" in question else []):
        words += ["--box", ",".join(map(str, box))]
    if "mask" in question:
        Image.fromarray(question["mask"]).save("spot.png")
        words += ["--mask", "spot.png"]
    for name in {"scribble", "lasso"} & {*question}:
        line = Path(f"{name}.txt")  # a line is text, or a file with it
        line.write_text(" ".join(f"{x},{y}" for x, y in question[name]))
        words += [f"--{name}", line if name == "scribble" else line.read_text()]
    for name in {*SETTINGS} & {*question}:
        value = question[name]
        said = ("no", "yes")[value] if isinstance(value, bool) else value
        words += [f"--{name.replace('_', '-')}", said]
    return words


def body_of(question: dict[str, Any]) -> dict[str, Any]:
    """The question as JSON of the server."""
    body = {{"point_labels": "labels"}.get(name, name): one for name, one in question.items()}
    return body | ({"mask": rle_to_coco(mask_to_rle(SPOT))} if "mask" in body else {})


def prompts(model: Model, http: TestClient, question: dict[str, Any]) -> list[Found]:
    seen = model.segment(PHOTO, **question)
    answers = posted(http, "/api/segment", **body_of(question))["answers"]
    run("segment", PHOTO, *words_of(question), "-o", "a.json")
    found = of_masks(seen) if isinstance(seen, Masks) else [(seen.best.rle, seen.best.score)]
    over_http = [(coco_to_rle(one["masks"][0]), one["score"][0]) for one in answers]
    return [found, over_http, of_file("a.json")]


def previous(model: Model, http: TestClient) -> list[Found]:
    """The third click after two others, all at once and one after the other."""
    points, labels = [(290, 120), (60, 60), (330, 200)], [1, 0, 1]
    first, number = None, None
    for end in (1, 2, 3):
        first = model.segment(PHOTO, points=points[:end], point_labels=labels[:end], previous=first)
        body = {"points": points[:end], "labels": labels[:end], "previous": number}
        (answer,) = posted(http, "/api/segment", **body)["answers"]
        number = answer["prediction_id"]
    at_once = prompts(model, http, {"points": points, "point_labels": labels})
    return [*at_once, [(first.best.rle, first.best.score)],
            [(coco_to_rle(answer["masks"][0]), answer["score"][0])]]  # fmt: skip


def everything(model: Model, http: TestClient) -> list[Found]:
    run("everything", PHOTO, "--grid", 5, "-o", "a.json")
    found = posted(http, "/api/everything", settings={"grid": 5})["records"]
    return [of_masks(model.everything(PHOTO, grid=5)), of_records(found), of_file("a.json")]


def words(model: Model, http: TestClient) -> list[Found]:
    run("find", PHOTO, "cup", "-o", "a.json")
    found = posted(http, "/api/find", words="cup")["records"]
    return [of_masks(model.find(PHOTO, "cup")), of_records(found), of_file("a.json")]


def outlines(model: Model, http: TestClient) -> list[Found]:
    """GeoJSON, read again."""
    model.segment(PHOTO, points=[(290, 120)]).save("python.geojson")
    run("segment", PHOTO, "--point", "290,120", "-o", "line.geojson")
    found = posted(http, "/api/segment?format=geojson", points=[(290, 120)])
    Path("http.geojson").write_text(json.dumps(found))
    doors = [next(iter(anymask.read(f"{door}.geojson"))) for door in ("python", "line", "http")]
    return [[(one.masks[0].rle, 1.0)] for one in doors]


OTHERS: dict[str, Callable[[Model, TestClient], list[Found]]] = {
    "previous": previous,
    "everything": everything,
    "words": words,
    "outlines": outlines,
}


@pytest.mark.parametrize("name", [*QUESTIONS, *OTHERS])
def test_each_door_gives_the_same_masks(
    model: Model, http: TestClient, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in OTHERS:
        first, *others = OTHERS[name](model, http)
    else:
        first, *others = prompts(model, http, QUESTIONS[name])
    assert first
    for other in others:
        assert len(other) == len(first)
        for (mask, score), (again, rescored) in zip(first, other, strict=True):
            assert rle_iou([mask], [again])[0, 0] >= SAME
            assert rescored == pytest.approx(score, abs=0.01)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), np.int16)


def subject(model: Model, http: TestClient) -> list[np.ndarray]:
    run("cutout", PHOTO, "-o", "a.png")
    reply = http.post("/api/cutout", content=PHOTO.read_bytes())
    python = np.asarray(model.cutout(PHOTO).convert("RGBA"), np.int16)
    return [python, pixels(reply.content), pixels(Path("a.png").read_bytes())]


def subject_on_color(model: Model, http: TestClient) -> list[np.ndarray]:
    run("cutout", PHOTO, "--background", "white", "-o", "a.jpg")
    asked = "/api/cutout?format=jpeg&background=white"
    reply = http.post(asked, content=PHOTO.read_bytes())
    return [pixels(reply.content), pixels(Path("a.jpg").read_bytes())]


def object_cut_out(model: Model, http: TestClient) -> list[np.ndarray]:
    python = np.asarray(model.cutout(PHOTO, box=(180, 20, 400, 230)).convert("RGBA"), np.int16)
    run("cutout", PHOTO, "--box", "180,20,400,230", "-o", "a.png")
    body = {"image": IMAGE, "box": (180, 20, 400, 230)}
    reply = http.post("/api/segment?format=cutout", json=body)
    return [python, pixels(reply.content), pixels(Path("a.png").read_bytes())]


def mask_picture(model: Model, http: TestClient) -> list[np.ndarray]:
    model.segment(PHOTO, box=(180, 20, 400, 230)).save("python.mask.png")
    run("segment", PHOTO, "--box", "180,20,400,230", "-o", "line.mask.png")
    body = {"image": IMAGE, "box": (180, 20, 400, 230)}
    reply = http.post("/api/segment?format=png", json=body)
    files = [Path(f"{door}.mask.png").read_bytes() for door in ("python", "line")]
    return [pixels(data) for data in (*files, reply.content)]


PICTURES: dict[str, Callable[[Model, TestClient], list[np.ndarray]]] = {
    "the subject": subject,
    "the subject on white": subject_on_color,
    "an object": object_cut_out,
    "a mask": mask_picture,
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_door_gives_the_same_pixels(
    model: Model, http: TestClient, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = PICTURES[name](model, http)
    for other in others:
        assert other.shape == first.shape
        assert (np.abs(other - first).max(axis=2) <= 2).mean() > SAME


def test_each_door_gives_the_same_table(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python, the command line, and a conversion of its records."""
    monkeypatch.chdir(tmp_path)
    model.everything(PHOTO, grid=5).save("python.csv")
    run("everything", PHOTO, "--grid", 5, "-o", "line.csv", "-o", "a.json")
    assert main(["convert", "a.json", "converted.csv", "--images", str(PHOTO.parent)]) == 0
    first, *others = (
        list(csv.DictReader(Path(f"{door}.csv").read_text().splitlines()))
        for door in ("python", "line", "converted")
    )
    assert len(first[0]) > 5
    for other in others:
        assert other == first
