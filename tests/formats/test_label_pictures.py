"""Label pictures: numbers come back, overlaps are counted, the palette is PASCAL VOC's."""

import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, Policy, convert, label_images, write_files
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import annotated_images, rings
from tests.masks.strategies import quickly, sizes


def of_values(values: np.ndarray, name: str = "a.png") -> AnnotatedImage:
    """A picture with a mask for each number but 0."""
    found = [
        Mask(mask_to_rle(values == value), id=int(value)) for value in np.unique(values) if value
    ]
    return AnnotatedImage(file_name=name, hw=values.shape, masks=tuple(found))


def written(target: Path, images: list[AnnotatedImage], davis: bool = False) -> LossReport:
    report = LossReport()
    encode = label_images.encode_davis if davis else label_images.encode
    write_files(encode(images, target, report, Policy()), target)
    return report


@pytest.mark.parametrize("davis", [False, True])
def test_numbers_come_back(davis: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(5).choice([0, 1, 7, 254], (9, 11))
    image = of_values(values, "cars/00003.jpg" if davis else "cars/00003.png")
    assert not written(tmp_path, [image], davis)
    read = label_images.read_davis if davis else label_images.read
    assert read(tmp_path, LossReport()) == [image]
    place = tmp_path / "Annotations" / "480p" if davis else tmp_path
    with Image.open(place / "cars" / "00003.png") as source_image:
        assert source_image.mode == ("P" if davis else "I;16")
        np.testing.assert_array_equal(np.asarray(source_image), values)


@quickly
@given(annotated_images())
def test_what_is_hidden_is_counted(
    tmp_path_factory: pytest.TempPathFactory, image: AnnotatedImage
) -> None:
    folder = tmp_path_factory.mktemp("set")
    report = written(folder, [image])
    (found,) = label_images.read(folder, LossReport())
    masks = [mask.mask for mask in image.masks]
    hidden = sum(int(loss.reason.split()[0]) for loss in report.losses if loss.kind == "overlaps")
    kept = sum(mask.area for mask in found.masks)
    assert kept == (np.any(masks, axis=0).sum() if masks else 0)
    assert kept + hidden == sum(mask.sum() for mask in masks)
    empty = [loss.mask for loss in report.losses if loss.kind == "empty"]
    assert empty == [place for place, mask in enumerate(masks) if not mask.any()]


def test_small_masks_lie_on_top(tmp_path: Path) -> None:
    report = written(tmp_path, [rings()])
    with Image.open(tmp_path / "rings.png") as image:
        values = np.asarray(image)
    np.testing.assert_array_equal(values == 1, rings().masks[0].mask)
    assert [str(loss) for loss in report.losses if loss.kind == "overlaps"] == [
        "rings.png, mask 3: 41 of the 108 pixels of the mask are covered by other masks"
    ]
    assert report.counts() == {"labels": 1, "empty": 1, "overlaps": 1}


CAR, TRUCK = (60, 20, 90, 40), (10, 10, 80, 75)  # x0, y0, x1, y1; 400 pixels are in both


@pytest.mark.parametrize(
    ("form", "folder"),
    [
        ("label-png", ""), ("voc", "SegmentationObject"), ("voc", "SegmentationClass"),
        ("davis", "Annotations/480p"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["cvat", "video", "labelme", "project"])
def test_a_nearer_object_is_painted_over_a_smaller_one(
    source: str, form: str, folder: str, tmp_path: Path
) -> None:
    """The small car lies behind the truck: 200 of its 600 pixels are visible."""
    path = SOURCES[source](tmp_path)
    convert(path, tmp_path / "out", form)
    (found,) = (tmp_path / "out" / folder).glob("*.png")
    with Image.open(found) as image:
        assert np.unique(image, return_counts=True)[1].tolist()[1:] in ([200, 4550], [4550, 200])


def cvat_file(folder: Path, video: bool = False) -> Path:
    """A file in which the car, whose z_order is lower, is the later one."""
    boxes = []
    for number, (label, (x0, y0, x1, y1), z) in enumerate([("truck", TRUCK, 5), ("car", CAR, 0)]):
        box = f'label="{label}" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" z_order="{z}"'
        one = f'<track id="{number}" label="{label}"><box frame="0" {box}/></track>'
        boxes.append(one if video else f"<box {box}/>")
    size = "<original_size><width>100</width><height>80</height></original_size>"
    image = f'<image id="0" name="a.jpg" width="100" height="80">{"".join(boxes)}</image>'
    meta = f"<meta><task>{size}</task></meta>"
    return text_file(
        folder / "a.xml", f"<annotations>{meta + ''.join(boxes) if video else image}</annotations>"
    )


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def labelme_file(folder: Path) -> Path:
    shapes = [
        {"label": label, "shape_type": "rectangle", "points": [box[:2], box[2:]]}
        for label, box in (("car", CAR), ("truck", TRUCK))
    ]
    about = {"imagePath": "a.jpg", "imageHeight": 80, "imageWidth": 100, "shapes": shapes}
    return text_file(folder / "a.json", json.dumps(about))


def project_file(folder: Path) -> Path:
    """COCO, as a project writes it that read CVAT's file."""
    studio = pytest.importorskip("anymask.studio", reason="needs the extra [studio]")
    (folder / "photos").mkdir()
    Image.new("RGB", (100, 80)).save(folder / "photos" / "a.jpg")
    project = studio.create_project(folder / "photos")
    assert not project.import_masks(cvat_file(folder)).unread
    project.export(folder / "a.json", only="labeled")
    return folder / "a.json"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "cvat": cvat_file, "video": partial(cvat_file, video=True), "labelme": labelme_file,
    "project": project_file,
}  # fmt: skip


def test_groups_that_are_no_numbers_of_their_own_are_numbered_anew(tmp_path: Path) -> None:
    masks = tuple(
        Mask(mask_to_rle(np.eye(3, dtype=np.bool_)[[n]].T @ np.ones((1, 3)) > 0), id=4)
        for n in range(2)
    )
    image = AnnotatedImage(file_name="a.png", hw=(3, 3), masks=masks)
    report = written(tmp_path, [image])
    assert report.counts() == {"ids": 1}
    (found,) = label_images.read(tmp_path, LossReport())
    assert [mask.id for mask in found.masks] == [1, 2]


def test_davis_keeps_the_void(tmp_path: Path) -> None:
    values = np.zeros((4, 5), np.uint8)
    values[1], values[2] = 2, 255
    void = Mask(mask_to_rle(values == 255), "void", crowd=True)
    image = AnnotatedImage(
        file_name="cars/00000.jpg", hw=(4, 5), masks=(Mask(mask_to_rle(values == 2), id=2), void)
    )
    assert not written(tmp_path, [image], davis=True)
    assert label_images.read_davis(tmp_path, LossReport()) == [image]


def test_the_palette_is_pascal_voc_s() -> None:
    palette = label_images.voc_palette()
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0)}
    published |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    for number, color in published.items():
        assert tuple(palette[number]) == color


