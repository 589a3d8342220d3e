"""Output kinds by the suffix of the file name, common to all commands, and their writers.

    suffix                     one object                 the objects of an image
    .png .webp .tif .avif      cut-out with alpha         the image with its masks; with {n} or
                                                          {label} in the name a cut-out of each
    .jpg and other images      cut-out on white           the same
    .overlay.png               the image with the mask    the image with its masks
    .mask.png .mask.tif        white on black             a label image: the object numbers
    .cut.png                   a cut-out                  needs {n} or {label}
    .json .csv .svg ...        a document of that format (`DOCUMENTS`)
    .npy                       (H, W) bool                (N, H, W) bool

Imports little: the command line loads it first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from anymask.base import InputError, near_suffix, refuse_inputs, whole_file
from anymask.masks import OPAQUE, TRANSPARENT, image_format, save_image

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.formats.outlines import Policy
    from anymask.masks import Masks, Prompt

NUMBER, LABEL = "{n}", "{label}"  # placeholders in output names
_NO_NAME = re.compile(r"[^\w.-]+")  # characters of a label to avoid in file names

ImageKind = Literal["cutout", "overlay", "mask"]
Kind = ImageKind | str  # or the name of a format, or "npy"

DOCUMENTS: dict[str, Kind] = {
    ".json": "sa1b", ".csv": "csv", ".svg": "svg", ".geojson": "geojson", ".xml": "cvat",
    ".txt": "yolo", ".npy": "npy",
}  # fmt: skip
LABEL_IMAGE_FORMATS = {".png": "label-png", ".tif": "label-tif", ".tiff": "label-tif"}
OUTPUT_SUFFIXES = (*DOCUMENTS, *TRANSPARENT, *OPAQUE)  # suffixes; Pillow writes more image formats
LAYERS = (".gpkg", ".fgb", ".shp")  # suffixes of vector map layers
_INSTEAD = {  # replacements for unsupported suffixes
    ".shx": ".shp", ".gml": ".gpkg", ".gdb": ".gpkg", ".kml": ".geojson", ".kmz": ".geojson",
    ".xlsx": ".csv", ".xls": ".csv", ".tsv": ".csv", ".parquet": ".csv", ".pdf": ".svg",
    ".dxf": ".svg", ".yaml": ".json", ".coco": ".json",
}  # fmt: skip


def output_kind(path: Path, plain: ImageKind = "cutout", *, many: bool = False) -> Kind:
    """Return what a file holds, by the suffix of its name.

    Args:
        plain: Kind of an image named neither .cut.png, .overlay.png nor .mask.png.
        many: Whether the output is of all objects of an image, not of one object.

    Raises:
        InputError: The suffix is not supported.
    """
    suffix = path.suffix.lower()
    if suffix in DOCUMENTS:
        return DOCUMENTS[suffix]
    if image_format(suffix) is None:
        near = suffix_instead(suffix)
        raise InputError(
            (
                f"Cannot write {str(path)!r}. Expected a name ending in .png, .jpg, "
                f".webp, .tif or another image suffix, or in {', '.join(DOCUMENTS)} "
                f"(for a map {', '.join(LAYERS)}). "
            )
            + (f"Did you mean {path.with_suffix(near)}?" if near else "Rename it.")
        )
    inner = Path(path.stem).suffix.lower()
    if inner == ".mask":
        if not many or has_place(path):
            return "mask"
        if suffix not in LABEL_IMAGE_FORMATS:  # it has no 16 bits
            raise InputError(
                f"{path.name!r} can hold only one object. Use .mask.png or .mask.tif, or add {{n}}."
            )
        return LABEL_IMAGE_FORMATS[suffix]
    if inner == ".overlay":
        return "overlay"
    return "cutout" if inner == ".cut" or (many and has_place(path)) else plain


def suffix_instead(suffix: str) -> str | None:
    """Return a supported suffix in place of another tool's or of a probable misspelling."""
    return _INSTEAD.get(suffix) or near_suffix(suffix, (*OUTPUT_SUFFIXES, *LAYERS))


def has_place(path: Path) -> bool:
    """Return whether a name has a placeholder for each object: {n} or {label}."""
    return NUMBER in path.name or LABEL in path.name


def each_output(path: Path, masks: Masks) -> list[tuple[Path, slice]]:
    """Return the output files and the masks of each: all, or one each with a placeholder.

    Raises:
        InputError: Two masks have the same file name.
    """
    if not has_place(path):
        return [(path, slice(None))]
    files: dict[str, slice] = {}
    for number, mask in enumerate(masks):
        label = _NO_NAME.sub("_", mask.label or "object")
        name = path.name.replace(NUMBER, str(number + 1)).replace(LABEL, label)
        if name in files:
            raise InputError(
                f"Two masks would be written to the same file {name!r}. Add {NUMBER} to the name."
            )
        files[name] = slice(number, number + 1)
    return [(path.with_name(name), part) for name, part in files.items()]


