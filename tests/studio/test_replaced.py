"""Photos whose files are replaced by others of the same size."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from anymask.base import NotFoundError
from anymask.masks import mask_to_rle
from anymask.studio import SEEN, Draft, EventRow, Project, create_project, photo_file, reading

MASK = mask_to_rle(np.ones((6, 8), bool))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    paint(tmp_path, "red")
    ticks = itertools.count(1.0)
    return create_project(tmp_path, clock=lambda: next(ticks))


def paint(folder: Path, colour: str, time: int = 1) -> None:
    """Another photo of the same number of bytes."""
    Image.new("RGB", (8, 6), colour).save(folder / "a.bmp")
    os.utime(folder / "a.bmp", (time, time))


def written(project: Project) -> int:
    with reading(project.store.database) as session:
        return len(list(session.scalars(select(EventRow).where(EventRow.kind == SEEN))))


def test_a_replaced_file_is_told_until_somebody_has_looked(
    project: Project, tmp_path: Path
) -> None:
    first = photo_file(project, 1)
    project.store.add_records(1, [Draft(rle=MASK)], "ann")
    assert photo_file(project, 1) == first
    assert not first.replaced
    paint(tmp_path, "blue", time=2)
    now = photo_file(project, 1)
    assert now.replaced
    assert now.mark != first.mark
    assert photo_file(project, 1) == now  # somebody else is told, too
    project.store.mark_image(1, "done", "ann")
    assert not photo_file(project, 1).replaced
    paint(tmp_path, "lime", time=3)
    assert photo_file(project, 1).replaced
    record = project.store.record(1)
    project.store.change_record(1, record.version, Draft(rle=MASK, label="x"), "ann")
    assert not photo_file(project, 1).replaced  # no mask is older
    assert written(project) == 3


def test_a_photo_without_masks_may_be_replaced(project: Project, tmp_path: Path) -> None:
    photo_file(project, 1)
    paint(tmp_path, "blue", time=2)
    assert not photo_file(project, 1).replaced
    project.store.add_records(1, [Draft(rle=MASK)], "ann")
    assert not photo_file(project, 1).replaced


def test_a_copy_of_the_folder_is_no_other_photo(project: Project, tmp_path: Path) -> None:
    first = photo_file(project, 1)
    project.store.add_records(1, [Draft(rle=MASK)], "ann")
    paint(tmp_path, "red", time=9)
    assert photo_file(project, 1) == first
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(NotFoundError, match="not in the project's folder any more"):
        photo_file(project, 1)
