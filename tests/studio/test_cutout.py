"""`POST /api/cutout`: the background goes without a prompt, in the look of the query."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from anymask.runtime import ASSETS
from tests.studio.servers import client, error_of, png

CAT = (ASSETS / "photos" / "cat.jpg").read_bytes()


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with client() as started:
        yield started


def test_the_main_subject_has_the_look_that_is_asked_for(http: TestClient) -> None:
    for kind in ("webp", "jpeg"):
        look = {"format": kind, "background": "white", "crop": "true", "soft": "false"}
        answer = http.post("/api/cutout", content=CAT, params=look)
        picture = Image.open(io.BytesIO(answer.content))
        assert (picture.format, picture.mode) == (kind.upper(), "RGB")
        assert answer.headers["content-type"] == f"image/{kind}"
        assert picture.width < 451  # that of the photo


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
