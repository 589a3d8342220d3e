"""What the commands write: pictures, records, outlines and arrays, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anymask.jobs.outputs import sa1b_document, save_png
from anymask.primitives.errors import InputError
from anymask.primitives.storage import json_bytes, whole_file

if TYPE_CHECKING:
    from anymask.primitives.prompts import Prompt
    from anymask.primitives.records import MaskRecord
    from anymask.primitives.types import BoolArray, UintImage

Kind = Literal["cutout", "overlay", "mask", "json", "svg", "npy"]

KINDS: dict[str, Kind] = {
    ".overlay.png": "overlay",
    ".mask.png": "mask",
    ".png": "cutout",
    ".json": "json",
    ".svg": "svg",
    ".npy": "npy",
}


@dataclass(frozen=True)
class FoundMask:
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


def write_found(path: Path, kind: Kind, found: FoundMask) -> None:
    """Write one output; parent folders are made."""
    with whole_file(path) as file:
        if kind in ("cutout", "overlay", "mask"):
            save_png(file, _picture(kind, found))
        elif kind == "npy":
            import numpy as np

            np.save(file, found.mask)
        elif kind == "svg":
            file.write(mask_to_svg(found.mask).encode())
        else:
            height, width = found.mask.shape
            document = sa1b_document(found.photo, (height, width), [found.record])
            file.write(json_bytes(document))


def _picture(kind: Kind, found: FoundMask) -> Any:
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
