"""Small inputs for the promises of every extra, written with the packages of the developers.

Each function writes the files of one group; `promises.toml` names the groups.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.images.microscope_files import WRITERS as MICROSCOPES

SIDE = 160
COLORS = ((220, 60, 50), (60, 200, 70), (70, 90, 230))


def photo(seed: int) -> tuple[NDArray[np.uint8], list[NDArray[np.int32]]]:
    """Return three coloured rectangles on noise, and their outlines."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    outlines = []
    for place, color in enumerate(COLORS):
        x, y = 10 + 50 * place, int(rng.integers(10, 90))
        outline = np.array([[x, y], [x + 38, y], [x + 38, y + 50], [x, y + 50]], np.int32)
        cv2.fillPoly(image, [outline], color)
        outlines.append(outline)
    return image, outlines


def photos(folder: Path) -> None:
    """Write `photos/`, `a.jpg`, and the labels `coco.json` and `boxes.json`."""
    images, annotations = [], []
    (folder / "photos").mkdir()
    for number in range(6):
        pixels, outlines = photo(number)
        Image.fromarray(pixels).save(folder / "photos" / f"image{number}.jpg", quality=95)
        images.append(
            {"id": number, "file_name": f"image{number}.jpg", "height": SIDE, "width": SIDE}
        )
        for place, outline in enumerate(outlines):
            x, y = outline[0].tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 1 + place % 2,
                "bbox": [x, y, 38, 50], "area": 1900, "iscrowd": 0,
                "segmentation": [outline.ravel().tolist()],
            })  # fmt: skip
    Image.fromarray(photo(9)[0]).save(folder / "a.jpg", quality=95)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cup"}]
    labels = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(labels), "utf-8")
    labels["annotations"] = [{**one, "segmentation": []} for one in annotations]
    (folder / "boxes.json").write_text(json.dumps(labels), "utf-8")


def frames(folder: Path) -> None:
    """Write `frames/` of a moving rectangle, `videos/` with masks, and `truth/` of two objects."""
    scene, truth = folder / "videos" / "moving", folder / "truth" / "moving"
    for name in (folder / "frames", scene / "images", scene / "masks", truth):
        name.mkdir(parents=True)
    for step, image in enumerate(clip()):
        Image.fromarray(image).save(folder / "frames" / f"{step:05}.png")
        if step < 3:
            Image.fromarray(image).save(scene / "images" / f"{step:05}.png")
            mask = (image == COLORS[0]).all(axis=2).astype(np.uint8)
            Image.fromarray(mask).save(scene / "masks" / f"{step:05}.png")
            mask[90:110, 90:130] = 2
            Image.fromarray(mask).save(truth / f"{step:05}.png")


def clip(count: int = 6) -> list[NDArray[np.uint8]]:
    """Return the frames (120, 160, 3) of a moving rectangle."""
    images = []
    for step in range(count):
        image = np.full((120, 160, 3), 70, np.uint8)
        image[20 + step : 50 + step, 20 + 2 * step : 60 + 2 * step] = COLORS[0]
        images.append(image)
    return images


def video(folder: Path) -> None:
    """Write `clip.mkv` and `clip.mp4`."""
    import av

    for name, codec in (("clip.mkv", "ffv1"), ("clip.mp4", "mpeg4")):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
            for image in clip():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))


def ball() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return a scan (12, 48, 48) of a bright ball, and its labels."""
    z, y, x = np.ogrid[:12, :48, :48]
    inside = (2.0 * (z - 6)) ** 2 + (y - 24) ** 2 + (x - 26) ** 2 < 10**2
    noise = np.random.default_rng(0).normal(0, 8, inside.shape)
    return (np.where(inside, 120, 40) + noise).astype(np.int16), inside.astype(np.uint8)


def volumes(folder: Path) -> None:
    """Write one scan as NIfTI, NRRD, OME-Zarr, a TIFF stack and a DICOM series, and its labels."""
    import nibabel
    import nrrd
    import tifffile
    import zarr

    scan, truth = ball()
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(scan.T, affine), folder / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(truth.T, affine), folder / "truth.nii.gz")
    nrrd.write(str(folder / "scan.nrrd"), scan.T)
    tifffile.imwrite(folder / "stack.tif", scan.astype(np.uint16))
    group = zarr.open_group(str(folder / "scan.zarr"), mode="w", zarr_format=2)
    group.create_array("0", data=scan, chunks=(5, 32, 32))
    scale = {"type": "scale", "scale": [2, 1, 1]}
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    level = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
    dicom(folder / "dicom", scan)


def dicom(folder: Path, scan: NDArray[np.int16]) -> None:
    """Write the slices of a scan as a CT series."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    common: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "StudyInstanceUID": "1.2.7", "SeriesInstanceUID": "1.2.8",
        "FrameOfReferenceUID": "1.2.6", "PositionReferenceIndicator": "", "Modality": "CT",
        "PatientName": "A^B", "PatientID": "7", "PatientBirthDate": "", "PatientSex": "",
        "StudyDate": "20260101", "StudyTime": "1200", "StudyID": "", "AccessionNumber": "",
        "ReferringPhysicianName": "", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1], "SliceThickness": 2, "Rows": scan.shape[1],
        "Columns": scan.shape[2], "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME2",
    }  # fmt: skip
    for number, pixels in enumerate(scan):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        one = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        for name, value in common.items():
            setattr(one, name, value)
        one.SOPInstanceUID, one.InstanceNumber = f"1.2.3.{number + 1}", str(number + 1)
        one.ImagePositionPatient = [0, 0, 2 * number]
        one.PixelData = pixels.tobytes()
        one.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)