def test_davis_numbers_254_objects_and_no_more(tmp_path: Path) -> None:
    values = np.arange(256).reshape(16, 16)
    with pytest.raises(DataError, match="a.png: The format supports at most 254 objects"):
        written(tmp_path, [of_values(values)], davis=True)
    assert not written(tmp_path, [of_values(values)])


@quickly
@given(st.integers(0, 2**32 - 1), sizes(12))
def test_the_pixels_of_every_value_are_found_in_one_look(seed: int, hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([0, 3, 255, 70_000], hw, p=[0.4, 0.4, 0.1, 0.1])
    slowly = {int(value): mask_to_rle(values == value) for value in np.unique(values)}
    assert label_images.value_rles(values) == slowly


def test_a_picture_of_masks_is_painted_in_one_array(tmp_path: Path) -> None:
    hw = (1000, 2000)
    masks = [np.zeros(hw, np.bool_) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask[number * 100 :] = True
    found = tuple(Mask(mask_to_rle(mask)) for mask in masks)
    image = AnnotatedImage(file_name="a.png", hw=hw, masks=found)
    tracemalloc.start()
    values = label_images.paint_numbers(image, [7, 8, 9], LossReport())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values.dtype == np.uint16
    assert np.unique(values[:, 0], return_counts=True)[1].tolist() == [100, 100, 800]
    assert most < 60_000_000  # two arrays of 64 bits a pixel took 32 MB more


def test_davis_of_single_pictures_keeps_their_names(tmp_path: Path) -> None:
    image = of_values(np.array([[0, 7]]), "a.jpg")
    write_files(label_images.encode_davis([image], tmp_path, LossReport(), Policy()), tmp_path)
    (found,) = label_images.read_davis(tmp_path, LossReport())
    assert found.file_name == "a.jpg"


def test_small_objects_beside_a_large_one_of_number_255_are_objects(tmp_path: Path) -> None:
    values = np.zeros((80, 100), np.uint8)
    values[20:70, 20:90] = 255
    for number in range(1, 13):
        values[2:5, 8 * number - 6 : 8 * number - 3] = number
    Image.fromarray(values).save(tmp_path / "numbers.png")
    (image,) = label_images.read(tmp_path / "numbers.png", LossReport())
    assert sorted(mask.id for mask in image.masks) == [*range(1, 13), 255]
