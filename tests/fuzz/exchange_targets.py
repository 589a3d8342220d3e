"""Files that are only read: of other tools, of tracks and scores, lists of names, archives, KML."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from anymask import evaluate
from anymask.formats import read_annotations, write_annotations
from anymask.track.stored_tracks import read_tracks
from tests.formats.annotated import rings
from tests.formats.test_cvat_tracks import box, polygon, track, video
from tests.formats.test_label_studio_exports import ROW
from tests.fuzz.more_targets import base_map
from tests.fuzz.targets import Target, attempt

KML = (
    '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
    "<Placemark><name>a</name><Polygon><outerBoundaryIs><LinearRing><coordinates>"
    "15.0001,45.1533,0 15.0003,45.1533,0 15.0003,45.1531,0 15.0001,45.1533,0</coordinates>"
    "</LinearRing></outerBoundaryIs></Polygon></Placemark><Placemark><name>b</name><Point>"
    "<coordinates>15.0002,45.1532</coordinates></Point></Placemark></Document></kml>"
)

RLE = {"size": [10, 20], "counts": [0, 9, 191]}
SACO = {
    "videos": [{"id": 1, "video_name": "v", "height": 10, "width": 20, "length": 3}],
    "annotations": [{"video_id": 1, "category_id": 4, "segmentations": [RLE, None, RLE]}],
    "categories": [{"id": 4, "name": "a cat"}, {"id": 5, "name": "a dog"}],
    "video_np_pairs": [
        {"id": n, "video_id": 1, "category_id": n, "noun_phrase": name}
        for n, name in ((4, "a cat"), (5, "a dog"))
    ],
}
VOC_XML = (
    "<annotation><filename>a.jpg</filename><size><width>20</width><height>10</height></size>"
    "<object><name>cat</name><truncated>1</truncated><polygon><x1>3</x1><y1>4</y1><x2>9</x2>"
    "<y2>4</y2><x3>9</x3><y3>8</y3></polygon></object><object><name>dog</name><bndbox><xmin>1"
    "</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
)
TERMS = (
    '{"licence": {"id": 1, "name": "CC BY 4.0", "url": "https://a.b"}}\n'
    '{"info": {"source": "harbour", "restrictions": ["no-training"]}}\n'
)
ORIGINS = (
    '{"origin": 0, "model": "nano", "weights": "6f0c", "licence": "Apache-2.0"}\n'
    '{"image": "a.png", "masks": [0]}\n'
)


def tools(root: Path) -> list[Target]:
    """CVAT for video, Label Studio's JSON-MIN and tables, ROIs of ImageJ, results, tracks."""
    import roifile

    root.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "0a1b2c3d-a.jpg"):
        Image.new("RGB", (20, 10)).save(root / name)
    (root / "min.json").write_text(json.dumps([ROW]))
    with (root / "studio.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ROW)
        writer.writerow(json.dumps(one) if isinstance(one, list) else one for one in ROW.values())
    moving = polygon(0, (1, 1), (5, 1), (5, 5)), polygon(4, (2, 2), (6, 2), (6, 6))
    video(root, track("car", box(0, 1), box(5, 9, outside=1)), track("dog", *moving, number=1))
    for number, points in enumerate(([[1, 1], [9, 1], [9, 6]], [[2, 2], [4, 2], [4, 4], [2, 4]])):
        one = roifile.ImagejRoi.frompoints(np.array(points, np.float32), name=f"cat-{number}")
        one.tofile(root / "a_RoiSet.zip")
        one.tofile(root / ("a.roi", "b.roi")[number])
    found = {"segmentation": RLE, "bbox": [0, 0, 1, 9], "predicted_iou": 0.9, "area": 9}
    (root / "results.json").write_text(json.dumps([found | {"stability_score": 0.9}]))
    rows = [found | {"image_id": 1, "category_id": 3, "score": 0.5}]
    wrapped = {"annotations": rows, "categories": [{"id": 3, "name": "cat"}]}
    (root / "wrapped.json").write_text(json.dumps(wrapped))
    (root / "saco_videos.json").write_text(json.dumps(SACO))
    (root / "voc.xml").write_text(VOC_XML)
    lines = [{"frame": n, "objects": [{"object": 1, "score": 0.5} | found]} for n in range(3)]
    (root / "track.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = tuple(path for path in sorted(root.iterdir()) if path.suffix != ".jpg")

    def use(path: Path) -> None:
        attempt(lambda: read_annotations(path, image_root=root, on_bad="error"))
        attempt(lambda: read_tracks(path))
        images, _ = read_annotations(path, image_root=root)
        write_annotations(images, root / "out", "labelme")

    return [Target("tools", root, files, use)]


def beside(root: Path) -> list[Target]:
    """Lists of classes, and facts of anymask, beside pictures of labels."""
    lists = {
        "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:9,9,9:a,b:c\n",
        "class_names.txt": "_background_\ncat\ndog\n", "_classes.csv": "Value, Class\n1, cat\n",
        "label_colors.txt": "64 128 64\tcat\n0 0 0\tVoid\n", "terms.jsonl": TERMS,
        "class_dict.csv": "name,r,g,b\ncat,9,9,9\nVoid,0,0,0\n", "origins.jsonl": ORIGINS,
    }  # fmt: skip
    for name, text in lists.items():
        for folder in ("labels", "SegmentationObject", "SegmentationClass", "images"):
            (root / name / folder).mkdir(parents=True)
            Image.fromarray(np.eye(9, dtype=np.uint8)).save(root / name / folder / "a.png")
        (root / name / name).write_text(text)
        (root / name / "labels" / name).write_text(text)

    def use(path: Path) -> None:
        folder = path.parent.parent if path.parent.name == "labels" else path.parent
        attempt(lambda: read_annotations(folder, "voc"))
        images, _ = read_annotations(folder / "labels", "label-png", folder / "images")
        write_annotations(images, root / "out.json", "coco")

    files = tuple(path for name in lists for path in sorted((root / name).rglob(name)))
    return [Target("beside", root, tuple(one for one in files if one.is_file()), use)]


def scores(root: Path) -> list[Target]:
    """Ground truth and results of each protocol that compares files."""
    root.mkdir(parents=True)
    rows = [{"image_id": n, "category_id": 1, "segmentation": RLE, "score": 0.9} for n in (1, 2)]
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 10, "width": 20} for n in (1, 2)]
    truths = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": RLE, "bbox": [0, 0, 1, 9],
         "area": 9, "iscrowd": 0} for n in (1, 2)
    ]  # fmt: skip
    sets = {"images": images, "annotations": truths, "categories": [{"id": 1, "name": "cat"}]}
    phrases = {**sets, "images": [{**one, "text_input": "a cat"} for one in images]}
    tracks = [{"video_id": 1, "category_id": 4, "segmentations": [RLE, None, RLE], "score": 0.5}]
    for name, truth, found in (
        ("masks", sets, rows), ("concepts", phrases, rows), ("video.concepts", SACO, tracks),
    ):  # fmt: skip
        (root / f"{name}.json").write_text(json.dumps(truth))
        (root / f"{name}.found.json").write_text(json.dumps(found))

    def use(path: Path) -> None:
        name = path.name.removesuffix(".json").removesuffix(".found")
        truth, found = root / f"{name}.json", root / f"{name}.found.json"
        evaluate(found, truth, protocol=name.removeprefix("video.")).save(root / "out" / "a.json")

    return [Target("scores", root, tuple(sorted(root.iterdir())), use)]


