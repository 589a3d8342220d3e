"""Which files of a folder count as photos."""

import os
from pathlib import Path

import pytest

from anymask.images import find_images


def test_pictures_are_found_in_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    names = (
        "b.JPG",
        "a.png",
        "notes.txt",
        "sub/c.webp",
        "d.fits",
        "e.mrc",
        ".cache/d.png",
        ".e.png",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "d.fits", "e.mrc", "sub/c.webp"]


def test_links_are_no_trap(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.png").touch()
    (tmp_path / "again.png").symlink_to(tmp_path / "sub" / "c.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo(tmp_path / "pipe.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["again.png", "gone.png", "loop.png", "sub/c.png"]


def test_a_folder_can_be_left_out_and_an_unreadable_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "out/b.png", "locked/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told: list[str | None] = []
    found = find_images(tmp_path, tmp_path / "out", lambda error: told.append(error.filename))
    assert [path.name for path in found] == ["a.png"]
    assert told == [str(tmp_path / "locked")]
