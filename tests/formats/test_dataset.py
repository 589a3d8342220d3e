"""A stream gives what the reader of the whole data set gives."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import AnnotatedImage, convert, read, read_annotations, write_annotations
from anymask.formats.registry import FORMATS
from anymask.masks import Mask
from tests.formats.annotated import rings
from tests.formats.test_formats import place, with_images


def two() -> list[AnnotatedImage]:
    """Two pictures in one video's folder."""
    masks = tuple(Mask(mask.rle, "ring") for mask in rings().masks)
    names = ("0/00000.jpg", "0/00001.jpg")
    return [AnnotatedImage(file_name=name, hw=rings().hw, masks=masks) for name in names]


@pytest.mark.parametrize("disk", ["NFC", "NFD"])
def test_composed_and_decomposed_accents_name_the_same_file(disk: str, tmp_path: Path) -> None:
    """Copies of a Mac decompose names. The output has the name of the image file."""
    other, name = sorted(
        (unicodedata.normalize(form, "Über.png") for form in ("NFC", "NFD")),
        key=lambda one: unicodedata.is_normalized(disk, one),
    )
    images = tmp_path / "photos"
    image = replace(two()[0], file_name=other)
    images.mkdir()
    Image.new("RGB", image.hw[::-1]).save(images / name)
    write_annotations([image], tmp_path / "a.json", "coco")
    convert(tmp_path / "a.json", tmp_path / "set", "set", images=images, copy_images=True)
    convert(tmp_path / "a.json", tmp_path / "yolo", "yolo", images=images)
    assert (tmp_path / "yolo" / "labels" / name).with_suffix(".txt").is_file()
    for source in (tmp_path / "set", tmp_path / "yolo"):
        assert [one.file_name for one in read(source, images=images)] == [name]
    with pytest.raises(DataError, match="differs in upper and lower case"):
        read(tmp_path / "a.json", images=images).image_path(replace(image, file_name="ÜBER.PNG"))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_streams_what_it_reads(name: str, tmp_path: Path) -> None:
    for image in two():
        image_root = with_images(tmp_path, image)
    source = place(tmp_path, name)
    write_annotations(two(), source, name)
    stream = read(source, name, image_root)
    whole, lost = read_annotations(source, name, image_root)
    assert [*stream] == whole
    assert [*stream] == whole  # a second time
    assert stream.unread == lost.counts()
    assert stream.length() in (None, 2)
    assert len(whole) == 2
    for image in whole if name != "sav" else ():  # SA-V names every fourth frame
        assert stream.image_path(image).stem == Path(image.file_name).stem


def test_the_pictures_of_a_set_are_found_without_being_told(tmp_path: Path) -> None:
    with_images(tmp_path, two()[0])
    write_annotations(two()[:1], tmp_path / "all", "set")
    stream = read(tmp_path / "all")
    (image,) = stream
    assert (stream.name, stream.format) == ("all", "set")
    assert stream.image_path(image) == tmp_path / "all" / "images" / "0" / "00000.jpg"


def test_a_picture_that_is_nowhere_is_told_with_the_places(tmp_path: Path) -> None:
    write_annotations(two(), tmp_path / "all.json", "coco")
    stream = read(tmp_path / "all.json")
    with pytest.raises(
        DataError, match="'0/00000.jpg' is not in .*images.*Pass the folder .* --images"
    ):
        stream.image_path(next(iter(stream)))


def test_pictures_of_splits_are_found_beside_their_annotations(tmp_path: Path) -> None:
    """As COCO is laid out; never in the folder of another data set."""
    for folder in ("coco/annotations", "coco/train2017", "coco/val2017", "other"):
        (tmp_path / folder).mkdir(parents=True)
    masks = AnnotatedImage(file_name="a.png", hw=(8, 9))
    for split, name in (("train2017", "a.png"), ("val2017", "b.png")):
        Image.new("RGB", (9, 8)).save(tmp_path / "coco" / split / name)
        target = tmp_path / "coco" / "annotations" / f"instances_{split}.json"
        write_annotations([replace(masks, file_name=name)], target, "coco")
    for split, name in (("train2017", "a.png"), ("val2017", "b.png")):
        stream = read(tmp_path / "coco" / "annotations" / f"instances_{split}.json")
        assert [stream.image_path(one) for one in stream] == [tmp_path / "coco" / split / name]
    write_annotations([masks], tmp_path / "other" / "lone.json", "coco")
    lone = read(tmp_path / "other" / "lone.json")
    with pytest.raises(DataError, match=r"'a.png' is not in .*other"):
        lone.image_path(masks)
    told = read(tmp_path / "other" / "lone.json", images=tmp_path / "coco")
    assert told.image_path(masks) == tmp_path / "coco" / "train2017" / "a.png"
    Image.new("RGB", (9, 8)).save(tmp_path / "coco" / "val2017" / "a.png")
    told = read(tmp_path / "other" / "lone.json", images=tmp_path / "coco")
    with pytest.raises(
        DataError, match=r"name 'a.png', in .*train2017 and in .*val2017. Pass the folder"
    ):
        told.image_path(masks)


def test_a_name_that_leads_out_of_the_folder_finds_nothing(tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "secret.png")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "link.png").symlink_to(tmp_path / "secret.png")
    write_annotations(two(), tmp_path / "all.json", "coco")
    stream = read(tmp_path / "all.json", images=tmp_path / "pictures")
    for name in ("../secret.png", "link.png"):
        with pytest.raises(DataError, match="is not in"):
            stream.image_path(AnnotatedImage(file_name=name, hw=(3, 3)))


def test_of_folders_of_masks_one_is_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for folder in ("images", "masks"):
            (tmp_path / split / folder).mkdir(parents=True)
            Image.new("L", (9, 8)).save(tmp_path / split / folder / "a.png")
    with pytest.raises(DataError, match="The folder contains 2 folders of masks with images, but"):
        list(read(tmp_path))