def maps(folder: Path) -> None:
    """Write one place at two times (`ortho.tif`, `later.tif`), as COG, VRT and JPEG 2000, and
    points in it."""
    import rasterio
    from rasterio.shutil import copy
    from rasterio.transform import from_origin

    ground = np.random.default_rng(0).integers(50, 80, (240, 240, 3)).astype(np.uint8)
    roofs = [(30, 30), (150, 40), (50, 160), (160, 170)]
    profile = {
        "driver": "GTiff", "width": 240, "height": 240, "count": 3, "dtype": "uint8",
        "crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5),
    }  # fmt: skip
    for name, seen in (("ortho.tif", roofs), ("later.tif", roofs[1:])):
        pixels = ground.copy()
        for x, y in seen:
            pixels[y : y + 40, x : x + 50] += 140
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(pixels.transpose(2, 0, 1))
    for name, driver in (("cog.tif", "COG"), ("ortho.jp2", "JP2OpenJPEG"), ("ortho.vrt", "VRT")):
        copy(folder / "ortho.tif", folder / name, driver=driver)
    place = {"type": "Point", "coordinates": [500_027.5, 5_299_975.0]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    feature = {"type": "Feature", "properties": {}, "geometry": place}
    layer = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    (folder / "points.geojson").write_text(json.dumps(layer), "utf-8")


def science(folder: Path) -> None:
    """Write `deep.tif` of five bands of 16 bits, and `pages.tif` of four compressed pages."""
    import tifffile

    rng = np.random.default_rng(0)
    bands = rng.integers(0, 9_000, (64, 64, 5)).astype(np.uint16)
    bands[20:44, 20:44] += 40_000
    tifffile.imwrite(folder / "deep.tif", bands, photometric="minisblack", planarconfig="contig")
    pages = (rng.random((4, 64, 64)) + 5 * (bands[..., 0] > 9_000)).astype(np.float32)
    tifffile.imwrite(folder / "pages.tif", pages, compression="zlib", photometric="minisblack")


def microscopes(folder: Path) -> None:
    """Write `cells.czi`, `cells.lif` and `cells.nd2`."""
    image = np.ascontiguousarray(photo(3)[0][..., 0])
    for ending, to_bytes in MICROSCOPES.items():
        (folder / f"cells.{ending}").write_bytes(to_bytes(image))


def heic(folder: Path) -> None:
    """Write `phone.heic`."""
    source = Path(__file__).parents[1] / "images/halves.heic"
    shutil.copyfile(source, folder / "phone.heic")


def checkpoint(folder: Path) -> None:
    """Write `mobile_sam.pt`, with random weights."""
    import torch

    from anymask import models

    torch.manual_seed(0)
    torch.save(models.build("mobile_sam").state_dict(), folder / "mobile_sam.pt")


def training(folder: Path) -> None:
    """Write `data/`, two sets to train on, and `tiny.toml`, a recipe of 20 steps."""
    from tests.training.small_data import write_sets

    write_sets(folder / "data")
    recipe = ["model = 'nano_tiny'", "workers = 1", "prepare_ahead = false", "bf16 = false"]
    stage = ["[[stage]]", "steps = 20", "side = 64", "images = 1", "masks = 1"]
    (folder / "tiny.toml").write_text("\n".join([*recipe, *stage]), "utf-8")


def detector(folder: Path) -> None:
    """Write `detector/`, a tiny Grounding DINO with random weights."""
    from tests.find.tiny import write_grounding

    write_grounding(folder / "detector")


GROUPS: dict[str, Callable[[Path], None]] = {
    one.__name__: one
    for one in (
        photos, frames, video, volumes, maps, science, microscopes, heic, checkpoint,
        training, detector,
    )
}  # fmt: skip


def write_inputs(folder: Path, groups: Iterable[str]) -> None:
    """Write the files of these groups into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        GROUPS[group](folder)
