"""Files that appear together: an error on the way leaves the output as it was."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anymask.base import InputError, staged

DIES = """
import os, signal, sys
from pathlib import Path
from anymask.base import staged
target = Path(sys.argv[1])
with staged(target) as files:
    for name in ("a", "deep/b"):
        with files.open(target / name) as file:
            file.write(b"new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write(target: Path, *names: str, error: type[BaseException] | None = None) -> None:
    with staged(target) as files:
        for name in names:
            with files.open(target / name) as file:
                file.write(name.encode())
        if error is not None:
            raise error


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_files_of_a_new_folder_appear_in_one_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "up" / "set", "a", "deep/b")
    assert tree(tmp_path) == {"up/set/a": b"a", "up/set/deep/b": b"deep/b"}
    monkeypatch.chdir(tmp_path / "up")
    write(Path("other/"), "a")
    write(Path(), "here")
    assert tree(tmp_path / "up").keys() == {"set/a", "set/deep/b", "other/a", "here"}
    assert {path.name for path in Path().iterdir()} == {"here", "other", "set"}


def test_a_folder_that_is_there_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "deep" / "other").write_bytes(b"kept")
    write(tmp_path, "a", "deep/b", "a")
    assert tree(tmp_path) == {"a": b"a", "deep/b": b"deep/b", "deep/other": b"kept"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_error_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], is_there: bool
) -> None:
    target = tmp_path / "up" / "set"
    if is_there:
        target.mkdir(parents=True)
        (target / "a").write_bytes(b"old")
    before = sorted(tmp_path.rglob("*")), tree(tmp_path)
    with pytest.raises(error):
        write(target, "a", "deep/b", error=error)
    assert (sorted(tmp_path.rglob("*")), tree(tmp_path)) == before


@pytest.mark.parametrize("names", [("a", "file/b"), ("a", "folder"), ("a", "b", "b/c")])
def test_nothing_is_moved_where_a_file_and_a_folder_meet(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(InputError, match="is a folder|Cannot create the output folder of"):
        write(tmp_path, *names)
    assert tree(tmp_path) == {"file": b"old"}


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "set"
    died = subprocess.run([sys.executable, "-c", DIES, str(target)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".set.parts"]
    write(target, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert tree(target) == {"a": b"a"}


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    with staged(tmp_path / "set"):
        with pytest.raises(InputError, match=r"set' is in use by another run"):
            write(tmp_path / "set", "a")
        write(tmp_path / "other", "a")
    assert tree(tmp_path) == {"other/a": b"a"}


def test_a_folder_on_another_disk_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.parent.name.endswith(".parts"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    write(tmp_path, "deep/a")
    assert tree(tmp_path) == {"deep/a": b"deep/a"}
