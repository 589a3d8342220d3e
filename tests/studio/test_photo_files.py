"""Files of a project's folder while others work there: new, gone, replaced; its videos."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import mask_to_rle
from anymask.studio import Draft, create_project
from anymask.studio.database import reading
from anymask.studio.image_files import HASHED, checked_image, image_file, scan_folder
from anymask.studio.project import Project
from anymask.studio.tables import EventRow


def photo(path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height)).save(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("a.png", "b.png"):
        photo(tmp_path / name, 8, 6)
    return create_project(tmp_path)


def test_photos_that_come_go_and_cannot_be_read_are_told(project: Project, tmp_path: Path) -> None:
    assert scan_folder(project).added == 0
    photo(tmp_path / "c.png", 5, 4)
    (tmp_path / "d.png").write_bytes(b"no picture")
    (tmp_path / "a.png").rename(tmp_path / "z.png")
    news = scan_folder(project)
    assert (news.added, news.gone, list(news.unreadable)) == (2, [1], ["d.png"])
    assert [image.name for image in project.store.all_images()] == [
        "a.png", "b.png", "c.png", "z.png",
    ]  # fmt: skip
    (tmp_path / "z.png").rename(tmp_path / "a.png")
    assert scan_folder(project).gone == [4]
    with pytest.raises(NotFoundError, match="missing from the project's folder"):
        checked_image(project, 4)


def test_another_size_is_taken_over_until_there_is_a_mask(project: Project, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 10, 9)
    assert checked_image(project, 1) == tmp_path / "a.png"
    assert project.store.image(1).hw == (9, 10)
    (mask,) = project.store.add_records(1, [Draft(rle=mask_to_rle(np.ones((9, 10), bool)))], "ann")
    project.store.delete_record(mask.id, 1, "ann")  # it can be there again
    photo(tmp_path / "a.png", 8, 6)
    told = "a.png was replaced: it had 10 x 9 pixels, now 8 x 6 pixels"
    with pytest.raises(Conflict, match=told):
        checked_image(project, 1)
    assert project.store.image(1).hw == (9, 10)


# Photos whose files are replaced by others of the same size.

MASK = mask_to_rle(np.ones((6, 8), bool))


@pytest.fixture
def painted(tmp_path: Path) -> Project:
    paint(tmp_path, "red")
    ticks = itertools.count(1.0)
    return create_project(tmp_path, clock=lambda: next(ticks))


def paint(folder: Path, color: str, time: int = 1) -> None:
    """Another photo of the same number of bytes."""
    Image.new("RGB", (8, 6), color).save(folder / "a.bmp")
    os.utime(folder / "a.bmp", (time, time))


def written(project: Project) -> int:
    with reading(project.store.database) as session:
        return len(list(session.scalars(select(EventRow).where(EventRow.kind == HASHED))))


def test_a_replaced_file_is_told_until_somebody_has_looked(
    painted: Project, tmp_path: Path
) -> None:
    first = image_file(painted, 1)
    painted.store.add_records(1, [Draft(rle=MASK)], "ann")
    assert image_file(painted, 1) == first
    assert not first.replaced
    paint(tmp_path, "blue", time=2)
    now = image_file(painted, 1)
    assert now.replaced
    assert now.mark != first.mark
    assert image_file(painted, 1) == now  # somebody else is told, too
    painted.store.mark_image(1, "done", "ann")
    assert not image_file(painted, 1).replaced
    paint(tmp_path, "lime", time=3)
    assert image_file(painted, 1).replaced
    record = painted.store.record(1)
    painted.store.change_record(1, record.version, Draft(rle=MASK, label="x"), "ann")
    assert not image_file(painted, 1).replaced  # no mask is older
    assert written(painted) == 3


def test_a_photo_without_masks_may_be_replaced(painted: Project, tmp_path: Path) -> None:
    image_file(painted, 1)
    paint(tmp_path, "blue", time=2)
    assert not image_file(painted, 1).replaced
    painted.store.add_records(1, [Draft(rle=MASK)], "ann")
    assert not image_file(painted, 1).replaced


def test_a_copy_of_the_folder_is_no_other_photo(painted: Project, tmp_path: Path) -> None:
    first = image_file(painted, 1)
    painted.store.add_records(1, [Draft(rle=MASK)], "ann")
    paint(tmp_path, "red", time=9)
    assert image_file(painted, 1) == first
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(NotFoundError, match="missing from the project's folder"):
        image_file(painted, 1)


# Videos.


def test_a_video_is_copied_into_the_folder_once(tmp_path: Path) -> None:
    folder, source = tmp_path / "photos", tmp_path / "sent.video"
    folder.mkdir()
    source.write_bytes(b"frames")
    project = create_project(folder)
    assert [project.keep_video(source, "drive.mp4") for _ in range(2)] == ["drive.mp4"] * 2
    assert (folder / "drive.mp4").read_bytes() == b"frames"
    assert project.keep_video(folder / "drive.mp4", "another.mp4") == "drive.mp4"
    (folder / "link.mp4").symlink_to(source)
    source.write_bytes(b"others")
    for name in ("drive.mp4", "link.mp4"):
        with pytest.raises(InputError, match=f"already has a file named '{name}'"):
            project.keep_video(source, name)
    for name in ("../out.mp4", "in/out.mp4", ".hidden.mp4", "photo.jpg", "x.mp4\0", ""):
        with pytest.raises(InputError, match=r"not a valid video file name"):
            project.keep_video(source, name)
    assert sorted(path.name for path in folder.glob("*.mp4")) == ["drive.mp4", "link.mp4"]
