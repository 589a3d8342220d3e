"""What is posted to a project by its page: refused, or harmless for good."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from anymask.base import DiskFull, StoreError
from anymask.studio import create_project, image_routes
from anymask.studio.inference import IMAGE_THREADS
from anymask.studio.project import Project
from tests.patience import PATIENCE_S
from tests.studio.servers import IMAGE, LEFT, error_of, in_thread, png
from tests.studio.test_serving_project import body


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one photo, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    Image.fromarray(IMAGE).save(folder / "a.png")
    create_project(folder, name="discs").store.database.dispose()
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Project:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


@pytest.mark.parametrize("content", [b"no picture at all", None])
def test_the_pixels_of_a_photo_that_is_damaged_by_now_are_refused(
    ask: TestClient, project: Project, content: bytes | None
) -> None:
    path = project.folder / "a.png"
    if content is None:
        file = png(IMAGE, "tiff")
        content = file[: len(file) // 2]
    path.write_bytes(content)
    error_of(ask.get("/api/images/1/pixels"))
    assert ask.get("/api/images/1/embedding").status_code in (415, 422)


@pytest.mark.parametrize(("address", "most"), [("pixels", 1), ("thumbnail", IMAGE_THREADS)])
def test_few_photos_at_a_time_are_converted(
    ask: TestClient, project: Project, monkeypatch: pytest.MonkeyPatch, address: str, most: int
) -> None:
    Image.fromarray(IMAGE).convert("CMYK").save(project.folder / "a.png", "TIFF")
    lock, under_way, overlaps = threading.Lock(), [0], [0]
    real = image_routes.load_plane

    def load(*asked: Any) -> Any:
        with lock:
            under_way[0] += 1
            overlaps[0] += under_way[0] > most
        try:
            return real(*asked)
        finally:
            with lock:
                under_way[0] -= 1

    monkeypatch.setattr(image_routes, "load_plane", load)
    asked = [in_thread(lambda: ask.get(f"/api/images/1/{address}")) for _ in range(6)]
    assert [one.result(PATIENCE_S).status_code for one in asked] == [200] * 6
    assert overlaps == [0]


@pytest.mark.parametrize(
    ("error", "status"),
    [(DiskFull("wanted room, got a full disk"), 507), (StoreError("does not respond"), 503),
     (OSError(28, "No space left on device"), 507)],
)  # fmt: skip
def test_what_the_server_lacks_is_no_fault_of_the_client(
    ask: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("anymask.studio.store.Store.add_records", fail)
    error_of(ask.post("/api/images/1/records", json=body(LEFT)), status)
