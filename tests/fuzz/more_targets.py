"""Scans, videos, maps, layers and kept sessions: what is fuzzed and needs an extra."""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import anymask
from anymask.volumes import Volume, label_volume, write_labels
from tests.fuzz.targets import Target

SHAPE = (3, 6, 8)  # of scans: z, y, x
MAX_FRAMES = 40  # that are looked at


def look_at(path: Path) -> None:
    """Read a scan: a slice along each axis, all voxels, and its repr."""
    scan = anymask.read_volume(path, frame=0)
    for axis in range(3):
        scan.slice(scan.shape[axis] - 1, axis)
    scan.image(0)
    if np.prod(scan.shape) < 1e7:
        _ = scan.array
    repr(scan)


def voxels() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def volumes(root: Path) -> list[Target]:
    """One file each."""
    import nibabel
    import nrrd
    import tifffile

    root.mkdir(parents=True)
    array, affine = voxels(), np.diag([-1.0, -1, 2.5, 1])
    for name in ("a.nii", "a.nii.gz"):
        image = nibabel.Nifti1Image(array.T, affine)
        image.header.set_slope_inter(2, 1)
        nibabel.save(image, root / name)
    nibabel.save(nibabel.Nifti2Image(array.T, affine), root / "two.nii")
    nibabel.save(nibabel.MGHImage(array.astype(np.float32).T, affine), root / "a.mgz")
    nibabel.save(nibabel.MGHImage(array.astype(np.float32).T, affine), root / "a.mgh")
    for encoding in ("raw", "gzip", "bzip2", "ascii"):
        header = {"encoding": encoding, "space": "LPS", "space directions": np.eye(3)}
        nrrd.write(str(root / f"{encoding}.nrrd"), array, header, index_order="C")
    nrrd.write(str(root / "apart.nhdr"), array, {"encoding": "raw"}, detached_header=True)
    labels = Volume((array % 3).astype(np.uint8), affine, {1: "a", 2: "b"})
    write_labels(root / "a.seg.nrrd", labels)
    gray = {"photometric": "minisblack"}
    tifffile.imwrite(root / "plain.tif", array, **gray)
    tifffile.imwrite(root / "packed.tif", array, compression="zlib", **gray)
    tifffile.imwrite(root / "imagej.tif", array, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(root / "a.ome.tif", array, metadata={"axes": "ZYX"}, **gray)
    tifffile.imwrite(root / "big.tif", array, bigtiff=True, **gray)

    def use(path: Path) -> None:
        look_at(path.with_suffix(".nhdr") if path.suffix == ".raw" else path)

    return [Target("volumes", root, tuple(sorted(root.iterdir())), use)]


def series(root: Path) -> list[Target]:
    """Folders and zips of DICOM, and a segmentation."""
    from tests.volumes.test_dicom_labels import write_scan
    from tests.volumes.test_untrusted_scans import deflated

    root.mkdir(parents=True)
    scan = write_scan(root / "ct", np.diag([1.0, 1, 2, 1]), SHAPE)
    deflated(root / "deflated.dcm", np.arange(20, dtype=np.uint16).tobytes())
    labels = label_volume((voxels() % 3).astype(np.uint8), scan)
    with contextlib.suppress(anymask.errors.MissingExtra):
        write_labels(root / "seg.dcm", labels, scan)
    with zipfile.ZipFile(root / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "ct").iterdir()):
            archive.write(path, path.name)
    files = tuple(path for path in sorted(root.rglob("*")) if path.is_file())

    def use(path: Path) -> None:
        look_at(path.parent if path.parent != root else path)

    return [Target("series", root, files, use)]


def zarrs(root: Path) -> list[Target]:
    """OME-Zarr in both versions."""
    import zarr

    targets = []
    for version in (2, 3):
        folder = root / f"v{version}"
        group = zarr.open_group(str(folder), mode="w", zarr_format=version)
        group.create_array("0", data=voxels(), chunks=(2, 6, 8))
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
        sets = [{"path": "0", "coordinateTransformations": scale}]
        notes = {"version": "0.4", "multiscales": [{"axes": axes, "datasets": sets}]}
        group.attrs.update({"ome": notes} if version == 3 else notes)
        files = tuple(path for path in sorted(folder.rglob("*")) if path.is_file())

        def use(_: Path, folder: Path = folder) -> None:
            look_at(folder)

        targets.append(Target(f"zarr {version}", folder, files, use))
    return targets


def frames() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for number in range(6):
        frame = np.full((24, 32, 3), 20 * number, np.uint8)
        frame[4:12, number : number + 9] = rng.integers(0, 256, 3)
        yield frame


