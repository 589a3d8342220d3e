"""Label Studio's requests: percent in, brush run lengths out, no way to other files or machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import InputError
from anymask.formats import brush_to_rle
from anymask.masks import rle_to_mask
from anymask.segment import Model
from anymask.studio import Limits, RequestError
from anymask_connect import TaskImages, label_studio_routes
from anymask_connect.commands.label_studio import COMMAND
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import IMAGE, JSON, PATIENCE_S, client, inference, png
from tests.studio.test_schema import compare, described

CONFIG = """<View><Image name="image" value="$photo"/>
<BrushLabels name="tag" toName="image"><Label value="disc"/><Label value="ring"/></BrushLabels>
<KeyPointLabels name="kp" toName="image" smart="true"><Label value="disc"/></KeyPointLabels>
</View>"""
TASK = {"id": 1, "data": {"photo": "/data/local-files/?d=shelf/a.png"}}


def key_point(x: float, y: float, positive: bool = True) -> dict:
    value = {"x": 100 * x / 120, "y": 100 * y / 80, "width": 0.5, "keypointlabels": ["ring"]}
    return {"type": "keypointlabels", "value": value, "is_positive": positive}


def rectangle(x0: float, y0: float, x1: float, y1: float) -> dict:
    value = {"x": 100 * x0 / 120, "y": 100 * y0 / 80, "width": 100 * (x1 - x0) / 120}
    value |= {"height": 100 * (y1 - y0) / 80, "rectanglelabels": ["disc"]}
    return {"type": "rectanglelabels", "value": value}


@pytest.fixture
def http(tmp_path: Path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/a.png").write_bytes(png(IMAGE))
    behind = inference()
    with client(behind, routers=(label_studio_routes(TaskImages(tmp_path)),)) as started:
        behind.model.result(PATIENCE_S)
        yield started


def ask(http, regions: list, **changes: object):
    body = {"tasks": [TASK], "label_config": CONFIG, "params": {"context": {"result": regions}}}
    return http.post("/predict", json=body | changes)


@pytest.mark.parametrize(
    ("regions", "prompt", "label"),
    [
        ([key_point(35, 40)], {"points": [(35, 40)]}, "ring"),
        (
            [key_point(95, 40), key_point(3, 3, False)],
            {"points": [(95, 40), (3, 3)], "point_labels": [1, 0]},
            "ring",
        ),
        ([rectangle(75, 20, 115, 60)], {"box": (75, 20, 115, 60)}, "disc"),
    ],
)
def test_prompts_in_percent_become_a_brush(http, regions, prompt, label) -> None:
    model = Model(ColorRuntime())
    expected = model.segment(IMAGE, **prompt)
    (found,) = ask(http, regions).json()["results"]
    (region,) = found["result"]
    got = rle_to_mask(brush_to_rle(region["value"]["rle"], (80, 120)))
    np.testing.assert_array_equal(got, expected.masks[0])
    assert region["value"]["brushlabels"] == [label]
    assert (region["from_name"], region["to_name"]) == ("tag", "image")
    assert (region["original_width"], region["original_height"]) == (120, 80)
    assert found["model_version"] == "anymask-fake-colour"


def test_a_mask_has_a_label_that_the_brush_has(http) -> None:
    """Label Studio shows no region whose label its control does not know."""
    other = key_point(35, 40)
    other["value"]["keypointlabels"] = ["point of a disc"]
    (found,) = ask(http, [other]).json()["results"]
    assert found["result"][0]["value"]["brushlabels"] == ["disc"]


@pytest.mark.parametrize("regions", [[], [{"type": ["x"]}], [{"type": {}, "value": 1}]])
def test_without_a_prompt_nothing_is_proposed(http, regions) -> None:
    (found,) = ask(http, regions).json()["results"]
    assert found["result"] == []


def test_the_other_addresses_answer(http) -> None:
    reply = http.post("/setup", json={"project": "1", "schema": CONFIG})
    assert reply.json() == {"model_version": "anymask-fake-colour"}
    assert http.get("/health").status_code == 200
    assert http.get("/versions").json()["versions"] == ["anymask-fake-colour"]
    for path in ("/train", "/webhook"):
        assert http.post(path, json={"action": "ANNOTATION_CREATED"}).json()["status"] == "ok"


@pytest.mark.parametrize(
    "config", ["", "<View/>", "<View><!DOCTYPE x></View>", '<!ENTITY a "b"><View/>']
)
def test_a_configuration_without_a_brush_is_refused(http, config: str) -> None:
    reply = http.post("/setup", json={"schema": config})
    assert reply.status_code == 422
    assert "BrushLabels" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=../secret.png", "../secret.png", "/etc/passwd", "file:///etc/passwd",
        "http://169.254.169.254/latest", "https://evil.example/a.png", "link.png",
    ],
)  # fmt: skip
def test_pictures_elsewhere_are_not_read(tmp_path: Path, address: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for images in (TaskImages(root), TaskImages(root, "http://127.0.0.1:1")):
        with pytest.raises(RequestError) as refused:
            images.read(address, Limits())
        assert refused.value.status_code in (422, 502)


def test_regions_that_are_none_are_refused(http) -> None:
    reply = ask(http, [{"type": "keypointlabels", "value": {"x": "left", "y": 1}}])
    assert reply.status_code == 422
    assert "percent" in reply.json()["error"]["message"]


# What makes no sense.


def predict_body(**changes: Any) -> dict[str, Any]:
    point = {"type": "keypointlabels", "value": {"x": 30, "y": 50, "keypointlabels": ["disc"]}}
    plain = {"tasks": [TASK], "label_config": CONFIG, "params": {"context": {"result": [point]}}}
    return plain | changes


def photo(address: str) -> dict[str, Any]:
    return {"tasks": [{"data": {"photo": address}}]}


def region(**value: Any) -> dict[str, Any]:
    return {"params": {"context": {"result": [{"type": "keypointlabels"} | value]}}}


@pytest.mark.parametrize(
    "change",
    [
        {"params": 7}, {"params": {"context": 7}}, {"params": {"context": {"result": [None]}}},
        {"params": {"context": {"result": [7]}}}, {"params": {"context": {"result": 7}}},
        {"tasks": [None]}, {"tasks": 7}, {"tasks": [{}]}, {"label_config": 7},
        {"label_config": "<View>\ud800</View>"},
        region(), region(value=None), region(value=7), region(value={"x": 10**400, "y": 1}),
        photo("a" * 5000), photo("a\0b"), photo("http://[::1"), photo("data:,%%%"), photo(""),
        {"tasks": [{"data": {}}]},
    ],
    ids=lambda change: repr(change)[:60],
)  # fmt: skip
def test_a_question_of_label_studio_that_makes_no_sense_is_refused(
    http, change: dict[str, Any]
) -> None:
    assert http.post("/predict", json=predict_body()).status_code == 200
    content = json.dumps(predict_body(**change))
    reply = http.post("/predict", content=content, headers=JSON)
    assert reply.status_code in (400, 413, 415, 422), reply.text
    for schema in (None, 7, ["x"], "\ud800"):
        content = json.dumps({"schema": schema})
        assert http.post("/setup", content=content, headers=JSON).status_code == 422


def test_a_region_with_labels_of_another_kind_has_the_brushs_first(http) -> None:
    odd = region(value={"x": 30, "y": 50, "keypointlabels": 7})
    (found,) = http.post("/predict", json=predict_body(**odd)).json()["results"]
    assert found["result"][0]["value"]["brushlabels"] == ["disc"]


def test_no_key_is_shown() -> None:
    assert "a-secret" not in repr(TaskImages(key="a-secret"))


# The description of the addresses.

ADDRESSES = {"/predict": "POST", "/setup": "POST", "/train": "POST", "/versions": "GET"}
ADDRESSES |= {"/webhook": "POST"}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    routes = label_studio_routes(TaskImages(tmp_path_factory.mktemp("photos")))
    with described(routers=(routes,)) as found:
        yield found


@pytest.mark.filterwarnings("ignore::Warning")  # of what schemathesis imports
@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("wrong", [False, True], ids=["allowed", "not allowed"])
def test_the_addresses_answer_as_the_schema_says(schema: Any, path: str, wrong: bool) -> None:
    operation = schema.raw_schema["paths"][path][ADDRESSES[path].lower()]
    assert operation["tags"]
    assert 10 < len(operation["summary"]) < 110
    if "requestBody" in operation or not wrong:
        compare(schema[path][ADDRESSES[path]], wrong, examples=8)


@pytest.mark.parametrize("path", ["/predict", "/setup"])
def test_the_examples_of_the_description_are_answered(http, path: str) -> None:
    document = http.get("/openapi.json").json()
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    (example,) = document["components"]["schemas"][name]["examples"]
    assert http.post(path, json=example).status_code == 200


# The command.


def test_the_command_serves_the_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(anymask, "serve", lambda model, **words: given.update(words, model=model))
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a-key")
    words = ["--images", str(tmp_path), "--port", "9090", "--model", "nano"]
    COMMAND.execute(COMMAND.parser("x").parse_args(["http://127.0.0.1:8080", *words]))
    assert (given["model"], given["port"]) == ("nano", 9090)
    (routes,) = given["routers"]
    assert {route.path for route in routes.routes} == set(ADDRESSES)


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "Pass the URL of Label Studio, --images DIR, or both"),
     (["--images", "absent"], "absent is not a folder of images")],
)  # fmt: skip
def test_the_command_wants_a_place_of_the_images(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        COMMAND.execute(COMMAND.parser("x").parse_args(words))
