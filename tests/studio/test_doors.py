"""Several doors, one answer: Python, the command line and the server give the same values.

The page sends what is asked of the server here; what it computes itself is compared in
`tests/web/test_one_answer.py`.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
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
from anymask.segment import EmbeddingCache, Model
from anymask.studio import Draft, create_project
from anymask.studio.project_routes import ServedProject
from anymask.studio.records import Provenance
from tests.studio.disc_projects import SIDE, write_images
from tests.studio.servers import client, inference

SAME = 0.99  # IoU of masks that differ by the rounding of a runtime
IMAGE = anymask.sample("coffee")
DATA_URL = f"data:image/jpeg;base64,{base64.b64encode(IMAGE.read_bytes()).decode()}"
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
    reply = http.post(path, json={"image": DATA_URL, **body})
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
    seen = model.segment(IMAGE, **question)
    answers = posted(http, "/api/segment", **body_of(question))["answers"]
    run("segment", IMAGE, *words_of(question), "-o", "a.json")
    found = of_masks(seen) if isinstance(seen, Masks) else [(seen.best.rle, seen.best.score)]
    over_http = [(coco_to_rle(one["masks"][0]), one["score"][0]) for one in answers]
    return [found, over_http, of_file("a.json")]


def previous(model: Model, http: TestClient) -> list[Found]:
    """The third click after two others, all at once and one after the other."""
    points, labels = [(290, 120), (60, 60), (330, 200)], [1, 0, 1]
    first, number = None, None
    for end in (1, 2, 3):
        first = model.segment(IMAGE, points=points[:end], point_labels=labels[:end], previous=first)
        body = {"points": points[:end], "labels": labels[:end], "previous": number}
        (answer,) = posted(http, "/api/segment", **body)["answers"]
        number = answer["prediction_id"]
    at_once = prompts(model, http, {"points": points, "point_labels": labels})
    return [*at_once, [(first.best.rle, first.best.score)],
            [(coco_to_rle(answer["masks"][0]), answer["score"][0])]]  # fmt: skip


def everything(model: Model, http: TestClient) -> list[Found]:
    run("everything", IMAGE, "--grid", 5, "-o", "a.json")
    found = posted(http, "/api/everything", settings={"grid": 5})["records"]
    return [of_masks(model.everything(IMAGE, grid=5)), of_records(found), of_file("a.json")]


def words(model: Model, http: TestClient) -> list[Found]:
    run("find", IMAGE, "cup", "-o", "a.json")
    found = posted(http, "/api/find", words="cup")["records"]
    return [of_masks(model.find(IMAGE, "cup")), of_records(found), of_file("a.json")]


def outlines(model: Model, http: TestClient) -> list[Found]:
    """GeoJSON, read again."""
    model.segment(IMAGE, points=[(290, 120)]).save("python.geojson")
    run("segment", IMAGE, "--point", "290,120", "-o", "line.geojson")
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
    run("cutout", IMAGE, "-o", "a.png")
    reply = http.post("/api/cutout", content=IMAGE.read_bytes())
    python = np.asarray(model.cutout(IMAGE).convert("RGBA"), np.int16)
    return [python, pixels(reply.content), pixels(Path("a.png").read_bytes())]


def subject_on_color(model: Model, http: TestClient) -> list[np.ndarray]:
    run("cutout", IMAGE, "--background", "white", "-o", "a.jpg")
    asked = "/api/cutout?format=jpeg&background=white"
    reply = http.post(asked, content=IMAGE.read_bytes())
    return [pixels(reply.content), pixels(Path("a.jpg").read_bytes())]


def object_cut_out(
    model: Model, http: TestClient, question: Any = QUESTIONS["a box"]
) -> list[np.ndarray]:
    python = np.asarray(model.cutout(IMAGE, **question).convert("RGBA"), np.int16)
    run("cutout", IMAGE, *words_of(question), "-o", "a.png")
    reply = http.post("/api/segment?format=cutout", json={"image": DATA_URL, **body_of(question)})
    return [python, pixels(reply.content), pixels(Path("a.png").read_bytes())]


def less_of_the_subject(model: Model, http: TestClient) -> list[np.ndarray]:
    """A negative click alone takes a part of the saucer from the cup on it."""
    found = object_cut_out(model, http, {"points": [(150, 330)], "point_labels": [0]})
    (whole, *_), less = subject(model, http), found[0][..., 3] > 0
    assert whole[330, 150, 3] > 0
    assert not less[330, 150]
    assert (less & (whole[..., 3] > 0)).sum() > 0.8 * (less | (whole[..., 3] > 0)).sum()
    return found


def mask_image(model: Model, http: TestClient) -> list[np.ndarray]:
    model.segment(IMAGE, box=(180, 20, 400, 230)).save("python.mask.png")
    run("segment", IMAGE, "--box", "180,20,400,230", "-o", "line.mask.png")
    body = {"image": DATA_URL, "box": (180, 20, 400, 230)}
    reply = http.post("/api/segment?format=png", json=body)
    files = [Path(f"{door}.mask.png").read_bytes() for door in ("python", "line")]
    return [pixels(data) for data in (*files, reply.content)]


IMAGES: dict[str, Callable[[Model, TestClient], list[np.ndarray]]] = {
    "the subject": subject,
    "the subject on white": subject_on_color,
    "an object": object_cut_out,
    "less of the subject": less_of_the_subject,
    "a mask": mask_image,
}


@pytest.mark.parametrize("name", IMAGES)
def test_each_door_gives_the_same_pixels(
    model: Model, http: TestClient, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = IMAGES[name](model, http)
    for other in others:
        assert other.shape == first.shape
        assert (np.abs(other - first).max(axis=2) <= 2).mean() > SAME


def test_each_door_gives_the_same_table(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python, the command line, and a conversion of its records."""
    monkeypatch.chdir(tmp_path)
    model.everything(IMAGE, grid=5).save("python.csv")
    run("everything", IMAGE, "--grid", 5, "-o", "line.csv", "-o", "a.json")
    assert main(["convert", "a.json", "converted.csv", "--images", str(IMAGE.parent)]) == 0
    first, *others = (
        list(csv.DictReader(Path(f"{door}.csv").read_text().splitlines()))
        for door in ("python", "line", "converted")
    )
    assert len(first[0]) > 5
    for other in others:
        assert other == first


