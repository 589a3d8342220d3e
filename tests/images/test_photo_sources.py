"""Files, folders, patterns and lists of photos; web addresses only where somebody asks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import ImageError, InputError
from anymask.images import (
    SAMPLES,
    ImageFile,
    fetch_image,
    list_images,
    load_image,
    load_referenced,
    sample,
)
from anymask.images import load as web_images
from tests.http_answers import Answers, serving

PIXELS = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.png", "sub/c.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def test_photos_are_listed_from_what_people_write(folder: Path) -> None:
    names = ["a.png", "b.png"]
    assert [path.name for path in list_images(str(folder / "*.png"))] == names
    assert [path.name for path in list_images(str(folder / "**" / "*.png"))] == [*names, "c.png"]
    assert [path.name for path in list_images(folder)] == [*names, "c.png"]
    assert list_images([folder / "b.png", str(folder / "a*")]) == [
        folder / "b.png",
        folder / "a.png",
    ]
    (folder / "[1].png").write_bytes((folder / "a.png").read_bytes())
    assert list_images(folder / "[1].png") == [folder / "[1].png"]


def test_what_is_not_there_is_said(folder: Path) -> None:
    (folder / "empty").mkdir()
    for where, told in [
        (folder / "none.png", "File not found: .*none.png"),
        (str(folder / "*.jpg"), "No file matches .*jpg.* Check the pattern"),
        (folder / "empty", "contains no images"),
    ]:
        with pytest.raises(ImageError, match=told):
            list_images(where)


def test_an_answer_remembers_the_path_of_a_file_and_the_pixels_of_anything_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    kept = load_referenced("a.png")[1]
    assert isinstance(kept, ImageFile)
    monkeypatch.chdir(folder / "sub")
    np.testing.assert_array_equal(kept(), PIXELS)
    assert kept.name == "a.png"
    assert load_referenced(PIXELS)[1]() is PIXELS


def test_arrays_of_opencv_say_their_order() -> None:
    bgr = np.ascontiguousarray(PIXELS[..., ::-1])
    np.testing.assert_array_equal(load_image(bgr, bgr=True), PIXELS)
    np.testing.assert_array_equal(load_image(PIXELS[..., 0], bgr=True)[..., 2], PIXELS[..., 0])
    with pytest.raises(InputError, match="bgr=True is only supported for arrays"):
        load_image("a.png", bgr=True)
    with pytest.raises(InputError, match="bands and bgr cannot be combined"):
        load_image(bgr, bgr=True, bands=(1, 2, 3))


def test_samples_are_small_photos_in_the_package() -> None:
    for name in SAMPLES:
        assert load_image(sample(name)).shape[2] == 3
        assert sample(name).stat().st_size < 120_000
    assert sample() == sample("coffee")
    with pytest.raises(InputError, match="Unknown sample 'cow'. Choose from: cat, coffee, dog"):
        sample("cow")


# The web.


@pytest.fixture
def server(folder: Path) -> Iterator[Answers]:
    """A photo, redirects to other schemes, nothing else."""
    with serving() as answers:
        answers.files["/a.png"] = (folder / "a.png").read_bytes()
        answers.redirect |= {"/away": f"file://{folder}/a.png", "/ftp": "ftp://127.0.0.1/a.png"}
        yield answers


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_an_address_is_read_only_where_it_is_allowed(server: Answers, folder: Path) -> None:
    with pytest.raises(ImageError, match="Pass allow_url=True"):
        load_image(f"{server.url}/a.png")
    for geo_keys in ({}, {34735: (1, 1, 0, 0)}):
        Image.fromarray(PIXELS).save(folder / "a.png", "tiff", tiffinfo=geo_keys)
        server.files["/a.png"] = (folder / "a.png").read_bytes()
        pixels, image = load_referenced(f"{server.url}/a.png", allow_url=True)
        np.testing.assert_array_equal(pixels, PIXELS)
        assert image.georeferenced is bool(geo_keys)


def test_the_chosen_frame_of_a_pillow_image_is_read(folder: Path) -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    first.save(folder / "two.tif", save_all=True, append_images=[second])
    with Image.open(folder / "two.tif") as opened:
        opened.seek(1)
        np.testing.assert_array_equal(load_referenced(opened)[0], PIXELS[::-1])


def test_what_the_web_does_not_give_is_one_clear_error(server: Answers) -> None:
    for address, told in [
        (f"{server.url}/none.png", "cannot be read .*404"),
        (f"{server.url}/away", "cannot be read .*file://.* not allowed"),
        (f"{server.url}/ftp", "cannot be read .*redirects from http to ftp://"),
        ("file:///a.png", "Expected an http or https URL"),
        ("http://[", "cannot be read|Expected an http"),
    ]:
        with pytest.raises(ImageError, match=told):
            fetch_image(address)


def test_a_picture_that_is_too_large_is_not_read(server: Answers) -> None:
    with pytest.raises(ImageError, match="more than 100 bytes"):
        fetch_image(f"{server.url}/a.png", most_bytes=100)
    assert web_images.MAX_DOWNLOAD_BYTES == 100_000_000
