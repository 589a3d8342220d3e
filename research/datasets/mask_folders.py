"""Data sets of mask folders: photos and mask pictures of one name in, annotated images out.

EgoHOS (github.com/owenzlz/EgoHOS): val/image/NAME.jpg, val/label/NAME.png, a class a pixel
GTEA hand2K: Images/NAME.jpg, Masks/NAME.png, white hands
DOORS (zenodo.org/record/7107409): TEST/img/NAME.png, TEST/Rock_all/NAME.png, a white boulder
Plant Phenotyping, leaf segmentation (plant-phenotyping.org/datasets): NAME_rgb.png,
    NAME_label.png in one folder, a colour or number a leaf
BBBC038 (bbbc.broadinstitute.org/BBBC038): stage1_train/ID/images/ID.png,
    stage1_train/ID/masks/*.png, a white nucleus each
Hypersim (github.com/apple/ml-hypersim): SCENE/images/scene_cam_00_final_preview/
    frame.0000.tonemap.jpg and scene_cam_00_geometry_hdf5/frame.0000.semantic_instance.hdf5,
    the number of an object a pixel, -1 for none; needs h5py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, ImageError
from anymask.formats import AnnotatedImage, find_place, label_values, located
from anymask.formats.annotations import annotated_image
from anymask.formats.documents import find_image
from anymask.formats.mask_numbers import colors_to_numbers, value_rles
from anymask.images import open_image
from anymask.masks import Mask, Rle, mask_to_rle

EGOHOS_CLASSES = {
    1: "left hand", 2: "right hand", 3: "object in the left hand", 4: "object in the right hand",
    5: "object in both hands", 6: "object touched through the left hand's",
    7: "object touched through the right hand's", 8: "object touched through both hands'",
}  # fmt: skip


def read_egohos(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """A mask a class of hands and objects. Raises DataError that names the file."""
    folder = find_place(root, [f"{split}/label"], f"labels of {split}")
    for path, image in _pairs(folder, folder.parent / "image"):
        with located(path):
            yield _sample(image, value_rles(label_values(path)), EGOHOS_CLASSES)


def read_gtea(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Hands, a mask a photo, of all folders or of `split`. Raises DataError."""
    for folder in _every(root, split, "Masks"):
        yield from _white_level(folder, folder.parent / "Images", "hand")


def read_doors(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Boulders, a mask a picture, of all folders or of `split`. Raises DataError."""
    for folder in _every(root, split, "Rock_all"):
        yield from _white_level(folder, folder.parent / "img", "boulder")


def _every(root: Path, split: str, name: str) -> list[Path]:
    """The folders of this name in the split, or at the top and one below."""
    find_place(root, [f"{split}/{name}"] if split else [name, f"*/{name}"], name)
    return [root / split / name] if split else [*root.glob(name), *sorted(root.glob(f"*/{name}"))]


def _white_level(folder: Path, images: Path, label: str) -> Iterator[AnnotatedImage]:
    for path, image in _pairs(folder, images):
        with located(path):
            yield _sample(image, value_rles(_numbers(path) > 0), {1: label})


def _pairs(folder: Path, images: Path) -> Iterator[tuple[Path, Path]]:
    """Each mask picture with the photo of the same name. Raises DataError for one without."""
    for path in sorted(folder.glob("*.png")):
        image = find_image(images, path.stem)
        if image is None:
            raise DataError(f"{path}: there is no photo {path.stem!r} in {images}")
        yield path, image


def read_leaves(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Leaves, a mask each, in all folders or in those below `split`. Raises DataError."""
    for path in sorted((root / split).rglob("*_label.png")):
        image = path.with_name(path.name.replace("_label.png", "_rgb.png"))
        with located(path):
            found = value_rles(_numbers(path))
            yield _sample(image, found, dict.fromkeys(found, "leaf"))


def read_nuclei(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Nuclei, a picture each. Raises DataError that names the file."""
    folder = find_place(root, [split, "."] if split else ["stage1_train", "."], "photos of nuclei")
    for place in sorted(folder.glob("*/masks")):
        image = place.parent / "images" / f"{place.parent.name}.png"
        _check_own_image(image)
        masks: list[Rle] = []
        for path in sorted(place.glob("*.png")):
            with located(path):
                masks.append(mask_to_rle(label_values(path)))
                if masks[0].size != masks[-1].size:
                    raise DataError(f"is {masks[-1].size}, the others are {masks[0].size}")
        if masks:
            drawn = [Mask(rle, "nucleus") for rle in masks]
            yield annotated_image(image, masks[0].size, drawn)


def _check_own_image(image: Path) -> None:
    """Raises DataError for a folder of many pictures in place of one's, as splits are laid out."""
    others = [] if image.is_file() else list(image.parent.glob("*"))
    if others:
        folder = image.parent.parent
        raise DataError(
            f"{folder}: wanted the folder of one picture, images/{image.name} and its masks, as "
            f"BBBC038 has them; got {len(others)} other files, such as {others[0].name}; where it "
            f"holds many pictures and a mask file for each, name this folder itself: {folder}"
        )


def read_hypersim(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The objects of Hypersim's frames, of all scenes or of `split`. Raises DataError."""
    import h5py  # no other data set needs it

    pattern = f"{split or '*'}/images/*_geometry_hdf5/*.semantic_instance.hdf5"
    for path in sorted(root.glob(pattern)):
        camera = path.parent.name.removesuffix("_geometry_hdf5")
        image = path.parent.with_name(f"{camera}_final_preview")
        with located(path):
            with h5py.File(path, "r") as file:
                values = np.asarray(file["dataset"]).astype(np.int64)
            found = {value: rle for value, rle in value_rles(values).items() if value > 0}
            name = path.name.replace(".semantic_instance.hdf5", ".tonemap.jpg")
            yield _sample(image / name, found, {}, (values.shape[0], values.shape[1]))


def _numbers(path: Path) -> NDArray[Any]:  # (H, W)
    """A number for each colour, 0 for black, of a picture of any kind."""
    try:
        with open_image(path) as image:
            if image.mode in ("RGB", "RGBA"):
                return colors_to_numbers(np.asarray(image.convert("RGB")))
    except (OSError, ImageError) as error:
        raise DataError(f"no readable picture ({error})") from error
    return label_values(path)


def _sample(
    image: Path,
    found: Mapping[int, Rle],
    labels: Mapping[int, str],
    hw: tuple[int, int] | None = None,
) -> AnnotatedImage:
    """A photo with a mask for each value but 0."""
    masks = [Mask(rle, labels.get(value)) for value, rle in found.items() if value]
    return annotated_image(image, next(iter(found.values())).size if hw is None else hw, masks)
