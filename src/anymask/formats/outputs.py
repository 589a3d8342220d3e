"""What the ending of an output's name means, the same for every verb, and how it is written.

    ending                      one thing            the things of a picture
    .png .webp .tif ...         cut-out with alpha   the photo with its masks
    .jpg and other pictures     the photo with its mask or masks
    .overlay.png .mask.png      what they say
    .json .csv .svg ...         a document of that format (`DOCUMENTS`)
    .npy                        (H, W) bool          (N, H, W) bool

Light to import: the command line asks it before anything else is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from anymask.base import InputError, near_suffix, whole_file
from anymask.masks import OPAQUE, TRANSPARENT, picture_format, save_picture

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.formats.outlines import Policy
    from anymask.masks import Masks, Prompt

PictureKind = Literal["cutout", "overlay", "mask"]
Kind = PictureKind | str  # or the name of a format, or "npy"

DOCUMENTS: dict[str, Kind] = {
    ".json": "sa1b", ".csv": "csv", ".svg": "svg", ".geojson": "geojson", ".xml": "cvat",
    ".txt": "yolo", ".npy": "npy",
}  # fmt: skip
OUTPUT_SUFFIXES = (
    *DOCUMENTS,
    *TRANSPARENT,
    *OPAQUE,
)  # suffixes; Pillow writes more kinds of pictures


def output_kind(path: Path, plain: PictureKind = "cutout") -> Kind:
    """What a file is to hold, by the end of its name.

    plain  what a picture is that is called neither .overlay.png nor .mask.png; a cut-out in a
           format without transparency (.jpg) is an overlay

    Raises InputError for any other ending.
    """
    suffix = path.suffix.lower()
    if suffix in DOCUMENTS:
        return DOCUMENTS[suffix]
    if picture_format(suffix) is None:
        near = near_suffix(suffix, OUTPUT_SUFFIXES)
        raise InputError(
            "wanted an output that ends in .png, .jpg, .webp, .tif or another picture's suffix, or "
            f"in {', '.join(DOCUMENTS)}, got {str(path)!r}; "
            + (f"did you mean {path.with_suffix(near)}?" if near else "rename it")
        )
    inner = Path(path.stem).suffix.lower()
    if inner in (".overlay", ".mask"):
        return "overlay" if inner == ".overlay" else "mask"
    opaque = plain == "cutout" and suffix not in TRANSPARENT
    return "overlay" if opaque else plain


def shows_photo(kind: Kind) -> bool:
    """Whether such an output needs the photo's pixels."""
    return kind in ("cutout", "overlay")


def save_masks(
    masks: Masks,
    path: Path,
    image: UintImage | None = None,
    *,
    plain: PictureKind = "overlay",
    prompts: Sequence[Prompt] = (),
    one: bool = False,
) -> Path:
    """Write one file by the end of its name, whole or not at all; parent folders are made.

    image    the photo, where the masks do not know it
    plain    as `output_kind` takes it
    prompts  what was asked, drawn on an overlay
    one      whether it is one thing, not a list that has one: .npy is (H, W)

    Raises InputError for another ending, a picture of a photo that is not known, or the photo.
    """
    from anymask.masks import spare_photo

    kind = output_kind(path, plain)
    spare_photo(path, masks.picture)
    with whole_file(path) as file:
        write_masks(file, path.suffix.lower(), kind, masks, image, prompts, one=one)
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
    """Write one output into an open file.

    suffix  with its dot: which format a picture has

    Raises InputError where the format cannot hold it.
    """
    if kind in ("cutout", "overlay", "mask"):
        save_picture(file, mask_picture(kind, masks, image, prompts), suffix)
    elif kind == "npy":
        import numpy as np

        np.save(file, masks[0].mask if one else masks.masks)
    else:
        file.write(document_of(masks, kind))


def mask_picture(
    kind: Kind, masks: Masks, image: UintImage | None = None, prompts: Sequence[Prompt] = ()
) -> Any:  # (H, W[, C]) uint8
    """A cut-out of all objects, the photo with masks and prompts, or all masks white on black."""
    import numpy as np

    if kind == "overlay":
        from anymask.masks import marks

        drawn = masks.draw(image)
        for asked in prompts:
            box = None if asked.box is None else asked.box[None]
            drawn = marks(drawn, asked.points, asked.labels, box)
        return drawn
    from anymask.masks import photo_of

    mask = masks.union().mask if masks else np.zeros(masks.image_hw, np.bool_)
    if kind == "mask":
        return mask.view(np.uint8) * np.uint8(255)
    photo = photo_of(image, masks.picture, masks.image_hw)
    rgba = np.empty((*mask.shape, 4), np.uint8)
    rgba[..., 3] = mask * np.uint8(255)
    # What was cut away must not stay hidden in the file, so its colours go too.
    np.multiply(photo, mask[..., None], out=rgba[..., :3])
    return rgba


def document_of(masks: Masks, form: str, policy: Policy | None = None) -> bytes:
    """The one file of a picture's masks in a format: of YOLO the lines of its labels."""
    from anymask.formats.registry import find_format

    suffix = find_format(form).suffixes[0]
    files = encode_masks(masks, form, policy)
    return next((data for name, data in files.items() if name.endswith(suffix)), b"")


def encode_masks(masks: Masks, form: str, policy: Policy | None = None) -> dict[str, bytes]:
    """The files of one picture's masks in any format, by their names."""
    from anymask.formats.annotations import AnnotatedImage, LossReport
    from anymask.formats.registry import encode_annotations, find_format

    target = Path("masks" + find_format(form).ending)
    files = {}
    for path, data in encode_annotations(
        [AnnotatedImage.of(masks)], target, form, LossReport(), policy
    ):
        inside = path.is_relative_to(target) and path != target
        files[path.relative_to(target).as_posix() if inside else path.name] = data
    return files
