"""Label Studio's requests: percent in, brush run lengths out, no way to other files or machines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymask.formats import brush_to_rle
from anymask.integrations import TaskPictures
from anymask.masks import rle_to_mask
from anymask.segment import Model
from anymask.studio.errors import Refusal
from anymask.studio.limits import Limits
from tests.segment.fakes import ColourRuntime
from tests.studio.servers import PATIENCE_S, PICTURE, client, inference, png

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
    (tmp_path / "shelf/a.png").write_bytes(png(PICTURE))
    behind = inference()
    place = TaskPictures(tmp_path)
    with client(behind, label_studio=place) as started:
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
    model = Model(ColourRuntime())
    wanted = model.segment(PICTURE, **prompt)
    (found,) = ask(http, regions).json()["results"]
    (region,) = found["result"]
    got = rle_to_mask(brush_to_rle(region["value"]["rle"], (80, 120)))
    np.testing.assert_array_equal(got, wanted.masks[0])
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


def test_without_a_prompt_nothing_is_proposed(http) -> None:
    (found,) = ask(http, []).json()["results"]
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
    for pictures in (TaskPictures(root), TaskPictures(root, "http://127.0.0.1:1")):
        with pytest.raises(Refusal) as refused:
            pictures.read(address, Limits())
        assert refused.value.status_code in (422, 502)


def test_regions_that_are_none_are_refused(http) -> None:
    reply = ask(http, [{"type": "keypointlabels", "value": {"x": "left", "y": 1}}])
    assert reply.status_code == 422
    assert "percent" in reply.json()["error"]["message"]
