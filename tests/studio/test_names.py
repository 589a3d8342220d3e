"""Masks are named over HTTP as Python names them, one request's worth at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import anymask
from anymask.base import ImageError
from anymask.images import load_image
from anymask.masks import coco_to_rle, mask_to_rle, rle_to_coco
from anymask.segment import Model
from anymask.studio.limits import Limits
from anymask.studio.names import FIRST_LOOK, MAX_CLASS_EXAMPLES, LabeledMask, OwnNames
from tests.segment.fakes import ColorRuntime, NamingRuntime
from tests.studio.servers import IMAGE, RIGHT, client, error_of, inference, png

RED = np.zeros((40, 60, 3), np.uint8)
RED[10:20, 10:20, 0] = RED[25:35, 40:50, 2] = 250
IMAGE_BASE64 = base64.b64encode(png(RED)).decode()


def square(x: int, y: int) -> dict[str, Any]:
    mask = np.zeros((40, 60), np.bool_)
    mask[y : y + 10, x : x + 10] = True
    return rle_to_coco(mask_to_rle(mask))


NOTHING = rle_to_coco(mask_to_rle(np.zeros((40, 60), np.bool_)))
SQUARES = [square(10, 10), square(40, 25)]


@pytest.fixture
def http() -> Iterator[TestClient]:
    with client(inference(lambda: Model(NamingRuntime()))) as started:
        yield started


def labels(reply: Any) -> list[list[str]]:
    assert reply.status_code == 200, reply.text
    return [[one["label"] for one in row] for row in reply.json()["suggestions"]]


def asked(http: TestClient, **more: Any) -> Any:
    return http.post("/api/names", json={"image": IMAGE_BASE64, "masks": SQUARES} | more)


def test_masks_get_their_names_in_order_and_an_empty_one_none(http: TestClient) -> None:
    reply = asked(http, masks=[SQUARES[1], NOTHING, SQUARES[0]], top=1)
    assert labels(reply) == [["blue"], [], ["red"]]
    assert reply.json()["among"] is False


def test_names_are_restricted_and_unknown_ones_refused_or_left_out(http: TestClient) -> None:
    reply = asked(http, names=["Green", "blue", "gren"])
    assert "one of the 3 known names" in error_of(reply)
    assert "'gren'" in reply.json()["error"]["message"]
    assert "Closest names: green" in reply.json()["error"]["message"]
    some = asked(http, names=["gren", "Blue"], unknown="leave out")
    assert labels(some) == [["Blue"], ["Blue"]]
    assert some.json()["among"] is True
    none = asked(http, names=["gren", "horse"], unknown="leave out", top=1)
    assert labels(none) == [["red"], ["blue"]]
    assert none.json()["among"] is False


def explained(runtime: NamingRuntime, examples: dict[str, list[LabeledMask]], **more: Any) -> Any:
    """The answer of a server whose project has such masks."""
    own = OwnNames(lambda label, most: examples.get(label, [])[:most])
    with client(inference(lambda: Model(runtime))) as http:
        http.app.state.own_names = own  # type: ignore[attr-defined]  # FastAPI
        return [asked(http, unknown="examples", **more) for _ in range(2)]


def example(key: str, x: int, y: int, image: Callable[[], np.ndarray] = lambda: RED) -> LabeledMask:
    return LabeledMask(key, key, image, coco_to_rle(square(x, y)))


def test_labelled_masks_explain_a_name_beside_those_that_are_known() -> None:
    runtime = NamingRuntime()
    examples = {"mitosis": [example("1 v1", 10, 10)], "debris": []}
    first, again = explained(runtime, examples, names=["mitosis", "blue", "debris"], top=1)
    assert labels(first) == [["mitosis"], ["blue"]]
    assert first.json() == again.json()
    assert first.json()["among"] is True
    assert first.json()["suggestions"][0][0]["probability"] > 0.99  # "red" may mean the same
    assert runtime.looked == 5  # two masks, twice, and the example once


def test_a_name_that_nothing_explains_is_left_out() -> None:
    def gone() -> np.ndarray:
        raise ImageError("no such file")

    lost = {"mitosis": [example("1 v1", 10, 10, gone)]}
    for reply in explained(NamingRuntime(), lost, names=["mitosis"], top=1):
        assert labels(reply) == [["red"], ["blue"]]
        assert reply.json()["among"] is False
    with client(inference(lambda: Model(NamingRuntime()))) as http:  # there is no project
        assert labels(asked(http, names=["mitosis"], unknown="examples", top=1))[0] == ["red"]


def test_a_request_looks_at_some_examples_and_the_next_at_the_rest() -> None:
    runtime = NamingRuntime()
    many = {
        f"label {n}": [example(f"{n} {i}", 40, 25) for i in range(MAX_CLASS_EXAMPLES)]
        for n in range(10)
    }
    first, second = explained(runtime, many, names=list(many), masks=[SQUARES[1]], top=10)
    assert len(labels(first)[0]) == 10  # one of each label comes before the second of any
    assert len(labels(second)[0]) == 10
    assert runtime.looked == 2 + 10 * MAX_CLASS_EXAMPLES
    assert FIRST_LOOK < 10 * MAX_CLASS_EXAMPLES


def test_masks_of_too_many_pixels_are_refused_before_they_are_read() -> None:
    with client(inference(lambda: Model(NamingRuntime())), limits=Limits(pixels=2000)) as http:
        assert "1 to 2000 pixels allowed" in error_of(asked(http), 413)


def test_a_model_without_names_says_so() -> None:
    with client(inference(lambda: Model(ColorRuntime()))) as http:
        reply = asked(http)
    assert "has no names" in error_of(reply)
    assert "--" not in reply.text


def test_the_bundled_model_names_as_python_does() -> None:
    model, path = anymask.load(), anymask.sample("cat")
    image = load_image(path)
    answer = model.segment(image, box=(100, 10, 400, 290))
    (expected,) = model.suggest_labels(image, answer.masks[:1], top=3)
    with client(inference(lambda: model)) as http:
        name = http.post("/api/encode", content=path.read_bytes()).headers["x-image-hash"]
        body = {"image": name, "masks": [rle_to_coco(answer.rles()[0])], "top": 3}
        reply = http.post("/api/names", json=body)
    assert [(one["label"], one["probability"]) for one in reply.json()["suggestions"][0]] == [
        (one.label, pytest.approx(one.probability, abs=0.01)) for one in expected
    ]
    assert expected[0].label == "cat"


def test_masks_may_have_the_size_in_which_a_large_photo_is_kept() -> None:
    large = np.repeat(np.repeat(IMAGE, 20, axis=0), 20, axis=1)  # 2400 pixels wide
    small = np.repeat(np.repeat(RIGHT, 17, axis=0), 17, axis=1)
    kept = np.zeros((1365, 2048), np.bool_)
    kept[: small.shape[0], : small.shape[1]] = small[:1365, :2048]
    whole = np.repeat(np.repeat(RIGHT, 20, axis=0), 20, axis=1)
    masks = [rle_to_coco(mask_to_rle(one)) for one in (kept, whole)]
    with client(inference(lambda: Model(NamingRuntime()))) as http:
        name = http.post("/api/encode", content=png(large)).headers["x-image-hash"]
        first, second = labels(http.post("/api/names", json={"image": name, "masks": masks}))
        assert first == second
        text = base64.b64encode(png(large)).decode()
        reply = http.post("/api/names", json={"image": text, "masks": masks})
        assert "2400 x 1600" in error_of(reply)
