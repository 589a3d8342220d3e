"""Photos are decoded once, and what lies on disk is whole or made anew."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError, ImageError
from anymask.formats import AnnotatedImage
from anymask.images import image_hw, load_image
from anymask.training import images
from anymask.training.images import ImageStore


def of_file(path: Path) -> AnnotatedImage:
    return AnnotatedImage(file_name=path.name, hw=image_hw(path), source=path)


@pytest.fixture
def drawn(tmp_path: Path) -> list[AnnotatedImage]:
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
    return [of_file(path) for path in (*paths, tmp_path / "3.jpg")]


def assert_decoded(store: ImageStore, drawn: list[AnnotatedImage]) -> None:
    for one in drawn:
        np.testing.assert_array_equal(store.pixels(one), load_image(one.source))


def test_a_stored_photo_is_the_decoded_one(drawn: list[AnnotatedImage], tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    assert_decoded(store, drawn)  # those that are not kept are opened
    store.keep(drawn)
    assert_decoded(store, drawn)
    assert store.pixels(drawn[3]).shape == (12, 9, 3)


def test_photos_are_decoded_once(
    drawn: list[AnnotatedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    monkeypatch.setattr(images, "load_image", lambda p: decoded.append(p) or load_image(p))
    for _ in range(2):
        store = ImageStore(tmp_path / "store")
        store.keep([*drawn, *drawn])
        for one in drawn:
            store.pixels(one)
    assert sorted(decoded) == [one.source for one in drawn]


def test_an_edited_photo_is_decoded_anew_and_what_is_not_asked_for_goes(tmp_path: Path) -> None:
    """A picture without compression has as many bytes whatever it shows: its time tells."""
    path, store = tmp_path / "a.bmp", ImageStore(tmp_path / "store")
    for gray in (10, 200):
        Image.new("RGB", (8, 6), (gray, gray, gray)).save(path)
        os.utime(path, ns=(gray, gray))
        store.keep([of_file(path)])
        assert store.pixels(of_file(path))[0, 0, 0] == gray
        assert len(list((tmp_path / "store").iterdir())) == 1


def test_what_cannot_be_learned_from_is_named_before(
    drawn: list[AnnotatedImage], tmp_path: Path
) -> None:
    store, path = ImageStore(tmp_path / "store"), tmp_path / "0.jpg"
    Image.new("RGB", (8, 6)).save(path)
    with pytest.raises(DataError, match=r"0\.jpg"):
        store.keep(drawn)
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"0\.jpg"):
        store.keep(drawn)


KILLED = """
import os, signal, sys
from pathlib import Path
from anymask.formats import AnnotatedImage
from anymask.images import image_hw
from anymask.training import images
from anymask.training.images import ImageStore
load = images.load_image
def load_or_die(path):
    if path.name == "2.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return load(path)
images.load_image = load_or_die
paths = [Path(p) for p in sys.argv[2:]]
images = [AnnotatedImage(file_name=p.name, hw=image_hw(p), source=p) for p in paths]
ImageStore(Path(sys.argv[1])).keep(images)
"""


def test_a_store_that_was_killed_or_cut_off_is_whole_after_the_next_run(
    drawn: list[AnnotatedImage], tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    command = [sys.executable, "-c", KILLED, str(folder), *(str(one.source) for one in drawn)]
    done = subprocess.run(command, env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    store = ImageStore(folder)
    store.keep(drawn)
    assert_decoded(store, drawn)
    assert len(list(folder.iterdir())) == len(drawn)
    kept = store.place(tmp_path / "0.jpg")
    for damaged in (kept.read_bytes()[:-1], b""):
        kept.write_bytes(damaged)
        assert_decoded(store, drawn)
        store.keep(drawn)
        assert_decoded(store, drawn)
        assert len(kept.read_bytes()) > 20 * 30 * 3
