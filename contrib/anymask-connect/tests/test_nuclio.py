"""The function for nuclio between nuclio (its Python SDK) and CVAT (what its lambda manager reads).

nuclio unpacks a request into an Event and packs what the handler returns; CVAT makes a tool of the
function's annotations, sends picture and prompts, and its page draws the reply's rows.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import nuclio_sdk
import numpy as np
import pytest
import yaml

from anymask.segment import Model
from anymask_connect import CvatModel, shape_to_mask
from tests.scripts import loaded_script
from tests.segment.fakes import ColorRuntime, iou
from tests.studio.servers import IMAGE, LEFT, RIGHT, png

HW = IMAGE.shape[:2]
MODEL = CvatModel(Model(ColorRuntime()))
IMAGE_BASE64 = base64.b64encode(png(IMAGE)).decode()

# nuclio-sdk 0.6 calls what Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(__file__).parents[1] / "nuclio"


@pytest.fixture(scope="module")
def main(folder: Path) -> Iterator[Any]:
    with loaded_script(folder / "main.py", "nuclio_main") as module:
        yield module


class Worker:
    """A worker of nuclio's Python runtime with our function."""

    def __init__(self, main: Any) -> None:
        self.main = main
        self.context = nuclio_sdk.Context(worker_id=0)
        main.init_context(self.context)

    def call(self, body: bytes, content_type: str = "application/json") -> dict[str, Any]:
        """What nuclio answers to an HTTP request."""
        message: dict[bytes, Any] = dict.fromkeys(
            (b"fields", b"id", b"shard_id", b"num_shards", b"type", b"type_version", b"version")
        )
        message |= {
            b"body": body, b"content_type": content_type.encode(), b"headers": {}, b"path": b"/",
            b"method": b"POST", b"size": len(body), b"timestamp": 1_700_000_000, b"url": b"/",
            b"trigger": {b"kind": b"http", b"name": b"myHttpTrigger"},
        }  # fmt: skip
        event = nuclio_sdk.Event.deserialize(message)
        found = self.main.handler(self.context, event)
        answer: dict[str, Any] = nuclio_sdk.Response.from_entrypoint_output(json.dumps, found)
        return answer

    def ask(self, **prompts: Any) -> Any:
        """What CVAT's page gets for a picture and prompts, as its lambda manager sends them."""
        payload = {
            "image": IMAGE_BASE64,
            "pos_points": [],
            "neg_points": [],
            "obj_bbox": None,
        } | prompts
        answer = self.call(json.dumps(payload).encode())
        assert answer["status_code"] == 200, answer["body"]
        assert answer["content_type"] == "application/json"
        return json.loads(answer["body"])