def shows_image(kind: Kind) -> bool:
    """Return whether such an output requires the pixels of the image."""
    return kind in ("cutout", "overlay")


def save_masks(
    masks: Masks,
    path: Path,
    image: UintImage | None = None,
    *,
    plain: ImageKind | None = None,
    prompts: Sequence[Prompt] = (),
    one: bool = False,
) -> Path:
    """Write one file by the suffix of its name, atomically; parent folders are created.

    Args:
        image: Image (H, W, 3), if the masks have no reference to it.
        plain: As in `output_kind`. Defaults to "cutout" for one object, else "overlay".
        prompts: Prompts, one per mask, drawn on an overlay.
        one: Whether to write one object instead of a list of one: .npy is (H, W).

    Raises:
        InputError: The suffix is not supported, the image is missing or is itself the target, or
            a cut-out has several objects.
    """
    kind = output_kind(path, plain or ("cutout" if one else "overlay"), many=not one)
    if kind == "cutout" and not one and not has_place(path):
        raise InputError(
            f"{path.name!r} is a cut-out of one object, but there are {len(masks)} masks. Add "
            f"{NUMBER} or {LABEL} to the name."
        )
    one = one or has_place(path)
    for target, few in each_output(path, masks):
        refuse_inputs(target, getattr(masks.source_image, "path", None))
        with whole_file(target) as file:
            write_masks(file, path.suffix.lower(), kind, masks[few], image, prompts[few], one=one)
    return path


def write_masks(
    file: BinaryIO,
    suffix: str,
    kind: Kind,
    masks: Masks,
    image: UintImage | None = None,
    prompts: Sequence[Prompt] = (),
    *,
    one: bool = False,
) -> None:
    """Write one output to an open file.

    Args:
        suffix: File suffix with its dot, which selects the image format.

    Raises:
        InputError: The format cannot hold the masks.
    """
    if kind in ("cutout", "overlay", "mask"):
        save_image(file, mask_image(kind, masks, image, prompts), suffix)
    elif kind == "npy":
        import numpy as np

        np.save(file, masks[0].mask if one else masks.masks)
    else:
        file.write(document_of(masks, kind))


def mask_image(
    kind: Kind, masks: Masks, image: UintImage | None = None, prompts: Sequence[Prompt] = ()
) -> Any:  # (H, W[, C]) uint8
    """Render a cut-out of all objects, the image with masks and prompts, or a binary mask."""
    import numpy as np

    if kind == "overlay":
        from anymask.images import display_image
        from anymask.masks import marks

        drawn = masks.draw(None if image is None else display_image(image))
        for prompt in prompts:
            box = None if prompt.box is None else prompt.box[None]
            drawn = marks(drawn, prompt.points, prompt.labels, box)
        return drawn
    from anymask.masks import image_of

    mask = masks.union().mask if masks else np.zeros(masks.image_hw, np.bool_)
    if kind == "mask":
        return mask.view(np.uint8) * np.uint8(255)
    if image is None and masks.source_image is not None:
        image = masks.source_image.with_alpha()
    pixels = image_of(image, masks.source_image, masks.image_hw)
    rgba = np.empty((*mask.shape, 4), np.uint8)
    rgba[..., 3] = mask * (pixels[..., 3] if pixels.shape[2] == 4 else np.uint8(255))
    # Set removed pixels to black, so that the file does not contain their colors.
    np.multiply(pixels[..., :3], rgba[..., 3:] > 0, out=rgba[..., :3])
    return rgba


def document_of(masks: Masks, format: str, policy: Policy | None = None) -> bytes:
    """Encode the masks of an image as one file of a format: for YOLO the label lines."""
    from anymask.formats.registry import find_format

    suffix = find_format(format).suffixes[0]
    files = encode_masks(masks, format, policy)
    return next((data for name, data in files.items() if name.endswith(suffix)), b"")


def encode_masks(masks: Masks, format: str, policy: Policy | None = None) -> dict[str, bytes]:
    """Encode the masks of one image in any format; returns the files by name."""
    from anymask.formats.annotations import AnnotatedImage, LossReport
    from anymask.formats.registry import encode_annotations, find_format

    target = Path("masks" + find_format(format).ending)
    files = {}
    for path, data in encode_annotations(
        [AnnotatedImage.of(masks)], target, format, LossReport(), policy
    ):
        inside = path.is_relative_to(target) and path != target
        files[path.relative_to(target).as_posix() if inside else path.name] = data
    return files
