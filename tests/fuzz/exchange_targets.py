"""Files of other annotation tools that are only read, archives of datasets and images, and KML."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from anymask.formats import read_annotations, write_annotations
from tests.formats.annotated import rings
from tests.formats.test_cvat_tracks import box, polygon, track, video
from tests.formats.test_label_studio_exports import ROW
from tests.fuzz.targets import Target

KML = (
    '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
    "<Placemark><name>a</name><Polygon><outerBoundaryIs><LinearRing><coordinates>"
    "15.0001,45.1533,0 15.0003,45.1533,0 15.0003,45.1531,0 15.0001,45.1533,0</coordinates>"
    "</LinearRing></outerBoundaryIs></Polygon></Placemark><Placemark><name>b</name><Point>"
    "<coordinates>15.0002,45.1532</coordinates></Point></Placemark></Document></kml>"
)


def tools(root: Path) -> list[Target]:
    """CVAT for video, Label Studio's JSON-MIN and tables, ROIs of ImageJ."""
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
    rle = {"size": [10, 20], "counts": [0, 9, 191]}
    found = {"segmentation": rle, "bbox": [0, 0, 1, 9], "predicted_iou": 0.9, "area": 9}
    (root / "results.json").write_text(json.dumps([found | {"stability_score": 0.9}]))
    files = tuple(path for path in sorted(root.iterdir()) if path.suffix != ".jpg")
    return [Target("tools", root, files, lambda path: read_annotations(path, pictures=root))]


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
        try:
            read_annotations(path)
        finally:
            read_annotations(root / "yolo", pictures=path)

    return [Target("archives", root, tuple(sorted(root.glob("a.*"))), use)]


def placemarks(root: Path) -> list[Target]:
    """KML and KMZ as prompts of a map."""
    import rasterio
    from rasterio.transform import from_origin

    from anymask.maps import open_map, read_prompts

    root.mkdir(parents=True)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 1, 1)}
    size = {"width": 32, "height": 24, "count": 3, "dtype": "uint8", **place}
    with rasterio.open(root / "base.tif", "w", driver="GTiff", **size) as out:
        out.write(np.zeros((3, 24, 32), np.uint8))
    (root / "a.kml").write_text(KML)
    with zipfile.ZipFile(root / "a.kmz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("doc.kml", KML)

    def use(path: Path) -> None:
        with open_map([root / "base.tif"]) as scene:
            read_prompts(path, scene)

    return [Target("placemarks", root, (root / "a.kml", root / "a.kmz"), use)]
