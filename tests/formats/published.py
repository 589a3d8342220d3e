"""Tiny data sets in the layouts that their authors publish, written without our own code.

Each writer returns what must come back: for each photo its file name, masks with labels, and the
pixels that do not count (None for none).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.formats.published_folders import (
    write_davis,
    write_davis_2016,
    write_mose,
    write_ovis,
    write_sav,
    write_youtube_vos,
)
from tests.formats.truth import (
    DOT,
    HW,
    RING,
    TRIANGLE,
    TWO_PARTS,
    Truth,
    annotation,
    box,
    coco_rle,
    filled,
    photo,
    plain_counts,
    png,
    write_json,
)


def write_coco(root: Path) -> list[Truth]:
    photo(root / "val2017" / "000000000007.jpg")
    photo(root / "val2017" / "000000000009.jpg")
    sizes = {"height": HW[0], "width": HW[1]}
    document = {
        "images": [
            {"id": 7, "file_name": "000000000007.jpg"} | sizes,
            {"id": 9, "file_name": "000000000009.jpg"} | sizes,
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "cat"}],
        "annotations": [
            annotation(1, 7, 3, [TRIANGLE, [25, 1, 28, 1, 28, 5]]),
            annotation(2, 7, 5, plain_counts(TWO_PARTS), iscrowd=1),
            annotation(3, 7, 5, coco_rle(RING)),
        ],
    }
    write_json(root / "annotations" / "instances_val2017.json", document)
    write_json(root / "annotations" / "captions_val2017.json", {"images": []})
    triangle = filled([TRIANGLE, [25, 1, 28, 1, 28, 5]])
    return [
        Truth("val2017/000000000007.jpg", [(triangle, "car"), (RING, "cat")], TWO_PARTS),
        Truth("val2017/000000000009.jpg"),
    ]


def write_lvis(root: Path) -> list[Truth]:
    photo(root / "train2017" / "000000000042.jpg")
    document = {
        "images": [
            {
                "id": 42, "height": HW[0], "width": HW[1], "not_exhaustive_category_ids": [2],
                "neg_category_ids": [3, 1], "flickr_url": "http://example.invalid/1.jpg",
                "coco_url": "http://images.cocodataset.org/train2017/000000000042.jpg",
            }
        ],
        "categories": [{"id": n, "name": name} for n, name in ((1, "ant"), (2, "bun"), (3, "cow"))],
        "annotations": [
            {"id": 8, "image_id": 42, "category_id": 2, "segmentation": [TRIANGLE],
             "bbox": [3.3, 2.6, 18.4, 15.3], "area": 130.0},
        ],
    }  # fmt: skip
    write_json(root / "annotations" / "lvis_v1_val.json", document)
    return [Truth("train2017/000000000042.jpg", [(filled([TRIANGLE]), "bun")])]


def write_zerowaste(root: Path) -> list[Truth]:
    photo(root / "val" / "data" / "01_frame_1.PNG")
    row = {"id": 1, "file_name": "01_frame_1.PNG", "height": HW[0], "width": HW[1]}
    document = {
        "images": [row],
        "categories": [{"id": 4, "name": "soft_plastic"}],
        "annotations": [annotation(1, 1, 4, [TRIANGLE])],
    }
    write_json(root / "val" / "labels.json", document)
    return [Truth("val/data/01_frame_1.PNG", [(filled([TRIANGLE]), "soft_plastic")])]


def write_ade20k(root: Path) -> list[Truth]:
    folder = root / "images" / "ADE" / "validation" / "urban" / "street"
    photo(folder / "ADE_val_00000001.jpg")
    seg = np.zeros((*HW, 3), np.uint8)
    for mask, number, instance in ((RING, 401, 7), (TWO_PARTS, 401, 9), (DOT, 2836, 0)):
        seg[mask] = (number // 256 * 10, number % 256, instance)
    png(folder / "ADE_val_00000001_seg.png", seg)
    objects = [
        {"id": 0, "name": "car, auto", "name_ndx": 401, "parts": {"part_level": 0}},
        {"id": 1, "name": "traffic light", "name_ndx": 2836, "parts": {"part_level": 0}},
    ]
    write_json(folder / "ADE_val_00000001.json", {"annotation": {"object": objects}})
    masks = [(RING, "car"), (TWO_PARTS, "car"), (DOT, "traffic light")]
    return [Truth("images/ADE/validation/urban/street/ADE_val_00000001.jpg", masks)]


def write_ade20k_instances(root: Path) -> list[Truth]:
    photo(root / "images" / "validation" / "ADE_val_00000003.jpg")
    layers = np.zeros((*HW, 3), np.uint8)
    layers[RING], layers[TWO_PARTS] = (12, 1, 0), (12, 2, 0)
    layers[DOT] = (77, 200, 0)
    png(root / "annotations_instance" / "validation" / "ADE_val_00000003.png", layers)
    masks = [(RING, "12"), (TWO_PARTS, "12"), (DOT, "77")]
    return [Truth("images/validation/ADE_val_00000003.jpg", masks)]


def write_ade20k_scenes(root: Path) -> list[Truth]:
    photo(root / "images" / "validation" / "ADE_val_00000002.jpg")
    values = (RING * 2 + TWO_PARTS * 150).astype(np.uint8)
    png(root / "annotations" / "validation" / "ADE_val_00000002.png", values)
    table = "Idx\tRatio\tTrain\tVal\tName\n2\t0.1\t5\t6\tbuilding, edifice\n"
    (root / "objectInfo150.txt").write_text(table)
    masks = [(RING, "building"), (TWO_PARTS, "150")]
    return [Truth("images/validation/ADE_val_00000002.jpg", masks)]


def write_cityscapes(root: Path) -> list[Truth]:
    name = "ulm/ulm_000000_000019"
    photo(root / "leftImg8bit" / "val" / f"{name}_leftImg8bit.png")
    values = np.full(HW, 7, np.uint16)
    values[RING], values[TWO_PARTS] = 26000, 26001
    values[DOT], values[0] = 24, 3
    png(root / "gtFine" / "val" / f"{name}_gtFine_instanceIds.png", values)
    paired_image_name = f"leftImg8bit/val/{name}_leftImg8bit.png"
    return [Truth(paired_image_name, [(RING, "car"), (TWO_PARTS, "car")], DOT | box(0, 0, 30, 1))]


def write_cityscapes_polygons(root: Path) -> list[Truth]:
    name = "ulm/ulm_000000_000020"
    photo(root / "leftImg8bit" / "val" / f"{name}_leftImg8bit.png")
    corners = {
        "road": [[0, 0], [29, 0], [29, 19], [0, 19]],
        "car": [[2, 2], [20, 3], [11, 15]],
        "person": [[9, 9], [13, 9], [13, 14]],
        "license plate": [[6, 4], [9, 4], [9, 6]],
        "cargroup": [[22, 12], [28, 12], [28, 18], [22, 18]],
    }
    objects = [{"label": label, "polygon": ring} for label, ring in corners.items()]
    objects.append({"label": "car", "polygon": corners["person"], "deleted": 1})
    document = {"imgHeight": HW[0], "imgWidth": HW[1], "objects": objects}
    write_json(root / "gtFine" / "val" / f"{name}_gtFine_polygons.json", document)
    drawn = {}
    for label, ring in corners.items():
        image = Image.new("1", HW[::-1])
        ImageDraw.Draw(image).polygon([(x, y) for x, y in ring], fill=1)
        drawn[label] = np.asarray(image)
    car = drawn["car"] & ~drawn["person"] & ~drawn["cargroup"]
    paired_image_name = f"leftImg8bit/val/{name}_leftImg8bit.png"
    masks = [(drawn["person"], "person"), (car, "car")]
    return [Truth(paired_image_name, masks, drawn["cargroup"])]


def write_voc(root: Path) -> list[Truth]:
    top = root / "VOCdevkit" / "VOC2012"
    photo(top / "JPEGImages" / "2007_000033.jpg")
    photo(top / "JPEGImages" / "2007_000042.jpg")
    values = (RING * 1 + TWO_PARTS * 2).astype(np.uint8)
    values[DOT] = 255
    classes = (RING * 12 + TWO_PARTS * 20).astype(np.uint8)
    png(top / "SegmentationObject" / "2007_000033.png", values, palette=True)
    png(top / "SegmentationClass" / "2007_000033.png", classes, palette=True)
    listed = top / "ImageSets" / "Segmentation" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("2007_000033\n")
    name = "VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg"
    return [Truth(name, [(RING, "dog"), (TWO_PARTS, "tvmonitor")], DOT)]


WRITERS: dict[str, tuple[str, Callable[[Path], list[Truth]]]] = {
    "COCO": ("coco", write_coco),
    "ZeroWaste": ("coco", write_zerowaste),
    "LVIS": ("lvis", write_lvis),
    "ADE20K": ("ade20k", write_ade20k),
    "ADE20K objects": ("ade20k-instances", write_ade20k_instances),
    "ADE20K scenes": ("ade20k-scenes", write_ade20k_scenes),
    "Cityscapes": ("cityscapes", write_cityscapes),
    "Cityscapes polygons": ("cityscapes", write_cityscapes_polygons),
    "VOC": ("voc", write_voc),
    "DAVIS 2017": ("davis", write_davis),
    "DAVIS 2016": ("davis", write_davis_2016),
    "YouTube-VOS": ("youtube-vos", write_youtube_vos),
    "MOSE": ("mose", write_mose),
    "SA-V": ("sav", write_sav),
    "OVIS": ("youtube-vis", write_ovis),
}
