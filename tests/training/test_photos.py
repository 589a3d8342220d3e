"""Photos are decoded once, and what lies on disk is whole or made anew."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.images import load_image
from anymask.training import INDEX, PIXELS, PhotoStore, photos


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(3)
    paths = []
    for i, hw in enumerate([(20, 30), (7, 5), (33, 1)]):
        path = tmp_path / f"{i}.{'webp' if i == 1 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    gray = Image.fromarray(rng.integers(0, 256, (9, 12), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    gray.save(tmp_path / "3.jpg", exif=exif)
    return [*paths, tmp_path / "3.jpg"]


def test_a_stored_photo_is_the_decoded_one(pictures: list[Path], tmp_path: Path) -> None:
    store = PhotoStore.build(pictures, tmp_path / "store")
    for path in pictures:
        np.testing.assert_array_equal(store.image(path), load_image(path))
    assert store.image(pictures[3]).shape == (12, 9, 3)


def test_photos_are_decoded_once(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    monkeypatch.setattr(photos, "load_image", lambda p: decoded.append(p) or load_image(p))
    for _ in range(2):
        store = PhotoStore.build([*pictures, *pictures], tmp_path / "store")
        for path in pictures:
            store.image(path)
    assert sorted(decoded) == pictures


def test_a_changed_photo_is_decoded_anew(pictures: list[Path], tmp_path: Path) -> None:
    PhotoStore.build(pictures, tmp_path / "store")
    Image.fromarray(np.full((40, 41, 3), 200, np.uint8)).save(pictures[0])
    store = PhotoStore.build(pictures, tmp_path / "store")
    assert store.image(pictures[0]).shape == (40, 41, 3)
    np.testing.assert_array_equal(store.image(pictures[2]), load_image(pictures[2]))


def test_an_edit_that_keeps_the_size_is_noticed_by_its_time(tmp_path: Path) -> None:
    """A picture without compression has as many bytes whatever it shows."""
    path = tmp_path / "a.bmp"
    for grey in (10, 200):
        Image.new("RGB", (8, 6), (grey, grey, grey)).save(path)
        os.utime(path, ns=(grey, grey))
        store = PhotoStore.build([path], tmp_path / "store")
        assert store.image(path)[0, 0, 0] == grey
    raw = json.loads((tmp_path / "store" / INDEX).read_text())
    old = {"format": 1, "photos": {name: entry[:4] for name, entry in raw["photos"].items()}}
    (tmp_path / "store" / INDEX).write_text(json.dumps(old))  # of an earlier version: made anew
    assert PhotoStore.build([path], tmp_path / "store").image(path)[0, 0, 0] == 200


def test_a_photo_that_the_store_does_not_have_is_opened(
    pictures: list[Path], tmp_path: Path
) -> None:
    store = PhotoStore.build(pictures[:1], tmp_path / "store")
    np.testing.assert_array_equal(store.image(pictures[1]), load_image(pictures[1]))


KILLED = """
import os, signal, sys
from pathlib import Path
from anymask.training import photos
load = photos.load_image
def load_or_die(path):
    if path.name == "2.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return load(path)
photos.load_image, photos.BLOCK = load_or_die, 1
photos.PhotoStore.build([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]))
"""


def test_a_store_that_was_killed_while_it_grew_is_whole_after_the_next_run(
    pictures: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", KILLED, str(store), *map(str, pictures)]
    done = subprocess.run(command, env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (store / INDEX).exists()
    again = PhotoStore.build(pictures, store)
    for path in pictures:
        np.testing.assert_array_equal(again.image(path), load_image(path))
    assert sorted(path.name for path in store.iterdir()) == [PIXELS, INDEX]


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 2, "photos": {"a": [1]}}', "{"])
def test_a_damaged_index_is_named(text: str, pictures: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    PhotoStore.build(pictures, store)
    (store / INDEX).write_text(text)
    with pytest.raises(DataError, match="not an index of decoded photos .*; delete its folder"):
        PhotoStore.build(pictures, store)


def test_an_index_whose_pixels_are_gone_or_short_is_made_anew(
    pictures: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for damage in (lambda f: f.unlink(), lambda f: f.write_bytes(f.read_bytes()[:-1])):
        PhotoStore.build(pictures, store)
        damage(store / PIXELS)
        again = PhotoStore.build(pictures, store)
        np.testing.assert_array_equal(again.image(pictures[3]), load_image(pictures[3]))


def test_an_index_of_another_version_is_made_anew(pictures: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    PhotoStore.build(pictures, store)
    (store / INDEX).write_text(json.dumps({"format": 0}))
    again = PhotoStore.build(pictures, store)
    np.testing.assert_array_equal(again.image(pictures[0]), load_image(pictures[0]))
