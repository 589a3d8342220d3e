"""The model's addresses: what they answer is what the library answers."""

from __future__ import annotations

import base64
import json
import struct
import threading

import numpy as np
import pytest
from pycocotools import mask as coco

import anymask
from anymask.base import WeightsError
from anymask.images import load_image
from anymask.masks import EncoderOutput, Prompt
from anymask.segment import EmbeddingCache, Model
from anymask.segment.prediction import LONGEST
from anymask.studio.errors import RequestError
from anymask.studio.inference import KeptPredictions
from tests.segment.fakes import ColorRuntime, seen_of
from tests.studio.servers import CLICK, IMAGE, PATIENCE_S, client, inference, png

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools


def masks(answer: dict) -> list[np.ndarray]:
    return [coco.decode(rle).astype(bool) for rle in answer["masks"]]


def test_the_candidate_that_is_corrected_can_be_named() -> None:
    model = anymask.load()
    (first,) = model.segment(IMAGE, prompts=[Prompt.of(points=[(35, 40)])])
    asked = {"points": [[35, 40], [95, 40]], "labels": [1, 0]}
    expected = model.segment(
        IMAGE, points=asked["points"], point_labels=[1, 0], previous=first.picked([2])
    )
    with client(inference(lambda: model)) as http:
        image = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        (one,) = http.post("/api/segment", json={"image": image} | CLICK).json()["answers"]
        more = asked | {"previous": one["prediction_id"], "candidate": 2}
        (answer,) = http.post("/api/segment", json={"image": image} | more).json()["answers"]
        several = {"image": image, "prompts": [more, CLICK]}
        same, plain = http.post("/api/segment", json=several).json()["answers"]
        beyond = http.post("/api/segment", json={"image": image} | more | {"candidate": 3})
    np.testing.assert_array_equal(masks(answer), expected.masks)
    assert (same, plain) == (answer, one)
    assert beyond.status_code == 422
    assert "Candidate 3 does not exist" in beyond.json()["error"]["message"]


def test_predictions_that_cannot_be_corrected_are_refused() -> None:
    with client(inference(lambda: anymask.load())) as http:
        image = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        other = http.post("/api/encode", content=png(IMAGE[::-1])).headers["x-image-hash"]
        (one,) = http.post("/api/segment", json={"image": image} | CLICK).json()["answers"]
        more = {"points": [[35, 40], [95, 40]], "previous": one["prediction_id"]}
        replies = [
            http.post("/api/segment", json=body)
            for body in (
                {"image": image} | more | {"previous": "0" * 32},
                {"image": other} | more,
                {"image": image} | more | {"points": [[1, 1]]},
                {"image": image} | more | {"previous": "x"},
                {"image": image, "previous": one["prediction_id"]},
                {"image": image, "prompts": [{"points": [[1, 1]] * 8}] * 129},
            )
        ]
    told = [(one.status_code, one.json()["error"]["message"]) for one in replies]
    words = [
        (404, "expired prediction"),
        (422, "predicts the image"),
        (422, "must come first in points"),
        (422, "previous"),
        (422, "The prompt is empty"),
        (422, "1032 decoder runs"),
    ]
    for (status, message), (expected, word) in zip(told, words, strict=True):
        assert status == expected
        assert word in message


def test_kept_predictions_expire_and_make_room() -> None:
    model, now = Model(ColorRuntime()), [0.0]
    one, two, three = (model.segment(IMAGE, points=[(x, 40)]) for x in (35, 60, 95))
    size = one.logits.nbytes
    kept = KeptPredictions(2 * size, 60, lambda: now[0])
    first, second = kept.put("a", one), kept.put("a", two)
    assert kept.put("a", one) == first
    assert kept.used_bytes == 2 * size
    third = kept.put("a", three)  # the second was used least recently
    with pytest.raises(RequestError, match="expired prediction"):
        kept.get(second, "a")
    now[0] = 50
    np.testing.assert_array_equal(kept.get(first, "a", 1).logits[0], one.logits[1])
    now[0] = 100
    kept.get(first, "a")
    with pytest.raises(RequestError, match="expired prediction"):
        kept.get(third, "a")
    kept.put("b", two)
    assert kept.used_bytes == 2 * size


def test_large_photos_are_kept_small_and_answered_alike() -> None:
    model = anymask.load()
    image = np.asarray(load_image(anymask.sample("cat")).repeat(8, axis=0).repeat(8, axis=1))
    expected = model.segment(image, box=(900, 300, 2400, 2200))
    behind = inference(lambda: model, cache=EmbeddingCache(100_000_000))
    with client(behind):
        features = behind.encode(lambda: image).result(PATIENCE_S)
        (answer,) = behind.segment(features, [Prompt.of(box=(900, 300, 2400, 2200))]).result(
            PATIENCE_S
        )
    assert features.image is not None
    assert max(features.image.shape) == LONGEST < max(image.shape)
    np.testing.assert_array_equal(answer.masks[0], expected.masks[0])


def test_an_embedding_travels_whole() -> None:
    model = Model(ColorRuntime())
    own = model.encode(IMAGE)
    with client() as http:
        reply = http.post("/api/encode", content=png(IMAGE))
    (length,) = struct.unpack("<I", reply.content[:4])
    header = json.loads(reply.content[4 : 4 + length])
    (only,) = header["maps"]
    got = np.frombuffer(reply.content[4 + length :], "<f2").reshape(only["shape"])
    np.testing.assert_array_equal(got, own.features.astype(np.float16))
    assert (only["name"], only["dtype"]) == ("features", "float16")
    assert header["image_hw"] == [80, 120]
    assert header["input_hw"] == list(own.geometry.input_hw)
    assert (header["side"], header["mask_side"]) == (128, 64)
    assert header["image_hash"] == own.image_hash == reply.headers["x-image-hash"]


