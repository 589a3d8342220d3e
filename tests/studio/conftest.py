"""Projects of discs, and databases: SQLite always, PostgreSQL where there can be one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from anymask.formats import AnnotatedImage
from anymask.segment import Model
from anymask.studio import Draft, create_project
from anymask.studio.database import create_tables, open_database
from anymask.studio.places import PROJECT_FOLDER
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from anymask.studio.store import Store
from tests.segment.fakes import ColorRuntime
from tests.studio import postgres
from tests.studio.disc_projects import write_images
from tests.studio.servers import client
from tests.studio.small import small_mask

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    try:
        with postgres.server() as address:
            yield address
    except postgres.NoServer as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'project.db'}"
    else:
        with postgres.fresh_database(request.getfixturevalue("postgres_server")) as fresh:
            yield fresh


@pytest.fixture
def database(address: str) -> Iterator[Engine]:
    """An empty database, opened."""
    opened = open_database(address)
    yield opened
    opened.dispose()


@pytest.fixture
def store(database: Engine) -> Store:
    """A project's database with two photos of 6 x 8 pixels."""
    create_tables(database)
    store = Store(database)
    store.add_images([("a.jpg", (6, 8), None), ("b.jpg", (6, 8), "night")])
    return store


@pytest.fixture
def one_record(store: Store) -> int:
    """The number of a mask on the first photo."""
    (entry,) = store.add_records(1, [Draft(rle=small_mask(2), label="cat")], "ann")
    return entry.id


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, AnnotatedImage]]:
    """A project of four photos and their masks, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "photos"
    truth = write_images(folder)
    project = create_project(
        folder, name="discs", labels=["disc 0"],
        settings={"grid": 8, "batch": 2, "sample": 3, "confident": 0.5,
                  "score": 0.4, "stability": 0.1},
    )  # fmt: skip
    project.store.database.dispose()
    return folder, truth


@pytest.fixture
def truth(
    tmp_path: Path, made: tuple[Path, dict[str, AnnotatedImage]]
) -> dict[str, AnnotatedImage]:
    """The masks of four photos, which lie in `photos`."""
    folder, truth = made
    shutil.copytree(folder, tmp_path / "photos", ignore=shutil.ignore_patterns(PROJECT_FOLDER))
    return dict(truth)


@pytest.fixture
def project(tmp_path: Path, made: tuple[Path, object], truth: dict[str, AnnotatedImage]) -> Project:
    shutil.copytree(made[0] / PROJECT_FOLDER, tmp_path / "photos" / PROJECT_FOLDER)
    return Project(tmp_path / "photos")


@pytest.fixture
def model() -> Model:
    return Model(ColorRuntime())


@pytest.fixture
def http() -> Iterator[TestClient]:
    """A server without a project."""
    with client() as started:
        yield started


@pytest.fixture
def ask(project: Project) -> Iterator[TestClient]:
    """A server with a project."""
    with client(project=ServedProject(project, "ann")) as started:
        yield started
