"""What the commands write: pictures, records, outlines and arrays, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from anymask.primitives.errors import InputError
from anymask.primitives.storage import json_bytes, whole_file

if TYPE_CHECKING:
    from anymask.primitives.records import MaskRecord
    from anymask.primitives.types import BoolArray, Prompt, UintImage

Kind = Literal["cutout", "overlay", "mask", "json", "svg", "npy"]

KINDS: dict[str, Kind] = {
    ".overlay.png": "overlay",
    ".mask.png": "mask",
    ".png": "cutout",
    ".json": "json",
    ".svg": "svg",
    ".npy": "npy",
}
_COMPRESSION = 3  # of PNG files: twice as fast as the usual 6, a tenth larger


@dataclass(frozen=True)
class Found:
    """One photo and the mask that was found in it.

    photo   its path
    image   (H, W, 3) uint8, or None where no output shows it
    mask    (H, W) bool
    record  the same mask with its numbers
    prompt  what was asked
    """

    photo: Path
    image: UintImage | None
    mask: BoolArray
    record: MaskRecord
    prompt: Prompt


def output_kind(path: Path, plain_png: Kind = "cutout") -> Kind:
    """What a file is to hold, by the end of its name; `plain_png` for .png alone.

    Raises InputError for any other ending.
    """
    name = path.name.lower()
    for ending, kind in KINDS.items():
        if name.endswith(ending):
            return plain_png if ending == ".png" else kind
    raise InputError(
        f"wanted an output that ends in .png, .json, .svg or .npy, got {str(path)!r}; rename it"
    )


def shows_photo(kind: Kind) -> bool:
    """Whether such an output needs the photo's pixels."""
    return kind in ("cutout", "overlay")


def check_outputs(paths: Sequence[Path], photo: Path) -> None:
    """Refuse what cannot or must not be written, before any work. Raises InputError."""
    for path in paths:
        if path.is_dir():
            raise InputError(f"wanted a file to write, {str(path)!r} is a folder; add a file name")
        if path.exists() and photo.exists() and path.samefile(photo):
            raise InputError(f"the output {str(path)!r} is the photo itself; choose another name")


def write_found(path: Path, kind: Kind, found: Found) -> None:
    """Write one output; parent folders are made."""
    with whole_file(path) as file:
        if kind in ("cutout", "overlay", "mask"):
            _save_png(file, _picture(kind, found))
        elif kind == "npy":
            import numpy as np

            np.save(file, found.mask)
        elif kind == "svg":
            file.write(mask_to_svg(found.mask).encode())
        else:
            height, width = found.mask.shape
            document = sa1b_document(found.photo, (height, width), [found.record])
            file.write(json_bytes(document))


def _picture(kind: Kind, found: Found) -> Any:
    import numpy as np

    from anymask.primitives.draw import marks, overlay

    if kind == "mask":
        return found.mask.view(np.uint8) * np.uint8(255)
    assert found.image is not None
    if kind == "overlay":
        drawn = overlay(found.image, found.mask)
        box = None if found.prompt.box is None else found.prompt.box[None]
        return marks(drawn, found.prompt.points, found.prompt.labels, box)
    height, width = found.mask.shape
    rgba = np.empty((height, width, 4), np.uint8)
    rgba[..., 3] = found.mask * np.uint8(255)
    # What was cut away must not stay hidden in the file, so its colours go too.
    np.multiply(found.image, found.mask[..., None], out=rgba[..., :3])
    return rgba


def _save_png(file: BinaryIO, pixels: Any) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(file, "PNG", compress_level=_COMPRESSION)


def mask_to_svg(mask: BoolArray) -> str:  # (H, W)
    """The mask as one path along its pixel borders, holes and parts included; nothing is lost."""
    from anymask.primitives.polygons import mask_to_polygons, polygons_to_svg_path

    height, width = mask.shape
    path = polygons_to_svg_path(mask_to_polygons(mask))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">\n'
        f'<path d="{path}" fill="#1e90ff" fill-rule="evenodd"/>\n</svg>\n'
    )


def sa1b_document(
    photo: Path, image_hw: tuple[int, int], records: Sequence[MaskRecord]
) -> dict[str, Any]:
    """The JSON of one picture of the SA-1B data set; ids count from 1."""
    height, width = image_hw
    return {
        "image": {"image_id": 1, "width": width, "height": height, "file_name": photo.name},
        "annotations": [record.to_sa1b(number) for number, record in enumerate(records, start=1)],
    }


def write_overlay(path: Path, image: UintImage, records: Sequence[MaskRecord], limit: int) -> None:
    """A picture with all masks on it, its longest side at most `limit` pixels."""
    import cv2
    import numpy as np

    from anymask.primitives.draw import overlay
    from anymask.primitives.rle_windows import rle_crop

    height, width = image.shape[:2]
    scale = min(1.0, limit / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    masks = np.zeros((len(records), size[1], size[0]), np.bool_)
    shown = [np.arange(n) * full // n for n, full in zip(size, (width, height), strict=True)]
    for record, mask in zip(records, masks, strict=True):
        crop, (x0, y0, x1, y1) = rle_crop(record.rle)  # a mask of a large photo is large itself
        columns, rows = (
            slice(*np.searchsorted(at, ends))
            for at, ends in zip(shown, ((x0, x1), (y0, y1)), strict=True)
        )
        mask[rows, columns] = crop[np.ix_(shown[1][rows] - y0, shown[0][columns] - x0)]
    with whole_file(path) as file:
        _save_png(file, overlay(small.astype(np.uint8, copy=False), masks))
