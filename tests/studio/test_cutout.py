"""`POST /api/cutout`: the background goes without a prompt, in the look of the query."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from anymask.runtime import ASSETS
from tests.studio.servers import error_of, png

CAT = (ASSETS / "photos" / "cat.jpg").read_bytes()


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
