"""The page while others work in the project's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from anymask.studio import create_project
from anymask.studio.image_files import FolderNews, scan_folder
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from tests.studio.servers import IMAGE, inference
from tests.web.conftest import Annotator
from tests.web.viewers import Viewer, served


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("a.png", "b.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    return create_project(tmp_path)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[FolderNews]:
    """What each look into the folder found so far."""
    found: list[FolderNews] = []

    def look(project: Project) -> FolderNews:
        found.append(scan_folder(project))
        return found[-1]

    monkeypatch.setattr("anymask.studio.project_routes.scan_folder", look)
    return found


@pytest.fixture
def ann(
    sit: Callable[..., Viewer], project: Project, looks: list[FolderNews]
) -> Iterator[Annotator]:
    """Somebody at the project's page, its first photo open; it has looked into the folder once."""
    behind = inference()
    site = ServedProject(project, "ann")
    with served(behind, project=site) as address:
        one = Annotator(sit(address).page, address)
        one.until("s.editor?.entry.name", "a.png")
        one.until_so(lambda: bool(looks), "the first look into the folder")
        yield one


def test_a_photo_that_is_replaced_by_one_of_its_size_is_told(
    ann: Annotator, project: Project
) -> None:
    seen_as = "window.anymask.session.model().imageHashOf('1')"
    ann.seen()
    first = ann.page.evaluate(seen_as)
    ann.keys("p")
    ann.drag((60, 60), (90, 60))
    ann.keep()
    ann.saved()
    Image.fromarray(IMAGE[:, ::-1]).save(project.folder / "a.png")  # the discs change sides
    ann.message("The file of this image was replaced while it was open.")
    ann.page.get_by_role("button", name="Show the new file").click()
    ann.message("The file of this image was replaced after masks were drawn on it.")
    assert ann.ask("s.editor.state.masks.length") == 1
    ann.seen()
    assert ann.page.evaluate(seen_as) != first
    ann.page.locator(".stage").focus()
    ann.keys("d")
    ann.until("s.editor?.entry.name", "b.png")
    ann.keys("PageUp")
    ann.until("s.editor?.entry.name === 'a.png' && !s.opening")
    assert ann.messages() == []  # somebody has looked


def test_a_server_that_cannot_save_is_not_called_away(ann: Annotator) -> None:
    full = {"message": "The disk is full. Make room.", "status": 507}
    ann.page.route("**/records", lambda route: route.fulfill(status=507, json={"error": full}))
    ann.keys("p")
    ann.drag((60, 60), (90, 60))
    ann.keep()
    ann.message("Not saved yet. The disk is full. Make room.")
    said = ann.page.locator(".saved")
    ann.until_so(lambda: said.inner_text().startswith("Not saved: "), "the line above")
    ann.page.unroute("**/records")
    ann.saved()
    assert ann.messages() == []