def archives(root: Path) -> list[Target]:
    """Archives of labels, and of images beside sound labels."""
    root.mkdir(parents=True)
    write_annotations([rings()], root / "labels.json", "coco")
    write_annotations([rings()], root / "yolo", "yolo")
    data = (root / "labels.json").read_bytes()
    png = io.BytesIO()
    Image.new("RGB", (12, 9)).save(png, "PNG")
    members = {"set/a.json": data, "set/rings.png": png.getvalue()}
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz")):
        with tarfile.open(root / f"a.{ending}", mode) as packed:
            for name, content in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(content)
                packed.addfile(about, io.BytesIO(content))
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    (root / "a.json.gz").write_bytes(gzip.compress(data))

    def use(path: Path) -> None:
        attempt(lambda: read_annotations(path))
        read_annotations(root / "yolo", image_root=path)

    return [Target("archives", root, tuple(sorted(root.glob("a.*"))), use)]


def placemarks(root: Path) -> list[Target]:
    """KML and KMZ as prompts of a map."""
    from anymask.maps import open_map, read_prompts

    base = base_map(root / "base.tif")
    (root / "a.kml").write_text(KML)
    with zipfile.ZipFile(root / "a.kmz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("doc.kml", KML)

    def use(path: Path) -> None:
        with open_map([base]) as scene:
            read_prompts(path, scene)

    return [Target("placemarks", root, (root / "a.kml", root / "a.kmz"), use)]
