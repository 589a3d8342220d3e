"""Published data sets: recognised, and read pixel for pixel, in the layouts of their authors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError, InputError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, LossReport, load_clips, load_dataset
from anymask.formats.layouts import LAYOUTS, find_layout, iter_dataset, recognize_layout
from anymask.masks import rle_to_mask
from tests.formats import published
from tests.formats.published import WRITERS
from tests.formats.truth import DOT, RING, TWO_PARTS, Truth, png, write_json

EVERY = pytest.mark.parametrize("name", WRITERS)


def check(samples: list[AnnotatedImage], truths: list[Truth], root: Path) -> None:
    assert [sample.source for sample in samples] == [root / truth.image for truth in truths]
    for sample, truth in zip(samples, truths, strict=True):
        assert tuple(mask.label for mask in sample.objects) == tuple(
            label for _, label in truth.masks
        )
        for rle, (mask, _) in zip(sample.rles, truth.masks, strict=True):
            np.testing.assert_array_equal(rle_to_mask(rle), mask)
        assert (sample.ignore is None) == (truth.ignore is None)
        if sample.ignore is not None and truth.ignore is not None:
            np.testing.assert_array_equal(rle_to_mask(sample.ignore), truth.ignore)
        assert sample.image().shape == (*sample.hw, 3)


@EVERY
def test_a_data_set_is_recognised_and_read_pixel_for_pixel(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    truths = write(tmp_path)
    assert recognize_layout(tmp_path) == layout
    info, samples = load_dataset(tmp_path)
    check(samples, truths, tmp_path)
    check(list(iter_dataset(tmp_path, layout)), truths, tmp_path)  # photo by photo
    assert (info.name, info.source) == (tmp_path.name, layout)


def test_every_layout_has_a_data_set_to_be_tested_on() -> None:
    ours = {name for name, layout in LAYOUTS.items() if layout.package.startswith("anymask.")}
    assert {layout for layout, _ in WRITERS.values()} == ours


@EVERY
def test_no_other_split_is_read_in_its_place(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    write(tmp_path)
    with pytest.raises(DataError, match="no-such|looked for"):
        load_dataset(tmp_path, layout, "no-such")


def told(root: Path, layout: str) -> str:
    """What is said of a data set that cannot be read; nothing when it can."""
    try:
        load_dataset(root, layout)
    except DataError as error:
        return str(error)
    return ""


@EVERY
def test_a_truncated_file_of_truth_is_named(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    images = {tmp_path / truth.image for truth in write(tmp_path)}
    files = [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix in (".json", ".png", ".mat", ".hdf5") and path not in images
    ]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        unread = path.stem == "captions_val2017" or "contact" in path.parts
        assert unread or path.name in told(tmp_path, layout)
        path.write_bytes(whole)


def test_an_absent_photo_is_named(tmp_path: Path) -> None:
    truths = published.write_voc(tmp_path)
    (tmp_path / truths[0].image).unlink()
    with pytest.raises(DataError, match=r"2007_000033\.png: Image not found: '.*33\.jpg'"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("split", ["../val", "/val", "v*", "C:val"])
def test_a_split_that_leads_elsewhere_is_refused(split: str, tmp_path: Path) -> None:
    published.write_voc(tmp_path)
    with pytest.raises(InputError, match="Invalid split "):
        load_dataset(tmp_path, split=split)


# COCO and LVIS.


def test_what_coco_says_beside_the_pixels_is_kept(tmp_path: Path) -> None:
    published.write_coco(tmp_path)
    _, samples = load_dataset(tmp_path, split="val2017")
    assert [sample.benchmark.image_id for sample in samples] == [7, 9]
    assert [mask.drawn_box for mask in samples[0].objects] == [(1, 2, 4, 6), (1, 2, 4, 6)]
    (crowd,) = (mask for mask in samples[0].masks if mask.crowd)
    assert crowd.label == "cat"
    np.testing.assert_array_equal(rle_to_mask(crowd.rle), TWO_PARTS)


def test_a_photo_outside_of_the_data_set_is_refused(tmp_path: Path) -> None:
    published.write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_val2017.json"
    for name in ("../../secret.jpg", "/etc/passwd", ""):
        document = json.loads(path.read_text())
        document["images"][0]["file_name"] = name
        write_json(path, document)
        with pytest.raises(DataError, match="image 7: .* points outside the dataset"):
            load_dataset(tmp_path)


def test_one_json_can_be_named_and_two_that_fit_are_not_guessed(tmp_path: Path) -> None:
    published.write_zerowaste(tmp_path)
    document = (tmp_path / "val" / "labels.json").read_text()
    (tmp_path / "val" / "labels.json").unlink()
    for name in ("a_val.json", "b_val.json"):
        (tmp_path / name).write_text(document)
    with pytest.raises(DataError, match=r"Several files match the split 'val': a_val\.json, b_val"):
        load_dataset(tmp_path, "coco")
    (tmp_path / "val" / "data").rename(tmp_path / "imgs")
    _, samples = load_dataset(tmp_path / "b_val.json", "coco")
    assert samples[0].source == tmp_path / "imgs" / "01_frame_1.PNG"


def test_lvis_says_which_classes_were_looked_for(tmp_path: Path) -> None:
    published.write_lvis(tmp_path)
    (tmp_path / "annotations" / "lvis_v1_train.json").touch()
    report = LossReport()
    _, (sample,) = load_dataset(tmp_path, report=report)
    assert report.notes == ["Only the split val was read. Others, for --split: train"]
    assert sample.benchmark.federated is not None
    assert sample.benchmark.federated.absent == {"ant", "cow"}
    assert sample.benchmark.federated.partial == {"bun"}
    assert tuple(mask.drawn_box for mask in sample.objects) == ((3.3, 2.6, 3.3 + 18.4, 2.6 + 15.3),)


# People, boxes, numbers.


def test_a_label_that_cityscapes_does_not_have_is_named(tmp_path: Path) -> None:
    published.write_cityscapes_polygons(tmp_path)
    path = next(tmp_path.rglob("*_polygons.json"))
    path.write_text(path.read_text().replace('"road"', '"roaad"'))
    with pytest.raises(DataError, match=r"_polygons\.json: object 0: Unknown label 'roaad'"):
        load_dataset(tmp_path)


def test_cityscapes_pictures_and_polygons_mean_the_same(tmp_path: Path) -> None:
    published.write_cityscapes_polygons(tmp_path)
    _, (drawn,) = load_dataset(tmp_path)
    values = np.zeros(drawn.hw, np.uint16)
    for rle, number in zip(drawn.rles, (24000, 26000), strict=True):
        values[rle_to_mask(rle)] = number
    values[rle_to_mask(drawn.ignore)] = 26
    values[values == 0] = 7
    path = next(tmp_path.rglob("*_polygons.json"))
    png(path.with_name(path.name.replace("polygons.json", "instanceIds.png")), values)
    _, (read,) = load_dataset(tmp_path)
    assert (read.masks, read.ignore) == (drawn.masks, drawn.ignore)


# Videos.


def test_a_clip_is_its_frames_in_order(tmp_path: Path) -> None:
    truths = published.write_davis(tmp_path)
    (clip,) = load_clips(tmp_path)
    assert (clip.name, len(clip.frames), list(clip.annotations)) == ("bear", 2, [0, 1])
    assert clip.image(1).shape == (20, 30, 3)
    frame = clip.frame(1)
    assert list(frame.by_id()) == [1, 2]
    np.testing.assert_array_equal(rle_to_mask(frame.by_id()[2]), truths[1].masks[1][0])


def test_all_objects_of_davis_count_as_one_in_2016(tmp_path: Path) -> None:
    published.write_davis(tmp_path)
    (clip,) = load_clips(tmp_path, split="2016/val")
    frame = clip.frame(0)
    assert list(frame.by_id()) == [1]
    np.testing.assert_array_equal(rle_to_mask(frame.by_id()[1]), RING | TWO_PARTS | DOT)
    assert frame.ignore is None


def test_frames_without_masks_are_frames_all_the_same(tmp_path: Path) -> None:
    published.write_youtube_vos(tmp_path)
    (clip,) = load_clips(tmp_path, "youtube-vos")
    assert (len(clip.frames), clip.labels) == (2, {1: "ape"})
    with pytest.raises(DataError, match="0a49f5265b: Frame 1 is not annotated"):
        clip.frame(1)


def test_a_video_without_frames_is_named(tmp_path: Path) -> None:
    published.write_davis(tmp_path)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("bear\nbmx\n")
    with pytest.raises(DataError, match="480p/bmx: The frames of this video are"):
        load_clips(tmp_path)


def test_a_photo_is_opened_when_somebody_looks_at_it(tmp_path: Path) -> None:
    truths = published.write_voc(tmp_path)
    (tmp_path / truths[0].image).write_bytes(b"no picture")
    _, (sample,) = load_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"2007_000033\.jpg"):
        sample.image()
    Image.new("RGB", (5, 5)).save(tmp_path / truths[0].image)
    with pytest.raises(DataError, match=r"2007_000033.jpg: the masks were drawn on an image of "):
        sample.image()


# Conversion.


@EVERY
def test_a_published_data_set_becomes_a_set_of_our_own(name: str, tmp_path: Path) -> None:
    layout, write = WRITERS[name]
    truths = write(tmp_path / "published")
    words = ["--from", layout, "--split", find_layout(layout).split, "--to", "set", "--copy-images"]
    assert main(["convert", str(tmp_path / "published"), str(tmp_path / "ours"), *words]) == 0
    for truth in truths:
        truth.image = f"images/{truth.image.removeprefix('images/')}"
    check(load_dataset(tmp_path / "ours")[1], truths, tmp_path / "ours")
