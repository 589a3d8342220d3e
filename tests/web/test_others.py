"""Two people at one photo of a project: each sees what the other one does, without a reload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from anymask.studio import create_project
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
def pair(sit: Callable[..., Viewer], project: Project) -> Iterator[tuple[Annotator, Annotator]]:
    """Two people, both with the first photo open and a brush in hand."""
    behind = inference()
    site = ServedProject(project, "ann")
    with served(behind, project=site) as address:
        people = tuple(Annotator(sit(address).page, address) for _ in range(2))
        for one in people:
            one.until("s.editor?.entry.name", "a.png")
            one.keys("p")
        yield people  # type: ignore[misc]  # two


def paint(one: Annotator, y: float) -> None:
    one.drag((30, y), (60, y))


def test_masks_of_another_person_come_change_and_go(
    pair: tuple[Annotator, Annotator], project: Project
) -> None:
    ann, bob = pair
    paint(ann, 20)
    ann.keep()
    ann.saved()
    bob.until("s.editor.state.masks.length", 1)
    assert bob.ask("s.images[0].records") == 1
    ann.keys("o")
    ann.page.mouse.click(*ann.at(45, 20))
    ann.until("s.editor.state.selected !== null")
    ann.name("disc")
    ann.saved()
    bob.until("s.editor.state.masks[0].label", "disc")
    bob.until("s.labels.all.some(one => one.name === 'disc')")
    ann.page.locator(".stage").focus()
    ann.keys("d")
    bob.until("s.images[0].status", "done")
    ann.until("s.editor?.entry.name", "b.png")
    ann.keys("PageUp")
    ann.until("s.editor?.entry.name", "a.png")
    ann.until("s.editor.state.masks.length", 1)
    ann.ask("s.editor.select(s.editor.state.masks[0].key)")
    ann.keys("Delete")
    ann.saved()
    bob.until("s.editor.state.masks.length", 0)
    assert project.store.records(1) == []
    assert ann.messages() == bob.messages() == []
