"""Masks of a photo as one file: pixels and numbers in; a picture, records, outlines or arrays out.

What a file holds follows from the end of its name. Pictures are written by Pillow, in any format
that it can write: a cut-out where the format knows transparency, else the photo with the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from anymask.base import InputError, json_bytes, near_suffix, whole_file

if TYPE_CHECKING:
    from anymask.base import BoolArray, UintImage
    from anymask.masks.polygons import Ring
    from anymask.masks.prompts import Prompt

Kind = Literal["cutout", "overlay", "mask", "json", "csv", "svg", "geojson", "yolo", "npy"]

DOCUMENTS: dict[str, Kind] = {
    ".json": "json", ".csv": "csv", ".svg": "svg", ".geojson": "geojson", ".txt": "yolo",
    ".npy": "npy",
}  # fmt: skip
_TRANSPARENT = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
_OPAQUE = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM"}
WRITTEN = (*DOCUMENTS, *_TRANSPARENT, *_OPAQUE)  # suffixes; Pillow writes more kinds of pictures
_OF_OTHERS = ("BUFR", "GRIB", "HDF5", "WMF")  # that Pillow hands to other packages, or nobody
_MODES = {"L": ("1", "RGB", "P"), "RGB": ("P",)}  # of formats that do not take the pixels' own
_COMPRESSION = 3  # of PNG files: twice as fast as the usual 6, a tenth larger
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": _COMPRESSION},
    "JPEG": {"quality": 92},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


class WrittenRecord(Protocol):
    """What files tell of a mask (`Mask` does)."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def area(self) -> int: ...

    @property
    def coverage(self) -> float: ...

    @property
    def score(self) -> float: ...

    @property
    def label(self) -> str | None: ...

    @property
    def label_probability(self) -> float | None: ...

    def to_sa1b(self, record_id: int | None = None) -> dict[str, Any]: ...


@dataclass(frozen=True)
class FoundMask:
    """One photo and the mask that was found in it.

    photo   its path, or only its name
    image   (H, W, 3) uint8, or None where no output shows it
    mask    (H, W) bool
    record  the same mask with its numbers
    prompt  what was asked, drawn on an overlay; None: nothing is drawn
    toss    whether another mask is as likely meant (`Prediction.ambiguous`)
    """

    photo: Path
    image: UintImage | None
    mask: BoolArray
    record: WrittenRecord
    prompt: Prompt | None = None
    toss: bool = False


def output_kind(path: Path, plain_picture: Kind = "cutout") -> Kind:
    """What a file is to hold, by the end of its name.

    plain_picture  for a picture that is called neither .overlay.png nor .mask.png; a cut-out in a
                   format without transparency (.jpg) is an overlay

    Raises InputError for any other ending.
    """
    suffix = path.suffix.lower()
    if suffix in DOCUMENTS:
        return DOCUMENTS[suffix]
    if picture_format(suffix) is None:
        near = near_suffix(suffix, WRITTEN)
        raise InputError(
            "wanted an output that ends in .png, .jpg, .webp, .tif or another picture's suffix, in "
            f".json, .csv, .svg, .geojson, .txt or .npy, got {str(path)!r}; "
            + (f"did you mean {path.with_suffix(near)}?" if near else "rename it")
        )
    inner = Path(path.stem).suffix.lower()
    if inner in (".overlay", ".mask"):
        return "overlay" if inner == ".overlay" else "mask"
    opaque = plain_picture == "cutout" and suffix not in _TRANSPARENT
    return "overlay" if opaque else plain_picture


def picture_format(suffix: str) -> str | None:
    """Pillow's name of the format of a suffix with its dot, where Pillow can write it."""
    known = _TRANSPARENT | _OPAQUE
    if suffix in known:
        return known[suffix]
    from PIL import Image

    found = Image.registered_extensions().get(suffix)
    return found if found in Image.SAVE and found not in _OF_OTHERS else None


def shows_photo(kind: Kind) -> bool:
    """Whether such an output needs the photo's pixels."""
    return kind in ("cutout", "overlay")


def write_found(path: Path, kind: Kind, *found: FoundMask) -> None:
    """Write one output whole or not at all; parent folders are made. Raises InputError."""
    with whole_file(path) as file:
        write_kind(file, path.suffix.lower(), kind, found)


def write_kind(file: BinaryIO, suffix: str, kind: Kind, found: Sequence[FoundMask]) -> None:
    """Write one output of the masks of a photo, at least one, into an open file.

    suffix  with its dot: which format a picture has

    Raises InputError where the format cannot hold it.
    """
    if kind in ("cutout", "overlay", "mask"):
        save_picture(file, mask_picture(kind, *found), suffix)
    elif kind == "npy":
        import numpy as np

        np.save(file, np.stack([one.mask for one in found]) if len(found) > 1 else found[0].mask)
    elif kind == "csv":
        file.write(found_to_csv(found).encode())
    elif kind == "svg":
        file.write(masks_to_svg([one.mask for one in found]).encode())
    elif kind == "geojson":
        file.write(json_bytes(found_to_geojson(found)))
    elif kind == "yolo":
        file.write(masks_to_yolo([one.mask for one in found]).encode())
    else:
        height, width = found[0].mask.shape
        records = [one.record for one in found]
        file.write(json_bytes(sa1b_document(found[0].photo.name, (height, width), records)))


