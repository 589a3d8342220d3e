"""Tiny data sets in the layouts of `research.datasets`; see `tests.formats.published`."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image, ImageDraw

from tests.formats.truth import (
    DOT,
    HW,
    RING,
    TRIANGLE,
    TWO_PARTS,
    Mask,
    Truth,
    filled,
    photo,
    png,
    write_json,
)


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
        image = Image.new("L", HW[::-1])
        corners = [(int(x), int(y)) for x, y in ring]
        ImageDraw.Draw(image).polygon(corners, outline=1, fill=1)
        mask |= np.asarray(image) > 0
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


def write_egohos(root: Path) -> list[Truth]:
    photo(root / "val" / "image" / "ego4d_1.jpg")
    png(root / "val" / "label" / "ego4d_1.png", (RING * 1 + TWO_PARTS * 5).astype(np.uint8))
    png(root / "val" / "contact" / "ego4d_1.png", RING.astype(np.uint8))
    masks = [(RING, "left hand"), (TWO_PARTS, "object in both hands")]
    return [Truth("val/image/ego4d_1.jpg", masks)]


def write_gtea(root: Path) -> list[Truth]:
    photo(root / "Images" / "Ahram_1.jpg")
    png(root / "Masks" / "Ahram_1.png", (TWO_PARTS * 255).astype(np.uint8))
    return [Truth("Images/Ahram_1.jpg", [(TWO_PARTS, "hand")])]


def write_doors(root: Path) -> list[Truth]:
    photo(root / "Te1_5000_b" / "img" / "0001.png")
    white = np.repeat((RING * 255).astype(np.uint8)[..., None], 3, axis=2)
    png(root / "Te1_5000_b" / "Rock_all" / "0001.png", white)
    return [Truth("Te1_5000_b/img/0001.png", [(RING, "boulder")])]


def write_leaves(root: Path) -> list[Truth]:
    photo(root / "Plant" / "Ara2012" / "ara2012_plant001_rgb.png")
    colors = np.zeros((*HW, 3), np.uint8)
    colors[TWO_PARTS], colors[RING] = (0, 200, 7), (90, 0, 0)
    png(root / "Plant" / "Ara2012" / "ara2012_plant001_label.png", colors)
    masks = [(TWO_PARTS, "leaf"), (RING, "leaf")]
    return [Truth("Plant/Ara2012/ara2012_plant001_rgb.png", masks)]


def write_nuclei(root: Path) -> list[Truth]:
    folder = root / "stage1_train" / "00ae65"
    photo(folder / "images" / "00ae65.png")
    png(folder / "masks" / "1.png", (RING * 255).astype(np.uint8))
    png(folder / "masks" / "2.png", (DOT * 255).astype(np.uint8))
    masks = [(RING, "nucleus"), (DOT, "nucleus")]
    return [Truth("stage1_train/00ae65/images/00ae65.png", masks)]


def write_hypersim(root: Path) -> list[Truth]:
    import h5py

    folder = root / "ai_001_001" / "images"
    photo(folder / "scene_cam_00_final_preview" / "frame.0003.tonemap.jpg")
    values = np.full(HW, -1, np.int32)
    values[RING], values[DOT] = 4, 900
    path = folder / "scene_cam_00_geometry_hdf5" / "frame.0003.semantic_instance.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = values
    name = "ai_001_001/images/scene_cam_00_final_preview/frame.0003.tonemap.jpg"
    return [Truth(name, [(RING, None), (DOT, None)])]


WRITERS: dict[str, tuple[str, Callable[[Path], list[Truth]]]] = {
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
}
