"""HQSeg-44K: the folder of each set, as its authors or the release of HQ-SAM write it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, load_dataset
from anymask.masks import rle_to_mask
from tests.formats.truth import HW, RING, TWO_PARTS, photo, png

# folders of images and masks, split
FOLDERS = [
    ("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", "train"),
    ("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", "val"),
    ("DIS5K/DIS-TE3/im", "DIS5K/DIS-TE3/gt", "test"),
    *((f"thin_object_detection/{images}", f"thin_object_detection/{masks}", split)
      for images, masks, split in (
        ("ThinObject5K/images_train", "ThinObject5K/masks_train", "train"),
        ("ThinObject5K/images_test", "ThinObject5K/masks_test", "val"),
        ("COIFT/images", "COIFT/masks", "val"),
        ("HRSOD/images", "HRSOD/masks_max255", "val"),
    )),
    *((f"cascade_psp/{name}", f"cascade_psp/{name}", "train")
      for name in ("fss_all", "DUTS-TR", "DUTS-TE", "ecssd", "MSRA_10K")),
    ("FSS-1000/fewshot_data/ab_wheel", "FSS-1000/fewshot_data/ab_wheel", "train"),
    ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask", "train"),
    ("ECSSD/images", "ECSSD/ground_truth_mask", "train"),
    ("MSRA10K_Imgs_GT/Imgs", "MSRA10K_Imgs_GT/Imgs", "train"),
    ("DUT-OMRON/DUT-OMRON-image", "DUT-OMRON/pixelwiseGT-new-PNG", "train"),
]  # fmt: skip


def soft(mask: np.ndarray) -> np.ndarray:
    """White on black with one grey row, as anti-aliasing draws it."""
    values = np.where(mask, 255, 0).astype(np.uint8)
    values[0, :4] = (0, 60, 100, 0)  # below half: background
    return values


def write(root: Path, images: str, masks: str) -> None:
    for name, mask in (("a", RING), ("b-1", TWO_PARTS)):
        photo(root / images / f"{name}.jpg")
        png(root / masks / f"{name}.png", soft(mask))


def check(samples: list[AnnotatedImage], label: str | None = None) -> None:
    assert [Path(one.file_name).name for one in samples] == ["a.jpg", "b-1.jpg"]
    for one, truth in zip(samples, (RING, TWO_PARTS), strict=True):
        assert [mask.label for mask in one.objects] == [label]
        np.testing.assert_array_equal(rle_to_mask(one.rles[0]), truth)
        assert one.image().shape == (*HW, 3)


@pytest.mark.parametrize(("images", "masks", "split"), FOLDERS, ids=[row[0] for row in FOLDERS])
def test_each_folder_is_read_pixel_for_pixel(
    images: str, masks: str, split: str, tmp_path: Path
) -> None:
    write(tmp_path, images, masks)
    label = "ab_wheel" if "ab_wheel" in images else None
    info, samples = load_dataset(tmp_path, "hqseg", split)
    assert info.source == "hqseg"
    check(samples, label)
    inside = tmp_path / Path(images).parts[0]  # the folder of the set, without those above it
    check(load_dataset(inside, "hqseg", split)[1], label)


def test_the_whole_release_is_recognised_and_split(tmp_path: Path) -> None:
    for images, masks, _ in FOLDERS[:12]:
        write(tmp_path, images, masks)
    assert anymask.read(tmp_path, split="val").format == "hqseg"
    assert anymask.read(tmp_path / "DIS5K", split="val").format == "hqseg"
    assert anymask.read(tmp_path / "thin_object_detection" / "HRSOD", split="val").format == "hqseg"
    counts = {name: len(load_dataset(tmp_path, split=name)[1]) for name in ("train", "val")}
    assert counts == {"train": 14, "val": 8}
    assert len(load_dataset(tmp_path)[1]) == 8, "val is the default"
    check(load_dataset(tmp_path, split="HRSOD")[1])


def test_missing_splits_and_images_are_named(tmp_path: Path) -> None:
    write(tmp_path, *FOLDERS[0][:2])
    with pytest.raises(DataError, match="DUT-OMRON"):
        load_dataset(tmp_path, "hqseg", "DIS-XX")
    with pytest.raises(DataError, match="'val'"):
        load_dataset(tmp_path, "hqseg")
    (tmp_path / FOLDERS[0][0] / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.png: No image of this name"):
        load_dataset(tmp_path, "hqseg", "train")


def test_the_commands_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "data", *FOLDERS[1][:2])
    out = tmp_path / "set"
    assert main(["convert", str(tmp_path / "data"), str(out), "--to", "set", "--copy-images"]) == 0
    check(load_dataset(out)[1])
    assert main(["evaluate", str(tmp_path / "data"), "--model", "nano", "--limit", "2"]) == 0
    assert "| data | 1 |" in capsys.readouterr().out, "the other mask is too small to count"
    Image.new("L", (3, 3)).save(tmp_path / "data/DIS5K/DIS-VD/gt/zz.png")
    again = tmp_path / "again"
    assert main(["convert", str(tmp_path / "data"), str(again), "--to", "set"]) == 0
    assert "zz.png" in capsys.readouterr().err, "skipped and reported"