def mask_picture(kind: Kind, *found: FoundMask) -> Any:  # (H, W[, C]) uint8
    """A cut-out of all objects, the photo with masks and prompts, or all masks white on black."""
    import numpy as np

    masks = np.stack([one.mask for one in found])
    image = found[0].image
    if kind == "mask":
        return masks.any(axis=0).view(np.uint8) * np.uint8(255)
    assert image is not None
    if kind == "overlay":
        from anymask.masks.draw import marks, overlay

        drawn = overlay(image, masks)
        for asked in (one.prompt for one in found if one.prompt is not None):
            box = None if asked.box is None else asked.box[None]
            drawn = marks(drawn, asked.points, asked.labels, box)
        return drawn
    mask: BoolArray = np.logical_or.reduce(masks, axis=0)
    rgba = np.empty((*mask.shape, 4), np.uint8)
    rgba[..., 3] = mask * np.uint8(255)
    # What was cut away must not stay hidden in the file, so its colours go too.
    np.multiply(image, mask[..., None], out=rgba[..., :3])
    return rgba


def save_picture(file: BinaryIO, pixels: Any, suffix: str = ".png") -> None:
    """Write (H, W[, C]) uint8 in the format of a suffix. Raises InputError where it cannot."""
    from PIL import Image

    kind, picture = picture_format(suffix), Image.fromarray(pixels)
    first: Exception | None = None
    for mode in (picture.mode, *_MODES.get(picture.mode, ())):
        start = file.tell() if file.seekable() else 0
        try:
            shown = picture if mode == picture.mode else picture.convert(mode)
            shown.save(file, kind, **_OPTIONS.get(kind or "", {}))
            return
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk
            first = first or error
        if file.seekable():
            file.seek(start)
            file.truncate()
    raise InputError(
        f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be written as "
        f"{suffix} ({first}); choose .png"
    ) from first


def found_to_csv(found: Sequence[FoundMask]) -> str:
    """A row of measurements for each mask."""
    from anymask.masks.measure import table_row, to_csv
    from anymask.masks.rle import mask_to_rle

    return to_csv(
        table_row(one.photo.name, number, mask_to_rle(one.mask), one.record)
        for number, one in enumerate(found, start=1)
    )


def masks_to_svg(masks: Sequence[BoolArray]) -> str:  # (H, W) each
    """Each mask as one smooth path, holes and parts included."""
    from anymask.masks.polygons import SMOOTH, mask_to_polygons, polygons_to_svg_path

    height, width = masks[0].shape
    paths = (polygons_to_svg_path(mask_to_polygons(one, SMOOTH, smooth=True)) for one in masks)
    lines = [f'<path d="{path}" fill="#1e90ff" fill-rule="evenodd"/>\n' for path in paths]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">\n{"".join(lines)}</svg>\n'
    )


def masks_to_yolo(masks: Sequence[BoolArray]) -> str:  # (H, W) each
    """A line of YOLO-seg for each mask that is not empty, of class 0: its smooth outline."""
    from anymask.masks.polygons import SMOOTH, joined, mask_to_polygons, polygon_to_ring

    outlines = ((one.shape, mask_to_polygons(one, SMOOTH, smooth=True)) for one in masks)
    return "".join(
        ring_to_yolo(joined([polygon_to_ring(part) for part in parts]), (height, width))
        for (height, width), parts in outlines
        if parts
    )


def ring_to_yolo(ring: Ring, image_hw: tuple[int, int], place: int = 0) -> str:
    """The line of one object: its class, then x and y of each corner, 0..1 of the photo's sides."""
    height, width = image_hw
    numbers = (ring / (width, height)).ravel().tolist()
    return " ".join([str(place), *(f"{value:.7g}" for value in numbers)]) + "\n"


def found_to_geojson(found: Sequence[FoundMask]) -> dict[str, Any]:
    """A FeatureCollection of smooth outlines, in pixels; x right, y down; ids count from 1."""
    from anymask.masks.polygons import SMOOTH, mask_to_polygons, polygons_to_geometry

    features = [
        {
            "type": "Feature",
            "geometry": polygons_to_geometry(mask_to_polygons(one.mask, SMOOTH, smooth=True)),
            "properties": {"id": n, "area": one.record.area, "quality": one.record.score},
        }
        for n, one in enumerate(found, start=1)
    ]
    height, width = found[0].mask.shape
    picture = {"file_name": found[0].photo.name, "height": height, "width": width}
    return {"type": "FeatureCollection", "anymask": picture, "features": features}


def sa1b_document(
    name: str, image_hw: tuple[int, int], records: Sequence[WrittenRecord]
) -> dict[str, Any]:
    """The JSON of one picture of the SA-1B data set; ids count from 1."""
    height, width = image_hw
    return {
        "image": {"image_id": 1, "width": width, "height": height, "file_name": name},
        "annotations": [record.to_sa1b(number) for number, record in enumerate(records, start=1)],
    }