def test_each_door_places_a_roof_alike(
    model: Model, http: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels at every door, and coordinates where a door writes them; rasterio places both."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra [maps]")
    shapely = pytest.importorskip("shapely", reason="needs the extra [maps]")
    monkeypatch.chdir(tmp_path)
    ground = np.random.default_rng(0).integers(50, 80, (400, 400, 3)).astype(np.uint8)
    ground[80:140, 250:330] += 140
    grid = rasterio.Affine(0.2, 0, 400_000, 0, -0.2, 5_700_000)
    with rasterio.open("map.tif", "w", driver="GTiff", width=400, height=400, count=3,
                       dtype="uint8", crs="EPSG:25832", transform=grid) as file:  # fmt: skip
        file.write(ground.transpose(2, 0, 1))
    run("segment", "map.tif", "--point", "290,110", "-o", "a.geojson", "-o", "a.tif")
    with rasterio.open("a.tif") as file:
        line, (crs, placed) = file.read(1) == 1, (file.crs.to_epsg(), file.transform)
    python = model.segment("map.tif", points=[(290, 110)]).best
    body = {"image": base64.b64encode(Path("map.tif").read_bytes()).decode()}
    reply = http.post("/api/segment", json=body | {"points": [(290, 110)]}).json()
    others = [python.rle, coco_to_rle(reply["answers"][0]["masks"][0])]
    assert rle_iou([mask_to_rle(line)], others).min() >= SAME
    assert (crs, placed) == (25832, grid)
    (feature,) = json.loads(Path("a.geojson").read_text())["features"]
    there = rasterio.warp.transform_geom("EPSG:4326", "EPSG:25832", feature["geometry"])
    roof, box = shapely.geometry.shape(there), shapely.box(400_050, 5_699_972, 400_066, 5_699_984)
    assert roof.intersection(box).area / roof.union(box).area > 0.95
    assert feature["properties"]["area_m2"] == pytest.approx(0.04 * python.area, rel=0.02)


def test_each_door_makes_and_reads_the_same_splits(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project leaves as train and val, and val is read again; the page sends what HTTP has."""
    monkeypatch.chdir(tmp_path)
    square = np.zeros((SIDE, SIDE), np.bool_)
    square[20:60, 30:70] = True
    origin = Provenance(kind="human", tool="brush")
    draft = Draft(rle=mask_to_rle(square), label="block", provenance=origin)
    for folder in ("photos", "other"):
        write_images(Path(folder), 8)
    project = create_project(Path("photos"))
    for image in project.images:
        project.store.add_records(image.id, [draft], "ann", status="done")
    project.export("python", "yolo", images=True, shares=(1, 1))
    words = ["photos", "-o", "line", "--to", "yolo", "--images", "--split", "1/1"]
    assert main(["project", "export", *words]) == 0
    with client(inference(lambda: model), project=ServedProject(project, "ann")) as served:
        body = {"format": "yolo", "images": True, "split": "1/1"}
        archive = served.post("/api/export", json=body).content
    zipfile.ZipFile(io.BytesIO(archive)).extractall("http")
    parts = [
        {split: {path.stem for path in Path(door, "labels", split).iterdir()}
         for split in ("train", "val")}
        for door in ("python", "line", "http")
    ]  # fmt: skip
    assert parts[0] == parts[1] == parts[2]
    held = parts[0]["val"]
    assert held
    assert parts[0]["train"] == {str(number) for number in range(8)} - held

    def names(path: str, **more: Any) -> set[str]:
        return {Path(image.file_name).stem for image in anymask.read(path, **more) if image.masks}

    assert names("python", split="val") == held
    assert main(["convert", "python", "val.json", "--split", "val"]) == 0
    assert names("val.json") == held
    assert main(["project", "import", "other", "python", "--split", "val"]) == 0
    assert main(["project", "export", "other", "-o", "other.json", "--only", "labeled"]) == 0
    assert names("other.json") == held
    run("boxes", "python", "--split", "val", "-o", "boxes")
    assert names("boxes") == held
    run("evaluate", "find", "python", "--split", "val", "--by", "colors", "--json", "find.json")
    assert json.loads(Path("find.json").read_text())["questions"] == len(held)
    for split, count in (("val", len(held)), ("train", 8 - len(held))):
        assert main(["stats", "python", "--split", split, "--json", "stats.json"]) == 0
        assert f'"images": {count}' in json.dumps(json.loads(Path("stats.json").read_text()))
