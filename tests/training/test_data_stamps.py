"""Whether a run's data have changed: told by sizes and times, by contents where these differ."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.formats import read
from anymask.training import data_stamps, prepare, tuning_data
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


@pytest.fixture
def hashed(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose contents are looked at from here on; nothing else is read."""
    seen: list[str] = []
    whole = data_stamps._sha256
    monkeypatch.setattr(
        data_stamps, "_sha256", lambda path: (seen.append(path.name), whole(path))[1]
    )

    def read(*_: object) -> None:
        raise AssertionError("the whole data set is read")

    monkeypatch.setattr(tuning_data, "_usable", read)
    return seen


def later(path: Path) -> None:
    """Give a file another time, ten seconds after its own."""
    time = path.stat().st_mtime_ns + 10_000_000_000
    os.utime(path, ns=(time, time))


def test_data_as_they_were_are_not_read(data: Path, run: Path, hashed: list[str]) -> None:
    prepare(read(data), None, run)
    assert hashed == []


def test_of_files_with_other_times_the_contents_decide_once(
    data: Path, run: Path, hashed: list[str]
) -> None:
    later(data / "masks.jsonl")
    later(data / "images" / "1.jpg")
    prepare(read(data), None, run)
    assert sorted(hashed) == ["1.jpg", "masks.jsonl"]
    prepare(read(data), None, run)
    assert len(hashed) == 2


def test_data_that_were_moved_are_looked_at_whole_but_not_decoded(
    data: Path, run: Path, hashed: list[str], tmp_path: Path
) -> None:
    moved = shutil.copytree(data, tmp_path / "elsewhere" / "round")
    prepare(read(moved), None, run)
    assert sorted(hashed) == ["0.jpg", "1.jpg", "2.jpg", "masks.jsonl", "set.json"]
    prepare(read(moved), None, run)
    assert len(hashed) == 5


@pytest.mark.parametrize("name", ["masks.jsonl", "images/1.jpg"])
def test_a_changed_file_of_the_same_size_is_noticed_by_its_time(
    data: Path, run: Path, name: str
) -> None:
    path = data / name
    before = path.stat().st_size
    content = path.read_bytes()
    changed = content.replace(b'"cat"', b'"dog"', 1)
    path.write_bytes(changed if changed != content else content[:-3] + b"\0" + content[-2:])
    later(path)
    assert path.stat().st_size == before
    with pytest.raises(InputError, match="was begun with other data: --data was round"):
        prepare(read(data), None, run)


def test_other_words_for_the_same_masks_are_the_same_data(
    data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data / "masks.jsonl"
    path.write_text(path.read_text("utf-8").replace(": ", ":  "), "utf-8")
    report = prepare(read(data), None, run)
    monkeypatch.setattr(tuning_data, "_usable", lambda *_: pytest.fail("it is read once more"))
    assert prepare(read(data), None, run) == report


def test_a_file_that_comes_or_goes_is_noticed(tmp_path: Path) -> None:
    folder, run = tmp_path / "labelled", tmp_path / "run" / "data"
    folder.mkdir()
    sets = write_sets(tmp_path / "sets")
    for number, line in enumerate((sets / "round" / "masks.jsonl").read_text().splitlines()):
        row = json.loads(line)
        shutil.copyfile(sets / "round" / row["image"], folder / f"{number}.jpg")
        height, width = row["hw"]
        rle = {"size": row["hw"], "counts": row["masks"][0]["rle"]}
        image = {"image_id": number, "file_name": f"{number}.jpg", "height": height}
        document = {
            "image": image | {"width": width},
            "annotations": [{"id": number, "segmentation": rle, "area": 9, "bbox": [0, 0, 1, 1]}],
        }
        (folder / f"{number}.json").write_text(json.dumps(document), "utf-8")
    prepare(read(folder), None, run)
    (folder / "2.json").rename(tmp_path / "kept.json")
    with pytest.raises(InputError, match=r"\(3 photos, 3 masks\), now labelled \(2 photos"):
        prepare(read(folder), None, run)
    (tmp_path / "kept.json").rename(folder / "2.json")
    prepare(read(folder), None, run)
    shutil.copyfile(sets / "square" / "images" / "0.jpg", folder / "3.jpg")
    text = (folder / "0.json").read_text("utf-8").replace("0.jpg", "3.jpg")
    (folder / "3.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"now labelled \(4 photos, 4 masks\)"):
        prepare(read(folder), None, run)


def test_a_mask_picture_that_was_drawn_anew_with_the_same_size_is_noticed(tmp_path: Path) -> None:
    folder, run = tmp_path / "cells", tmp_path / "run" / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(3):
        picture = np.full((32, 32, 3), 40 * number, np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        _nucleus(folder / "masks" / f"{number}.png", 4)
    prepare(read(folder), None, run)
    mask = folder / "masks" / "1.png"
    before = mask.stat().st_size
    _nucleus(mask, 9)  # the same bytes but for where the square begins
    later(mask)
    assert mask.stat().st_size == before
    with pytest.raises(InputError, match="was begun with other data: --data was cells"):
        prepare(read(folder), None, run)


def _nucleus(path: Path, left: int) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, left : left + 12] = 255
    Image.fromarray(mask).save(path, compress_level=0)


def test_damaged_stamps_cost_a_reading_and_nothing_else(data: Path, run: Path) -> None:
    (run / data_stamps.STAMPS).write_text("{", "utf-8")
    prepare(read(data), None, run)
