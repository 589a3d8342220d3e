"""Tiny data sets in the layouts that their authors publish, written without our own code.

Each writer returns what must come back: for each photo its file name, masks with labels, and the
pixels that do not count (None for none).
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image, ImageDraw

from tests.data.published_folders import (
    write_davis,
    write_davis_2016,
    write_doors,
    write_egohos,
    write_gtea,
    write_hypersim,
    write_leaves,
    write_mose,
    write_nuclei,
    write_ovis,
    write_sav,
    write_youtube_vos,
)
from tests.data.truth import (
    DOT,
    HW,
    RING,
    TRIANGLE,
    TWO_PARTS,
    Mask,
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
    photo_name = f"leftImg8bit/val/{name}_leftImg8bit.png"
    return [Truth(photo_name, [(RING, "car"), (TWO_PARTS, "car")], DOT | box(0, 0, 30, 1))]


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
        picture = Image.new("1", HW[::-1])
        ImageDraw.Draw(picture).polygon([(x, y) for x, y in ring], fill=1)
        drawn[label] = np.asarray(picture)
    car = drawn["car"] & ~drawn["person"] & ~drawn["cargroup"]
    photo_name = f"leftImg8bit/val/{name}_leftImg8bit.png"
    masks = [(drawn["person"], "person"), (car, "car")]
    return [Truth(photo_name, masks, drawn["cargroup"])]


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


def write_open_images(root: Path) -> list[Truth]:
    photo(root / "validation" / "00a1.jpg", (40, 60))
    png(root / "masks" / "00a1_m01_1.png", (RING * 255).astype(np.uint8))
    header = "MaskPath ImageID LabelName BoxID BoxXMin BoxXMax BoxYMin BoxYMax PredictedIoU Clicks"
    row = ["00a1_m01_1.png", "00a1", "/m/01", "1", "0.1", "0.5", "0.25", "0.75", "0.9", ""]
    path = root / "validation-annotations-object-segmentation.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(), row])
    (root / "oidv7-class-descriptions-boxable.csv").write_text("LabelName,DisplayName\n/m/01,Owl\n")
    twice = RING.repeat(2, axis=0).repeat(2, axis=1)
    return [Truth("validation/00a1.jpg", [(twice, "Owl")])]


def write_bsds(root: Path, packed: bool = True) -> list[Truth]:
    top = root / "BSR" / "BSDS500" / "data"
    photo(top / "images" / "test" / "100007.jpg")
    people = np.empty((1, 2), object)
    regions = [1 + RING.astype(np.uint16), 1 + TWO_PARTS.astype(np.uint16) + 2 * DOT]
    for place, numbers in enumerate(regions):
        borders = np.zeros(HW, np.bool_)
        borders[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
        people[0, place] = {"Segmentation": numbers.astype(np.uint16), "Boundaries": borders}
    path = top / "groundTruth" / "test" / "100007.mat"
    path.parent.mkdir(parents=True)
    scipy.io.savemat(path, {"groundTruth": people}, do_compression=packed)
    masks: list[tuple[Mask, str | None]] = [(~RING, None), (RING, None)]
    masks += [(~TWO_PARTS & ~DOT, None), (TWO_PARTS, None), (DOT, None)]
    return [Truth("BSR/BSDS500/data/images/test/100007.jpg", masks)]


def write_phrase_cut(root: Path) -> list[Truth]:
    photo(root / "images" / "2331508.jpg")
    polygons = [
        [[[2, 2], [20, 3], [11, 15]], [[24.6, 4.2], [28, 4], [28, 9]]],
        [[[1, 17], [6, 17]]],
    ]
    tasks = [
        {"task_id": "2331508__1", "image_id": 2331508, "phrase": "red cars", "Polygons": polygons}
    ]
    write_json(root / "refer_test.json", tasks)
    sizes = [{"image_id": 2331508, "height": HW[0], "width": HW[1], "split": "test"}]
    write_json(root / "image_data_split3000.json", sizes)
    mask = np.zeros(HW, np.bool_)
    for ring in (ring for rings in polygons for ring in rings):
        picture = Image.new("L", HW[::-1])
        corners = [(int(x), int(y)) for x, y in ring]
        ImageDraw.Draw(picture).polygon(corners, outline=1, fill=1)
        mask |= np.asarray(picture) > 0
    return [Truth("images/2331508.jpg", [(mask, "red cars")])]


def write_visor(root: Path) -> list[Truth]:
    top = root / "GroundTruth-SparseAnnotations"
    name = "P01_01_frame_0000000298.jpg"
    photo(top / "rgb_frames" / "val" / "P01" / "P01_01" / name)
    image = {"name": name, "video": "P01_01", "image_path": f"P01_01/{name}", "subsequence": "s"}
    ring = np.reshape(TRIANGLE, (-1, 2)).tolist()
    rows = [
        {"name": "left hand", "class_id": 300, "segments": [ring, [[25, 1], [28, 1], [28, 5]]]},
        {"name": "hidden", "class_id": 3, "segments": []},
    ]
    document = {"info": {}, "video_annotations": [{"image": image, "annotations": rows}]}
    write_json(top / "annotations" / "val" / "P01_01.json", document)
    mask = filled([TRIANGLE, [25, 1, 28, 1, 28, 5]])
    relative = f"GroundTruth-SparseAnnotations/rgb_frames/val/P01/P01_01/{name}"
    return [Truth(relative, [(mask, "left hand")])]


def write_ndd20(root: Path) -> list[Truth]:
    photo(root / "ABOVE" / "104.jpg")
    shape = {"name": "polyline", "all_points_x": TRIANGLE[0::2], "all_points_y": TRIANGLE[1::2]}
    region = {"shape_attributes": shape, "region_attributes": {"species": "BND", "id": ""}}
    row = {"filename": "104.jpg", "size": 9, "regions": [region], "file_attributes": {}}
    write_json(root / "ABOVE_LABELS.json", {"104.jpg9": row})
    return [Truth("ABOVE/104.jpg", [(filled([TRIANGLE]), "BND")])]


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
    "Open Images": ("open-images", write_open_images),
    "BSDS500": ("bsds500", write_bsds),
    "PhraseCut": ("phrase-cut", write_phrase_cut),
    "VISOR": ("visor", write_visor),
    "NDD20": ("ndd20", write_ndd20),
    "EgoHOS": ("egohos", write_egohos),
    "GTEA": ("gtea", write_gtea),
    "DOORS": ("doors", write_doors),
    "PPDLS": ("ppdls", write_leaves),
    "BBBC038": ("bbbc038", write_nuclei),
    "Hypersim": ("hypersim", write_hypersim),
    "DAVIS 2017": ("davis", write_davis),
    "DAVIS 2016": ("davis", write_davis_2016),
    "YouTube-VOS": ("youtube-vos", write_youtube_vos),
    "MOSE": ("mose", write_mose),
    "SA-V": ("sav", write_sav),
    "OVIS": ("youtube-vis", write_ovis),
}