def test_numbers_that_half_precision_cannot_hold_travel_as_float32() -> None:
    class Loud(ColorRuntime):
        def encode_images(self, images: np.ndarray) -> list[EncoderOutput]:
            return [seen_of(one.maps()[0].values * 1e6) for one in super().encode_images(images)]

    with client(inference(lambda: Model(Loud()))) as http:
        reply = http.post("/api/encode", content=png(IMAGE))
    assert b'"dtype": "float32"' in reply.content[:700]


def test_health_answers_while_the_model_loads_and_after() -> None:
    begin = threading.Event()

    def load() -> Model:
        assert begin.wait(PATIENCE_S)
        return Model(ColorRuntime())

    behind = inference(load)
    with client(behind) as http:
        assert http.get("/health").json() == {
            "status": "loading",
            "model": "fake",
            "weights_hash": "",
        }
        begin.set()
        behind.model.result(PATIENCE_S)
        ready = {"status": "ready", "model": "fake", "weights_hash": "colour"}
        assert http.get("/health").json() == ready


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def load() -> Model:
        raise WeightsError("wanted weights, got none; fetch them")

    with client(inference(load)) as http:
        reply = http.post("/api/encode", content=png(IMAGE))
        assert reply.status_code == 503
        assert "wanted weights, got none; fetch them" in reply.json()["error"]["message"]
        body = {"image": "0" * 32, "prompts": [CLICK]}
        assert http.post("/api/segment", json=body).status_code == 503
        health = http.get("/health").json()
        assert (health["status"], health["reason"][:14]) == ("failed", "wanted weights")


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        ("segment", {"image": "f" * 32, "prompts": [CLICK]}, 404, "no image with the hash"),
        ("segment", {"image": "../etc/passwd", "prompts": [CLICK]}, 422, "32 hexadecimal digits"),
        ("segment", {"image": "PIC", "prompts": []}, 422, "1 to 256 prompts"),
        ("segment", {"image": "PIC", "prompts": [{}]}, 422, "points"),
        ("segment", {"image": "PIC", "prompts": [{"points": [[9e9, 0]]}]}, 422, "9e+09"),
        (
            "segment",
            {"image": "PIC", "prompts": [{"points": [[1, 2, 3]]}]},
            422,
            "prompts.0.points",
        ),
        ("segment", {"image": "PIC", "prompts": [CLICK], "model": "x"}, 422, "Unknown key 'model'"),
        ("segment", {"image": "PIC", "text": "cup"}, 422, "`words` to POST /api/find"),
        (
            "segment",
            {"image": "PIC", "prompts": [{"points": [[1, 1]] * 1001}]},
            422,
            "at most 1000",
        ),
        (
            "segment",
            {"image": "PIC", "prompts": [{"mask": {"size": [99999, 99999], "counts": [0]}}]},
            413,
            "pixels allowed",
        ),
        ("segment", {"image": "PIC", "box": "1,2"}, 422, "box: Input should be"),
        (
            "everything",
            {"image": "PIC", "settings": {"memory_limit": 9}},
            422,
            "Unknown settings: memory_limit",
        ),
        ("everything", {"image": "PIC", "settings": {"grid": 999}}, 422, "at most 64"),
        ("everything", {"image": "PIC", "settings": {"grid": "x"}}, 422, "integer"),
        ("everything", {"image": "HASH", "settings": {"crop_n_layers": 1}}, 422, "Pass the image"),
        ("nothing", {}, 404, "Unknown address"),
        ("segment", {"image": "PIC"}, 422, "Send one kind of prompt"),
        ("segment", {"image": "PIC", "prompt": CLICK} | CLICK, 422, "prompt, points"),
        ("segment", {"image": "PIC", "prompt": CLICK, "prompts": [CLICK]}, 422, "prompts, prompt"),
        ("segment", {"image": "PIC", "point_coords": [1, 2]}, 422, "Did you mean 'points'?"),
        ("segment", {"image": "PIC", "bbox": [1, 2]}, 422, "Did you mean 'box'?"),
        ("segment", {"image": "PIC", "granularty": [1, 2]}, 422, "Did you mean 'granularity'?"),
        ("everything", {"image": "PIC", "grid": 4}, 422, "Supported: image, settings. See /docs"),
        ("segment?format=jpeg", {"image": "PIC"} | CLICK, 422, "format: Input should be"),
        ("segment?format=polygons&tolerance=-1", {"image": "PIC"} | CLICK, 422, "tolerance: "),
    ],
)
def test_what_is_wrong_is_said(path, body, status, expected) -> None:
    image = png(IMAGE)
    with client() as http:
        name = http.post("/api/encode", content=image).headers["x-image-hash"]
        known = {"PIC": base64.b64encode(image).decode(), "HASH": name}
        body = body | {"image": known.get(body.get("image"), body.get("image"))}
        reply = http.post(f"/api/{path}", json=body)
    assert reply.status_code in (status, 405 if status == 404 else status)
    error = reply.json()["error"]
    assert set(error) == {"message", "status"}
    assert error["status"] == reply.status_code
    assert expected in " ".join(str(part) for part in error.values()) or reply.status_code == 405


def test_a_defect_is_told_without_its_details() -> None:
    class Broken(ColorRuntime):
        def decode(self, seen: object, prompts: object) -> None:
            raise RuntimeError("secret")

    with client(inference(lambda: Model(Broken()))) as http:
        name = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        reply = http.post("/api/segment", json={"image": name, "prompts": [CLICK]})
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert "Internal server error (RuntimeError)" in reply.json()["error"]["message"]
        assert reply.headers["x-content-type-options"] == "nosniff"
