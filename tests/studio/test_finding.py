"""Finding behind the server and in the data engine: names, no doubles, going on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import anymask
from anymask.base import UintImage
from anymask.masks import Rle, coco_to_rle, mask_to_rle, rle_iou
from anymask.segment import Model
from anymask.studio import Draft, create_project
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from tests.patience import PATIENCE_S
from tests.segment.fakes import NamingRuntime
from tests.studio.servers import client, error_of, inference, png

SIDE, LONG = 80, 36
RED, GREEN = (4, 4), (40, 40)  # the upper left corners of a red and of a green square


def image_of(number: int = 0) -> UintImage:
    """A red and a green square on blue, a little darker in each."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[..., 2] = 230
    for channel, (y, x) in enumerate((RED, GREEN)):
        image[y : y + LONG, x : x + LONG] = np.eye(3)[channel] * 230
    return image - 2 * (image > 0).astype(np.uint8) * np.uint8(number)


def square(corner: tuple[int, int]) -> Rle:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[corner[0] : corner[0] + LONG, corner[1] : corner[1] + LONG] = True
    return mask_to_rle(mask)


def overlap(a: Rle, b: Rle) -> float:
    return float(rle_iou([a], [b])[0, 0])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for number in range(3):
        Image.fromarray(image_of(number)).save(tmp_path / f"{number}.png")
    return create_project(tmp_path, labels=["red"])


@pytest.fixture
def model() -> Model:
    return Model(NamingRuntime())


@pytest.fixture
def ask(project: Project) -> Iterator[TestClient]:
    behind = inference(lambda: Model(NamingRuntime()))
    with client(behind, project=ServedProject(project, "ann")) as started:
        yield started


def found(project: Project, image: int | None = None) -> list[tuple[int, str | None, str]]:
    return [(one.image_id, one.label, one.state) for one in project.masks(image)]


# The model's address.


def test_the_server_finds_what_python_finds(ask: TestClient, model: Model) -> None:
    image = image_of()
    body = {
        "image": base64.b64encode(png(image)).decode(),
        "words": {"red": "lamp", "green": "pea"},
    }
    records = ask.post("/api/find", json=body).json()["records"]
    expected = model.find(image, {"red": "lamp", "green": "pea"})
    assert {one.label for one in expected} == {"lamp", "pea"}
    assert records == json.loads(json.dumps(expected.to_sa1b()))
    assert ask.post("/api/find?format=svg", json=body).text.count("<path") == len(expected)
    seen = ask.post("/api/encode", content=png(image)).headers["x-image-hash"]
    assert ask.post("/api/find", json=body | {"image": seen}).json()["records"] == records
    known = ask.get("/api/names").json()
    assert known == {"names": ["red", "green", "blue"], "detector": None}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"words": "reed"}, "reed"),
        ({}, "neither"),
        ({"words": "red", "like": [{"point": [1, 1]}]}, "both"),
        ({"like": [{"point": [1, 1], "box": [1, 1, 9, 9]}]}, "An exemplar must be a record"),
        ({"like": [{"record": 9}]}, "no record 9"),
        ({"words": "red", "score": 7}, "score"),
        ({"words": "red", "label": "cup"}, "require an exemplar"),
    ],
)
def test_what_is_no_question_is_told(ask: TestClient, body: dict[str, Any], told: str) -> None:
    reply = ask.post("/api/images/1/find", json=body)
    assert 400 <= reply.status_code < 500
    assert told in str(reply.json()["error"]), reply.text


def test_a_server_without_a_project_knows_no_numbers() -> None:
    with client(inference(lambda: Model(NamingRuntime()))) as alone:
        body = {"image": "0" * 32, "like": [{"record": 1}]}
        assert "no project" in error_of(alone.post("/api/find", json=body))


# In a photo of the project.


def test_finds_are_proposals_and_nothing_is_doubled(ask: TestClient, project: Project) -> None:
    answer = ask.post("/api/images/1/find", json={"words": "red, green"}).json()
    assert sorted(one["label"] for one in answer["records"]) == ["green", "red"]
    assert {one["state"] for one in answer["records"]} == {"proposed"}
    assert {one["provenance"]["tool"] for one in answer["records"]} == {"find"}
    again = ask.post("/api/images/1/find", json={"words": "red, green"}).json()
    assert again == {"records": [], "existing": 2}
    # The class green comes when one is accepted.
    assert ([one.name for one in project.labels.all()], len(project.masks())) == (["red"], 2)


def test_names_without_training_images_are_told(project: Project) -> None:
    runtime = NamingRuntime()
    runtime.table.learned[1] = False
    with client(inference(lambda: Model(runtime)), project=ServedProject(project, "ann")) as ask:
        assert ask.post("/api/images/1/find", json={"words": "green, red"}).json()["untrained"] == [
            runtime.table.words[1]
        ]
        assert "untrained" not in ask.post("/api/images/1/find", json={"words": "red"}).json()
        ask.post("/api/search", json={"words": "green"})
        assert "Names without training images: green" in finished(ask)["why"]


