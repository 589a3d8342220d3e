"""A server has the routes of installed plug-ins."""

from pathlib import Path

import pytest

from tests.studio.servers import client, inference

MODULE = """
from fastapi import APIRouter

router = APIRouter()

@router.get("/probe/depth")
def depth() -> int:
    "Return a depth."
    return 7
"""


def test_a_server_has_the_routes_of_a_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "anymask_routes_probe-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: anymask-routes-probe\n")
    (facts / "entry_points.txt").write_text("[anymask.routes]\nprobe = anymask_routes:router\n")
    (tmp_path / "anymask_routes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with client(inference()) as http:
        assert http.get("/probe/depth").status_code == 404
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS")
    with client(inference()) as http:
        assert http.get("/probe/depth").json() == 7
        assert "/probe/depth" in http.get("/openapi.json").json()["paths"]
