"""A project from somebody else: links and addresses in it have no other file written or opened."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from anymask.base import InputError, StoreError
from anymask.studio import create_project
from anymask.studio.database import writing
from anymask.studio.project import Project
from anymask.studio.retraining import KEPT_WEIGHTS, last_weights
from anymask.studio.tables import WeightsRow
from tests.studio.disc_projects import write_images

OUTSIDE = "is outside of "


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos", count=1)
    return tmp_path / "photos"


@pytest.fixture
def cookies(tmp_path: Path) -> Path:
    """Another program's database."""
    path = tmp_path / "cookies.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    return path


def tables(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


@pytest.mark.parametrize("name", [".gitignore", "project.db", "project.db-wal", "project.json"])
def test_a_link_in_the_place_of_our_file_is_refused_and_its_target_stays(
    images: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("keep me")
    (images / ".anymask").mkdir()
    (images / ".anymask" / name).symlink_to(target)
    with pytest.raises(InputError, match=OUTSIDE):
        create_project(images)
    with pytest.raises(InputError, match=OUTSIDE):
        Project(images)
    assert target.read_text() == "keep me"


def test_our_folder_itself_must_be_no_link(images: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (images / ".anymask").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=OUTSIDE):
        create_project(images)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("form", ["sqlite:///{}", "{}", "sqlite:///{}?mode=rw"])
def test_another_programs_database_gets_no_tables(images: Path, cookies: Path, form: str) -> None:
    address = form.format(cookies)
    (images / ".anymask").mkdir()
    (images / ".anymask" / "project.json").write_text(json.dumps({"database": address}))
    for begin in (Project, create_project):
        with pytest.raises(InputError, match=OUTSIDE):
            begin(images)
    assert tables(cookies) == {"cookies"}


@pytest.mark.parametrize("form", ["sqlite:///file:{}", "file:{}"])
def test_an_address_is_a_name_and_no_url_of_sqlite(
    images: Path, cookies: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the project's folder, where the name itself is inside."""
    monkeypatch.chdir(images)
    (images / ".anymask").mkdir()
    address = json.dumps({"database": form.format(cookies)})
    (images / ".anymask" / "project.json").write_text(address)
    with pytest.raises(StoreError, match="file%3A.*cannot be written"):
        Project(images)
    assert tables(cookies) == {"cookies"}


def test_init_refuses_a_file_elsewhere_before_anything_is_made(images: Path, cookies: Path) -> None:
    with pytest.raises(InputError, match=OUTSIDE):
        create_project(images, database=f"sqlite:///{cookies}")
    assert tables(cookies) == {"cookies"}
    assert not (images / ".anymask").exists()


def test_a_project_keeps_its_database_and_takes_another_name(images: Path) -> None:
    address = f"sqlite:///{images / 'masks.db'}"
    create_project(images, database=address, name="first")
    assert create_project(images).name == "first"
    assert create_project(images, database=address, name="second").name == "second"
    assert create_project(images, database=str(images / "masks.db")).name == "second"
    for other in (f"sqlite:///{images / 'other.db'}", "postgresql://me:secret@127.0.0.1:1/masks"):
        with pytest.raises(InputError, match=r"has the database .*masks\.db'\. Omit --database"):
            create_project(images, database=other)
    assert not (images / "other.db").exists()


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_server_that_holds_no_project_gets_no_tables_when_one_is_opened(
    images: Path, address: str
) -> None:
    import psycopg

    (images / ".anymask").mkdir()
    (images / ".anymask" / "project.json").write_text(json.dumps({"database": address}))
    with pytest.raises(
        StoreError, match=r"contains no project. Remove .*project.json.*, then run: anymask"
    ):
        Project(images)
    with psycopg.connect(address) as connection:
        found = connection.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchall() == []
    (images / ".anymask" / "project.json").unlink()
    for begin, more in ((create_project, {"database": address}), (Project, {})):
        project = begin(images, **more)
        assert len(list(project.store.all_images())) == 1
        project.store.database.dispose()


@pytest.mark.parametrize("place", ["/tmp/bundle", "../../bundle", "rounds/1/bundle"])
def test_the_leading_model_lies_in_the_project(images: Path, tmp_path: Path, place: str) -> None:
    project = create_project(images)
    (project.inside / "rounds" / "1").mkdir(parents=True)
    (tmp_path / "bundle").mkdir()
    (project.inside / "rounds" / "1" / "bundle").symlink_to(tmp_path / "bundle")
    with writing(project.store.database) as session:
        session.add(
            WeightsRow(at=0, round=1, place=place, model_hash="x", promoted=True, figures={})
        )
    with pytest.raises(InputError, match=OUTSIDE):
        project.current_model()


@pytest.mark.parametrize("name", KEPT_WEIGHTS)
def test_weights_to_go_on_from_lie_in_the_project(images: Path, tmp_path: Path, name: str) -> None:
    project = create_project(images)
    (tmp_path / name).write_bytes(b"weights")
    (project.inside / "rounds" / "1").mkdir(parents=True)
    project.record_weights(1, project.inside / "rounds" / "1" / "bundle", "x", True, {})
    assert last_weights(project) is None
    (project.inside / "rounds" / "1" / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match=OUTSIDE):
        last_weights(project)


def test_a_photo_that_is_a_link_to_elsewhere_is_told_at_once(images: Path, tmp_path: Path) -> None:
    (images / "0.png").rename(tmp_path / "outside.png")
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    (images / "inner.png").symlink_to(images / "1.png")
    write_images(images, count=2)
    told: list[tuple[str, str]] = []
    project = create_project(images, failed=lambda *why: told.append(why))
    assert [image.name for image in project.store.all_images()] == ["0.png", "1.png", "inner.png"]
    ((name, why),) = told
    assert name == "link.png"
    assert "link to a file outside" in why
