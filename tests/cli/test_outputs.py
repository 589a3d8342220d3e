"""Files that the commands write."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.cli.outputs import (
    FoundMask,
    check_outputs,
    output_kind,
    write_found,
)
from anymask.data.images import load_mask
from anymask.jobs.outputs import write_overlay
from anymask.primitives.draw import overlay
from anymask.primitives.errors import InputError
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle

IMAGE = np.random.default_rng(3).integers(1, 256, (40, 60, 3), np.uint8)
MASK = np.zeros((40, 60), bool)
MASK[5:30, 10:50] = True
MASK[10:20, 20:30] = False
FOUND = FoundMask(
    Path("dog.jpg"),
    IMAGE,
    MASK,
    record_from_rle(mask_to_rle(MASK), quality=0.9, stability=0.8),
    Prompt.of(points=[(12, 8)], box=(5, 3, 55, 35)),
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "cutout"),
        ("a.PNG", "cutout"),
        ("a.overlay.png", "overlay"),
        ("a.mask.png", "mask"),
        ("a.json", "json"),
        ("a.svg", "svg"),
        ("a.b.npy", "npy"),
    ],
)
def test_the_name_says_what_is_written(name: str, kind: str) -> None:
    assert output_kind(Path("out") / name) == kind


def test_an_option_says_what_a_plain_png_is() -> None:
    assert output_kind(Path("a.png"), "overlay") == "overlay"
    assert output_kind(Path("a.mask.png"), "overlay") == "mask"


@pytest.mark.parametrize("name", ["a.jpg", "a", "png", "a.tiff"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"wanted an output that ends in .png, .json, .svg or .npy"
    ):
        output_kind(Path(name))


def test_the_photo_is_never_overwritten(tmp_path: Path) -> None:
    photo = tmp_path / "dog.png"
    photo.touch()
    with pytest.raises(InputError, match="is the photo itself; choose another name"):
        check_outputs([tmp_path / "other.png", tmp_path / "." / "dog.png"], photo)
    with pytest.raises(InputError, match="is a folder; add a file name"):
        check_outputs([tmp_path], photo)
    check_outputs([tmp_path / "new.png"], photo)


def test_a_cut_out_hides_nothing_in_its_transparent_part(tmp_path: Path) -> None:
    write_found(tmp_path / "cut.png", "cutout", FOUND)
    with Image.open(tmp_path / "cut.png") as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[..., 3], MASK * 255)
    np.testing.assert_array_equal(pixels[MASK][:, :3], IMAGE[MASK])
    assert not pixels[~MASK].any()


def test_a_mask_picture_reads_back_as_the_mask(tmp_path: Path) -> None:
    for kind in ("mask", "cutout"):
        write_found(tmp_path / "m.png", kind, FOUND)
        np.testing.assert_array_equal(load_mask(tmp_path / "m.png"), MASK)


def test_an_overlay_is_the_photo_with_something_on_it(tmp_path: Path) -> None:
    write_found(tmp_path / "over.png", "overlay", FOUND)
    with Image.open(tmp_path / "over.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == IMAGE.shape
    np.testing.assert_array_equal(pixels[:, 59], IMAGE[:, 59])
    assert (pixels[12, 40] != IMAGE[12, 40]).any()


def test_json_is_a_record_of_sa_1b(tmp_path: Path) -> None:
    write_found(tmp_path / "dog.json", "json", FOUND)
    told = json.loads((tmp_path / "dog.json").read_text())
    assert told["image"] == {"image_id": 1, "width": 60, "height": 40, "file_name": "dog.jpg"}
    (annotation,) = told["annotations"]
    assert annotation["id"] == 1
    assert annotation["predicted_iou"] == 0.9
    np.testing.assert_array_equal(MaskRecord.from_sa1b(annotation).mask, MASK)


def test_an_array_file_is_the_mask(tmp_path: Path) -> None:
    write_found(tmp_path / "m.npy", "npy", FOUND)
    np.testing.assert_array_equal(np.load(tmp_path / "m.npy"), MASK)


def test_an_outline_has_the_photo_s_size_and_the_hole(tmp_path: Path) -> None:
    write_found(tmp_path / "m.svg", "svg", FOUND)
    text = (tmp_path / "m.svg").read_text()
    assert 'viewBox="0 0 60 40"' in text
    assert 'fill-rule="evenodd"' in text
    assert text.count("M") == 2


def test_folders_are_made_and_drafts_never_stay(tmp_path: Path) -> None:
    write_found(tmp_path / "a" / "b" / "m.npy", "npy", FOUND)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["m.npy"]


@pytest.mark.parametrize("limit", [17, 40, 200])
def test_an_overlay_of_many_masks_shows_each_one_in_the_small(tmp_path: Path, limit: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 70, 3), np.uint8)
    masks = np.zeros((4, 90, 70), bool)
    masks[0, 10:80, 5:60] = True
    masks[0, 30:40, 20:30] = False
    masks[1, 89, 69] = masks[2, 0, 0] = True  # masks[3] is empty
    size = (round(70 * min(1, limit / 90)), min(limit, 90))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    truth = [cv2.resize(m.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) for m in masks]
    write_overlay(
        tmp_path / "all.png", image, [record_from_rle(mask_to_rle(mask)) for mask in masks], limit
    )
    drawn = np.asarray(Image.open(tmp_path / "all.png"))
    np.testing.assert_array_equal(drawn, overlay(small, np.array(truth) != 0))
