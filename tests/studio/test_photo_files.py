"""What becomes of a project's photos while others work in the folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import Conflict, NotFoundError
from anymask.masks import mask_to_rle
from anymask.studio import Draft, Project, checked_picture, create_project, look_into_folder


def photo(path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height)).save(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("a.png", "b.png"):
        photo(tmp_path / name, 8, 6)
    return create_project(tmp_path)


def test_photos_that_come_go_and_cannot_be_read_are_told(project: Project, tmp_path: Path) -> None:
    assert look_into_folder(project).added == 0
    photo(tmp_path / "c.png", 5, 4)
    (tmp_path / "d.png").write_bytes(b"no picture")
    (tmp_path / "a.png").rename(tmp_path / "z.png")
    news = look_into_folder(project)
    assert (news.added, news.gone, list(news.unreadable)) == (2, [1], ["d.png"])
    assert [image.name for image in project.store.all_images()] == [
        "a.png", "b.png", "c.png", "z.png",
    ]  # fmt: skip
    (tmp_path / "z.png").rename(tmp_path / "a.png")
    assert look_into_folder(project).gone == [4]
    with pytest.raises(NotFoundError, match="not in the project's folder any more"):
        checked_picture(project, 4)


def test_another_size_is_taken_over_until_there_is_a_mask(project: Project, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 10, 9)
    assert checked_picture(project, 1) == tmp_path / "a.png"
    assert project.store.image(1).hw == (9, 10)
    (mask,) = project.store.add_records(1, [Draft(rle=mask_to_rle(np.ones((9, 10), bool)))], "ann")
    project.store.delete_record(mask.id, 1, "ann")  # it can be there again
    photo(tmp_path / "a.png", 8, 6)
    told = "wanted a.png with 10 x 9 pixels, on which its masks were drawn, got 8 x 6 pixels"
    with pytest.raises(Conflict, match=told):
        checked_picture(project, 1)
    assert project.store.image(1).hw == (9, 10)
