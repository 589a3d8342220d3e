"""Several runs over one project: each photo's masks are kept once, and the work is shared."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anymask.base import Conflict
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.project import Project
from anymask.studio.store import Store
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColorRuntime
from tests.studio import postgres
from tests.studio.disc_projects import write_images

SETTINGS = {"grid": 8, "score": 0.4, "stability": 0.1}


@pytest.fixture
def shared(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Project]]:
    """Opens a project of four photos anew, as another process would."""
    write_images(tmp_path / "photos")
    with contextlib.ExitStack() as stack:
        database = None
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            database = stack.enter_context(postgres.fresh_database(server))

        def opened(begin: Callable[..., Project] = Project, **more: Any) -> Project:
            project = begin(tmp_path / "photos", **more)
            stack.callback(project.store.database.dispose)
            return project

        opened(create_project, database=database, settings=SETTINGS)
        yield opened


both = pytest.mark.parametrize("shared", ["sqlite", "postgresql"], indirect=True)


class Interrupted(ColorRuntime):
    """Does something else before its first photo."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = [meanwhile]

    def encode_images(self, images):  # type: ignore[no-untyped-def]
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().encode_images(images)


def run(project: Project, runtime: ColorRuntime | None = None) -> list[str]:
    model = Model(runtime or ColorRuntime())
    return [image.name for image in project.run(model, "auto")]


def masks(project: Project) -> Counter[tuple[int, str]]:
    """How often each mask is there."""
    return Counter((e.image_id, e.rle.counts.tobytes().hex()) for e in project.store.records())


@both
def test_a_run_that_ends_while_another_works_leaves_each_mask_once(
    shared: Callable[[], Project],
) -> None:
    others: list[str] = []
    own = run(shared(), Interrupted(lambda: others.extend(run(shared()))))
    assert sorted(own + others) == ["0.png", "1.png", "2.png", "3.png"]
    kept = masks(shared())
    assert {number for number, _ in kept} == {1, 2, 3, 4}
    assert set(kept.values()) == {1}


@both
def test_a_run_begins_with_what_nobody_has_begun(shared: Callable[[], Project]) -> None:
    assert shared().store.claim_image(1, "somebody who was killed")
    assert run(shared()) == ["1.png", "2.png", "3.png", "0.png"]
    assert run(shared()) == []


@both
def test_of_several_that_claim_a_photo_at_the_same_moment_one_has_it(
    shared: Callable[[], Project],
) -> None:
    stores = [shared().store for _ in range(4)]
    start, told = threading.Barrier(4), []

    def claim(store: Store) -> None:
        start.wait(PATIENCE_S)
        told.append(store.claim_image(1, "ann"))

    threads = [threading.Thread(target=claim, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(told) == [False, False, False, True]
    assert stores[0].claim_image(2, "bob")
    stores[0].add_records(3, [], "bob", status="proposed")
    assert not stores[0].claim_image(3, "bob")


def test_masks_for_a_photo_that_is_done_by_now_are_not_kept(project: Project) -> None:
    project.store.add_records(1, [], "ann", status="proposed", only_new=True)
    with pytest.raises(Conflict, match="status of image 1 is now proposed"):
        project.store.add_records(1, [], "bob", status="proposed", only_new=True)