def test_a_proposal_without_a_name_gets_it_and_a_rejected_find_stays_away(
    ask: TestClient, project: Project
) -> None:
    nameless = Draft(rle=square(RED), state="proposed", score=0.5)
    no_pea = Draft(rle=square(GREEN), state="rejected", label="pea")
    (first, _) = project.store.add_records(1, [nameless, no_pea], "ann")
    words = {"red": "lamp", "green": "pea"}
    (named,) = ask.post("/api/images/1/find", json={"words": words}).json()["records"]
    assert (named["id"], named["label"], named["version"]) == (str(first.id), "lamp", 2)
    assert found(project) == [(1, "lamp", "proposed"), (1, "pea", "rejected")]
    other = ask.post("/api/images/1/find", json={"words": {"green": "ball"}}).json()
    assert [one["label"] for one in other["records"]] == ["ball"]  # it was rejected as a pea only


def test_an_example_of_the_project_names_what_is_like_it(project: Project) -> None:
    """With the bundled model: a cat is like itself."""
    cat = anymask.load_image(anymask.sample("cat"))[::2, ::2]
    Image.fromarray(cat).save(project.folder / "cat.png")
    project.add_folder()
    nano = anymask.load()
    mask = nano.segment(cat, points=[(100, 75)]).best
    (kept,) = project.store.add_records(4, [Draft(rle=mask.rle, label="cat")], "ann")
    with client(inference(lambda: nano), project=ServedProject(project, "ann")) as ask:
        answer = ask.post("/api/images/4/find", json={"like": [{"record": kept.id}]}).json()
        assert answer["existing"] == 1  # the example itself
        assert {one["label"] for one in answer["records"]} <= {"cat"}
        ask.delete(f"/api/records/{kept.id}", headers={"If-Match": "*"})
        body = {"like": [{"point": [100, 75]}], "label": "puss"}
        pusses = ask.post("/api/images/4/find", json=body).json()["records"]
    assert {one["label"] for one in pusses} == {"puss"}
    assert max(overlap(coco_to_rle(one["rle"]), mask.rle) for one in pusses) > 0.9


# In all photos.


def finished(ask: TestClient) -> dict[str, Any]:
    for _ in range(int(50 * PATIENCE_S)):
        told: dict[str, Any] = ask.get("/api/search").json()
        if told["state"] != "running":
            return told
    raise AssertionError(told)


def test_all_photos_are_searched_behind_the_server(ask: TestClient, project: Project) -> None:
    assert ask.get("/api/search").json()["state"] == "none"
    project.store.mark_image(2, "done", "ann")
    begun = ask.post("/api/search", json={"words": "red"}).json()
    assert begun["state"] in ("running", "done")
    told = finished(ask)
    assert (told["state"], told["done"], told["total"], told["found"]) == ("done", 2, 2, 2)
    assert told["question"]["words"] == "red"
    assert found(project) == [(1, "red", "proposed"), (3, "red", "proposed")]  # 2 is finished
    with client(inference(), project=ServedProject(project, "ann")) as replace:  # another server
        assert replace.get("/api/search").json() == told


def test_words_that_are_not_known_end_the_search(ask: TestClient) -> None:
    ask.post("/api/search", json={"words": "gren"})
    told = finished(ask)
    assert told["state"] == "failed"
    assert "Unknown names: 'gren'" in told["why"]
    assert "detector=" not in told["why"]  # no Python in the page


def test_a_stopped_search_goes_on_and_one_goes_at_a_time(project: Project) -> None:
    from tests.studio.servers import GatedRuntime

    class Gated(GatedRuntime, NamingRuntime):
        def __init__(self) -> None:
            GatedRuntime.__init__(self)
            NamingRuntime.__init__(self)

    gated = Gated()
    with client(inference(lambda: Model(gated)), project=ServedProject(project, "ann")) as ask:
        ask.post("/api/search", json={"words": "red"})
        assert gated.entered.acquire(timeout=PATIENCE_S)  # it looks at the first photo
        assert "already running" in ask.post("/api/search", json={"words": "green"}).text
        ask.app.state.search._left.set()  # type: ignore[attr-defined]  # it stops at the next piece
        for _ in range(1000):
            gated.go_on.release()
        assert ask.delete("/api/search").json()["state"] == "stopped"
        assert found(project) == []
        ask.post("/api/search", json={"words": "red"})
        assert finished(ask)["done"] == 3


# The data engine.


def test_the_engine_proposes_with_names_and_goes_on(project: Project, model: Model) -> None:
    first = next(iter(project.find(model, {"red": "lamp"})))
    assert (first.image_id, [one.label for one in first.records]) == (1, ["lamp"])
    rest = [one.image_id for one in project.find(model, {"red": "lamp"})]
    assert rest == [2, 3]
    assert [*project.find(model, {"red": "lamp"})] == []
    assert [one.status for one in project.images] == ["proposed"] * 3
    assert [len(one.records) for one in project.find(model, "red, green")] == [1, 1, 1]
    assert {one.label for one in project.masks()} == {"lamp", "green"}  # lamps are there


def test_of_two_searches_that_look_at_the_same_photo_one_is_kept(
    project: Project, model: Model
) -> None:
    one, other = (project.find(model, "red") for _ in range(2))
    next(one), next(other)
    assert [len(each.records) for each in (*one, *other)] == [0, 1, 0]
    assert len(project.masks()) == 3
