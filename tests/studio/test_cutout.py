"""`POST /api/cutout`: the background goes without a prompt, as `Model.cutout` does it."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import anymask
from anymask.runtime import ASSETS
from tests.studio.servers import client, error_of, png

CAT = (ASSETS / "photos" / "cat.jpg").read_bytes()


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with client() as started:
        yield started


def test_the_main_subject_is_cut_out_as_in_python(http: TestClient) -> None:
    answer = http.post("/api/cutout", files={"file": ("cat.jpg", CAT, "image/jpeg")})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    found = np.asarray(Image.open(io.BytesIO(answer.content)))
    wanted = anymask.load("small").cutout(Image.open(io.BytesIO(CAT)))
    np.testing.assert_allclose(found.astype(int), np.asarray(wanted).astype(int), atol=2)
    for kind in ("webp", "jpeg"):
        look = {"format": kind, "background": "white", "crop": "true", "soft": "false"}
        answer = http.post("/api/cutout", content=CAT, params=look)
        picture = Image.open(io.BytesIO(answer.content))
        assert (picture.format, picture.mode) == (kind.upper(), "RGB")
        assert picture.width < found.shape[1]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"background": "/etc/passwd"}, "Invalid background '/etc/passwd'"),
        ({"margin": "3"}, "margin= requires crop="),
        ({"format": "jpeg"}, "Add background=white"),
    ],
)
def test_wrong_looks_are_refused(http: TestClient, params: dict[str, str], told: str) -> None:
    assert told in error_of(http.post("/api/cutout", content=CAT, params=params), 422)


def test_no_subject_and_no_picture_are_refused(http: TestClient) -> None:
    plain = png(np.full((64, 64, 3), 90, np.uint8))
    assert "No main subject" in error_of(http.post("/api/cutout", content=plain), 422)
    error_of(http.post("/api/cutout", content=b"nothing"), 415)