@pytest.fixture
def worker(main: Any, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(main.anymask, "load", lambda: MODEL.model)
    return Worker(main)


def drawn_by_the_page(reply: Any) -> np.ndarray:
    """CVAT's page: the reply's rows as one list, its runs from background on, the whole box."""
    rows = reply["mask"]
    values = [value for row in rows for value in row]
    runs = [len(list(group)) for _, group in itertools.groupby(values)]
    if values[0] > 0:
        runs.insert(0, 0)
    return shape_to_mask("mask", [*runs, 0, 0, len(rows[0]) - 1, len(rows) - 1], HW)


@pytest.mark.parametrize(
    ("prompts", "own", "disc"),
    [
        ({"pos_points": [[35, 40]]}, ([(35, 40)], [], None), LEFT),
        ({"pos_points": [[95, 40]], "neg_points": [[3, 3]]}, ([(95, 40)], [(3, 3)], None), RIGHT),
        ({"obj_bbox": [[75, 20], [115, 60]]}, ([], [], [75, 20, 115, 60]), RIGHT),
        (
            {"pos_points": [[95.5, 40.25]], "obj_bbox": [[75, 20], [115, 60]]},
            ([(95.5, 40.25)], [], [75, 20, 115, 60]),
            RIGHT,
        ),
    ],
)
def test_clicks_and_boxes_are_drawn_as_the_model_s_mask(
    worker: Worker, prompts: dict[str, Any], own: tuple[Any, Any, Any], disc: np.ndarray
) -> None:
    reply = worker.ask(**prompts)
    expected = MODEL.interact(MODEL.preprocess(IMAGE), *own)
    assert expected is not None
    mask = drawn_by_the_page(reply)
    np.testing.assert_array_equal(mask, shape_to_mask("mask", expected.mask, HW))
    assert iou(mask, disc) > 0.8
    assert {value for row in reply["mask"] for value in row} == {0, 255}


def test_an_empty_mask_has_the_picture_s_size(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODEL, "interact", lambda *_: None)
    monkeypatch.setattr(worker.context.user_data, "model", MODEL)
    rows = np.array(worker.ask(pos_points=[[1, 1]])["mask"])
    assert rows.shape == HW
    assert not rows.any()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (json.dumps({"image": "bm9uZQ==", "pos_points": [[35, 40]]}), "not a supported image"),
        (
            json.dumps({"image": IMAGE_BASE64, "pos_points": [], "neg_points": []}),
            "The prompt is empty",
        ),
        (json.dumps({"pos_points": [[35, 40]]}), "Expected JSON with image"),
        (json.dumps({"image": None}), "Expected JSON with image"),
        (json.dumps([1]), "Expected JSON with image"),
        ("{", "Expected JSON with image"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(
    worker: Worker, body: str, message: str
) -> None:
    answer = worker.call(body.encode())
    assert answer["status_code"] == 400
    assert message in json.loads(answer["body"])["error"]


def test_a_body_that_nuclio_leaves_alone_is_read(worker: Worker) -> None:
    body = json.dumps({"image": IMAGE_BASE64, "pos_points": [[35, 40]]}).encode()
    answer = worker.call(body, "text/plain")
    assert json.loads(answer["body"]) == worker.ask(pos_points=[[35, 40]])


def test_the_shipped_model_starts_a_worker(main: Any) -> None:
    assert Worker(main).ask(pos_points=[[35, 40]])["mask"]


# function.yaml


@pytest.fixture(scope="module")
def function(folder: Path) -> dict[str, Any]:
    """function.yaml as nuclio keeps it: its annotations are a map from string to string."""
    document: dict[str, Any] = yaml.safe_load((folder / "function.yaml").read_text("utf-8"))
    notes = document["metadata"]["annotations"]
    for key, value in notes.items():
        notes[key] = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return document


def test_cvat_makes_an_interactor_of_it(function: dict[str, Any]) -> None:
    """The fields of cvat/apps/lambda_manager: numbers by int(), labels by JSON, flags by bool().

    Any text but the empty one is a true flag there, "false" as well.
    """
    notes = function["metadata"]["annotations"]
    assert notes["type"] == "interactor"
    assert json.loads(notes["spec"] or "[]") == []  # an interactor has no labels
    assert int(notes["version"]) == 2  # of the request: a box comes apart from the points
    assert (int(notes["min_pos_points"]), int(notes["min_neg_points"])) == (0, 0)
    assert bool(notes["startswith_box_optional"])
    assert notes["startswith_box_optional"] == "true"
    assert "startswith_box" not in notes  # else no click without a box
    assert notes["name"]
    assert notes["help_message"]
    assert function["spec"]["description"]
    assert function["metadata"]["namespace"] == "cvat"


def test_the_page_sends_a_box_without_a_click(function: dict[str, Any]) -> None:
    """It waits for as many positive points as the function wants at least; a box is none."""
    assert int(function["metadata"]["annotations"]["min_pos_points"]) == 0


def test_nuclio_finds_what_it_builds_and_calls(function: dict[str, Any], main: Any) -> None:
    spec = function["spec"]
    module, handler = spec["handler"].split(":")
    assert module == "main"
    assert callable(getattr(main, handler))
    assert callable(main.init_context)
    assert spec["runtime"] in {f"python:3.{minor}" for minor in (9, 10, 11, 12)}
    least = metadata("anymask")["Requires-Python"].removeprefix(">=3.")
    assert int(spec["runtime"].removeprefix("python:3.")) >= int(least)
    assert spec["build"]["baseImage"].startswith(spec["runtime"])
    (trigger,) = spec["triggers"].values()
    assert trigger["kind"] == "http"
    assert trigger["attributes"]["maxRequestBodySize"] >= 32 << 20  # a photo as base64
    assert function["metadata"]["name"].replace("-", "").isalnum()


def test_it_installs_this_plug_in(function: dict[str, Any]) -> None:
    (directive,) = function["spec"]["build"]["directives"]["preCopy"]
    assert directive["kind"] == "RUN"
    assert directive["value"].split()[-1] == "anymask-connect"
