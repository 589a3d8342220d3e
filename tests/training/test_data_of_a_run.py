"""Whether a run's data have changed: by what they hold, not by how it is written."""

import json
import shutil
from pathlib import Path

import pytest

from anymask.base import InputError
from anymask.formats import read
from anymask.training.tuning_data import prepare
from tests.training.small_data import write_sets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set whose masks have labels."""
    folder = write_sets(tmp_path / "sets") / "round"
    rows = [json.loads(line) for line in (folder / "masks.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        row["masks"][0]["label"] = "cat"
    (folder / "masks.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """The data of a run that has begun."""
    prepare(read(data), None, tmp_path / "run" / "data")
    return tmp_path / "run" / "data"


def test_other_words_for_the_same_masks_elsewhere_are_the_same_data(
    data: Path, run: Path, tmp_path: Path
) -> None:
    report = prepare(read(data), None, run)
    path = data / "masks.jsonl"
    path.write_text(path.read_text("utf-8").replace(": ", ":  "), "utf-8")
    assert prepare(read(data), None, run) == report
    moved = shutil.copytree(data, tmp_path / "elsewhere" / "round")
    assert prepare(read(moved), None, run) == report


@pytest.mark.parametrize("name", ["masks.jsonl", "images/1.jpg"])
def test_a_changed_file_of_the_same_size_is_noticed(data: Path, run: Path, name: str) -> None:
    path = data / name
    content = path.read_bytes()
    changed = content.replace(b'"cat"', b'"dog"', 1)
    path.write_bytes(changed if changed != content else content[:-3] + b"\0" + content[-2:])
    with pytest.raises(InputError, match="was created with other data: --data was round"):
        prepare(read(data), None, run)


@pytest.mark.parametrize("more", [True, False])
def test_a_photo_that_comes_or_goes_is_noticed(data: Path, run: Path, more: bool) -> None:
    rows = (data / "masks.jsonl").read_text("utf-8").splitlines()
    shutil.copyfile(data.parent / "square" / "images" / "0.jpg", data / "images" / "9.jpg")
    new = rows[0].replace("0.jpg", "9.jpg")
    (data / "masks.jsonl").write_text("\n".join([*rows, new] if more else rows[1:]), "utf-8")
    now = f"now round \\({4 if more else 2} images"
    with pytest.raises(InputError, match=now):
        prepare(read(data), None, run)
