"""`anymask.serve`, `anymask.annotate` and `anymask.Project`: what they take and refuse."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask.base import InputError
from anymask.masks import mask_to_rle
from anymask.studio import Draft, create_project
from tests.studio.servers import PICTURE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    return tmp_path


class Enough(Exception):
    """Ends the server from within."""


@pytest.mark.parametrize("project", [False, True])
def test_the_server_tells_its_address(folder: Path, project: bool) -> None:
    found: list[str] = []

    def ready(address: str) -> None:
        found.append(address)
        raise Enough

    start = partial(anymask.annotate, folder, stage="semi") if project else anymask.serve
    with pytest.raises(Enough):
        start(port=0, ready=ready)
    assert found[0].startswith("http://127.0.0.1:")
    if project:
        assert anymask.Project(folder).stage == "semi"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "token"),
        ({"memory": -1}, "a number of megabytes, 0 or more"),
        ({"videos": ["absent.mp4"]}, "does not exist"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        anymask.serve(port=0, **settings)  # type: ignore[arg-type]


def test_a_project_is_worked_on_from_python(folder: Path) -> None:
    create_project(folder, name="discs").close()
    project = anymask.Project(folder)
    (image,) = project.images
    mask = PICTURE[..., 0] > 100
    drafts = [Draft(rle=mask_to_rle(mask), label="disc", state="proposed")]
    project.store.add_records(image.id, drafts, "ann", status="proposed")
    item = project.next_review()
    assert item is not None
    assert project.judge(item, "accept", "bob").state == "accepted"
    assert project.next_review() is None
    assert [one.label for one in project.masks(image.id, "accepted")] == ["disc"]
    assert project.batches()[0].met
    project.store.mark_image(image.id, "done", "bob")
    assert project.export(folder / "out.json")[0] == "1 image, 1 mask"
    again = project.take(folder / "out.json")
    assert (again.new, again.same) == (0, 1)
