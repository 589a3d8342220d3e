"""Forms, as `curl -F` sends them, say what a picture or a JSON body says."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.studio.servers import CLICK, IMAGE, JSON, error_of, png

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools

PNG_BYTES = png(IMAGE)
IMAGE_BASE64 = base64.b64encode(PNG_BYTES).decode()
FILE = {"file": ("photo.png", PNG_BYTES, "image/png")}
GRID = {"grid": 4, "score": 0, "stability": 0}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"points": "[[35, 40]]"}, CLICK),
        ({"box": "[75, 20, 115, 60]"}, {"box": [75, 20, 115, 60]}),
        (
            {"points": "[[35, 40], [3, 3]]", "labels": "[1, 0]", "multimask": "true"},
            {"points": [[35, 40], [3, 3]], "labels": [1, 0], "multimask": True},
        ),
        ({"prompts": json.dumps([CLICK, CLICK])}, {"prompts": [CLICK, CLICK]}),
        ({"prompt": json.dumps(CLICK), "granularity": "whole"},
         {"prompt": CLICK, "granularity": "whole"}),
    ],
)  # fmt: skip
def test_a_form_is_answered_as_its_json(http: TestClient, fields: Any, body: Any) -> None:
    expected = http.post("/api/segment", json={"image": IMAGE_BASE64, **body})
    form = http.post("/api/segment", files=FILE, data=fields)
    assert expected.status_code == 200, expected.text
    assert form.json() == expected.json()


def test_the_hash_of_a_photo_may_stand_in_a_form_even_where_it_is_all_digits(
    http: TestClient,
) -> None:
    name = http.post("/api/encode", content=PNG_BYTES).headers["x-image-hash"]
    fields = {"image": (None, name), "points": (None, "[[35, 40]]")}
    reply = http.post("/api/segment", files=fields)
    assert reply.json()["image"] == name
    digits = http.post("/api/segment", files=fields | {"image": (None, "1" * 32)})
    assert "no image with the hash" in error_of(digits, 404)


@pytest.mark.parametrize(
    ("parts", "status", "expected"),
    [
        ({"points": (None, "[[35, 40]]")}, 422, "image: Field required"),
        (FILE | {"points": (None, "[35, 40]")}, 422, "points.0: Input should be"),
        (FILE | {"points": (None, "35, 40")}, 422, "points: "),
        (FILE | {"points": (None, "[" * 150_000)}, 422, "points: "),
        (FILE | {"points": (None, "1" * 200_001)}, 400, "cannot be read: "),
        (FILE | {"nothing": (None, "1")}, 422, "Unknown key 'nothing'"),
        ([*FILE.items(), *FILE.items()], 400, "cannot be read: "),
        ([*FILE.items(), *[("points", (None, "1"))] * 17], 400, "'points' occurs twice"),
    ],
)
def test_a_form_that_means_nothing_is_refused(
    http: TestClient, parts: Any, status: int, expected: str
) -> None:
    assert expected in error_of(http.post("/api/segment", files=parts), status)


@pytest.mark.parametrize(
    ("address", "got", "remedy"),
    [
        ("/api/segment?tolerence=0", "'tolerence'", "Supported: format, tolerance"),
        ("/api/segment?format=svg&points=[[20,20]]", "'points'", "Supported: "),
        ("/api/everything?fromat=png", "'fromat'", "Supported: format, tolerance"),
        ("/api/encode?page=1", "'page'", "Supported: none"),
    ],
)
def test_a_query_that_would_be_passed_over_is_refused(
    http: TestClient, address: str, got: str, remedy: str
) -> None:
    failed = http.post(address, files={"file": PNG_BYTES}, data={"points": "[[20, 20]]"})
    error = failed.json()["error"]
    assert failed.status_code == 422
    assert got in error["message"]
    assert remedy in error["message"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_json_without_its_header_is_told_the_header(http: TestClient, kind: str) -> None:
    body = json.dumps({"image": IMAGE_BASE64} | CLICK)
    headers = {"Content-Type": kind} if kind else {}
    reply = http.post("/api/segment", content=body, headers=headers)
    expected = "The Content-Type"
    assert expected in error_of(reply, 415)
    assert "-H 'Content-Type: application/json'" in reply.json()["error"]["message"]
    assert http.post("/api/segment", content=body, headers=JSON).status_code == 200


# One prompt.


# What comes back.


def asked(http: TestClient, path: str, kind: str, **body: Any) -> Any:
    reply = http.post(f"/api/{path}?format={kind}", json={"image": IMAGE_BASE64} | body)
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize(
    ("kind", "media"), [("png", "image/png"), ("cutout", "image/png"), ("webp", "image/webp")]
)
def test_a_picture_is_of_one_object(http: TestClient, kind: str, media: str) -> None:
    reply = asked(http, "segment", kind, **CLICK)
    assert reply.headers["content-type"] == media
    several = {"image": IMAGE_BASE64, "prompts": [CLICK, CLICK]}
    assert "one prompt" in error_of(http.post(f"/api/segment?format={kind}", json=several))
    if kind != "png":
        error_of(http.post(f"/api/everything?format={kind}", json={"image": IMAGE_BASE64}))


def test_geojson_of_a_map_is_refused(http: TestClient) -> None:
    for kind in ("png", "tiff"):  # the same pixels without a map, and with it
        more = {"tiffinfo": {34735: (1, 1, 0, 0)}} if kind == "tiff" else {}
        file = io.BytesIO()
        Image.fromarray(IMAGE).save(file, kind, **more)
        encoded = http.post("/api/encode", content=file.getvalue()).headers["X-Image-Hash"]
        for image in (encoded, base64.b64encode(file.getvalue()).decode()):
            for path, body in (("segment", CLICK), ("everything", {}), ("find", {"words": "cat"})):
                reply = http.post(f"/api/{path}?format=geojson", json=body | {"image": image})
                assert ("is georeferenced" in reply.text) is (kind == "tiff")
                assert reply.status_code == (422 if kind == "tiff" or path == "find" else 200)