def videos(root: Path) -> list[Target]:
    """Films, whose frames are read in and out of order."""
    import av

    from anymask.track import open_source

    root.mkdir(parents=True)
    for name, codec in (
        ("a.mp4", "mpeg4"), ("a.avi", "mjpeg"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx"),
        ("a.mov", "libx264"), ("a.ts", "mpeg2video"),
    ):  # fmt: skip
        with contextlib.suppress(Exception), av.open(str(root / name), "w") as out:
            out.metadata["title"] = "clip"
            stream = out.add_stream(codec, rate=10 if codec != "mpeg2video" else 25)
            stream.width, stream.height = 32, 24
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in frames():
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            out.mux(stream.encode())

    def use(path: Path) -> None:
        source = open_source(path)
        try:
            for number in (0, 1, 2, 5, 3):
                source.read(number)
            for number in range(min(source.length or 0, MAX_FRAMES)):
                source.seconds(number)
        finally:
            source.close()

    return [Target("videos", root, tuple(sorted(root.iterdir())), use)]


def base_map(path: Path, **more: Any) -> Path:
    """A map of 32 x 24 pixels."""
    import rasterio
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 1, 1)}
    size = {"width": 32, "height": 24, "count": 3, "dtype": "uint8", **place, **more}
    with rasterio.open(path, "w", driver="GTiff", **size) as out:
        out.write(next(frames()).transpose(2, 0, 1))
    return path


def rasters(root: Path) -> list[Target]:
    """Maps."""
    from anymask.maps import open_map

    base_map(root / "a.tif")
    more = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    base_map(root / "tiled.tif", **more)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">a.tif</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for n in (1, 2, 3)
    )
    (root / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="32" rasterYSize="24"><SRS>EPSG:32633</SRS><GeoTransform>500000, '
        f"1, 0, 5000000, 0, -1</GeoTransform>{bands}</VRTDataset>"
    )

    def use(path: Path) -> None:
        with open_map([path]) as scene:
            height, width = scene.image_hw
            scene.read((0, 0, min(width, 64), min(height, 64)))
            scene.to_pixels([[500_001, 4_999_999]], scene.crs)
            repr(scene)

    return [Target("rasters", root, tuple(sorted(root.iterdir())), use)]


def layers(root: Path) -> list[Target]:
    """Prompts in layers of vectors, on a sound map."""
    import pyogrio.raw
    import shapely

    from anymask.maps import open_map, read_prompts

    base = base_map(root / "base" / "a.tif")
    shapes = shapely.to_wkb(
        [shapely.box(500_004, 4_999_990, 500_012, 4_999_996), shapely.Point(500_009, 4_999_980)]
    )
    names = [np.array(["a", "b"], object)]
    for ending, driver in ((".gpkg", "GPKG"), (".fgb", "FlatGeobuf"), (".geojson", "GeoJSON")):
        pyogrio.raw.write(
            root / f"a{ending}", shapes, names, ["label"], driver=driver, crs="EPSG:32633",
            geometry_type="Unknown",
        )  # fmt: skip
    pyogrio.raw.write(
        root / "a.shp", shapes[:1], [names[0][:1]], ["label"], crs="EPSG:32633",
        geometry_type="Polygon", driver="ESRI Shapefile",
    )  # fmt: skip
    pyogrio.raw.write(
        root / "lonlat.geojson", shapely.to_wkb([shapely.Point(15.0001, 45.1533)]),
        [np.array(["c"], object)], ["label"], driver="GeoJSON", crs="EPSG:4326",
        geometry_type="Point",
    )  # fmt: skip

    def use(path: Path) -> None:
        given = (
            path.with_suffix(".shp") if path.suffix in (".dbf", ".shx", ".prj", ".cpg") else path
        )
        with open_map([base]) as scene:
            read_prompts(given, scene)

    files = tuple(path for path in sorted(root.iterdir()) if path.is_file())
    return [Target("layers", root, files, use)]


def sessions(root: Path) -> list[Target]:
    """Kept sessions of videos, opened again and asked."""
    from anymask.segment import Model
    from anymask.track import open_session
    from tests.segment.fakes import ColorRuntime

    root.mkdir(parents=True)
    model, path = Model(ColorRuntime()), root / "a.session"
    given = [*frames()]
    with open_session(model, given, session=path) as session:
        session.add(0, points=[(4, 8)])
        for _ in session.propagate():
            pass

    def use(path: Path) -> None:
        with open_session(model, given, session=path) as session:
            for number in session.objects:
                session.frame_ranges(number)
            for one in session.results():
                repr(one)

    return [Target("sessions", root, (path,), use)]
