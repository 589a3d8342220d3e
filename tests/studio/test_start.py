"""`anymask.serve`, `anymask.annotate` and `anymask.Project`: what they take and refuse."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask.base import InputError
from tests.studio.servers import IMAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
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
