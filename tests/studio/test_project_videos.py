"""Videos of a project's folder: listed until they are taken up, copied there once."""

from pathlib import Path

import pytest

from anymask.base import InputError
from anymask.studio import create_project


def test_videos_of_the_folder_are_listed_until_they_are_taken_up(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "in/c.webm", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"frames")
    project = create_project(tmp_path)
    assert project.new_videos() == ["a.MKV", "b.mp4", "in/c.webm"]
    project.tracks.add_clip("b.mp4", (4, 4), 2, 25.0)
    assert project.new_videos() == ["a.MKV", "in/c.webm"]


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
        with pytest.raises(InputError, match=f"got '{name}', which another file"):
            project.keep_video(source, name)
    for name in ("../out.mp4", "in/out.mp4", ".hidden.mp4", "photo.jpg", "x.mp4\0", ""):
        with pytest.raises(InputError, match=r"the name of a video file such as clip\.mp4"):
            project.keep_video(source, name)
    assert sorted(path.name for path in folder.glob("*.mp4")) == ["drive.mp4", "link.mp4"]
