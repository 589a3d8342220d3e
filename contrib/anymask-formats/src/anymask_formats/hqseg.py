"""HQSeg-44K and its sets: one image and one mask of the main object each.

Folders of the release (README of github.com/SysCV/sam-hq, `train/`), and of the sets' authors:
    DIS5K/DIS-TR, DIS-VD, DIS-TE1 to 4: im/NAME.jpg and gt/NAME.png
    thin_object_detection/ThinObject5K: images_train, masks_train, images_test, masks_test
    thin_object_detection/COIFT: images, masks; HRSOD: images, masks_max255
    cascade_psp/fss_all, DUTS-TR, DUTS-TE, ecssd, MSRA_10K: NAME.jpg beside NAME.png
    FSS-1000: fewshot_data/CLASS/1.jpg and 1.png, where the folder names the class
    ECSSD: images, ground_truth_mask. MSRA10K: Imgs. DUT-OMRON: DUT-OMRON-image and
    pixelwiseGT-new-PNG. DUTS: DUTS-TR-Image, DUTS-TR-Mask, DUTS-TE-Image, DUTS-TE-Mask

The splits are those of HQ-SAM: train, and val with DIS-VD, COIFT, HRSOD and the test images of
ThinObject5K. `test` is DIS-TE1 to 4. The name of a set is also a split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anymask.base import DataError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    annotated_image,
    binary_mask,
    find_files,
    located,
)
from anymask.images import SUFFIXES
from anymask.masks import Mask, mask_to_rle

DEPTH = 2  # folders above those of the table


@dataclass(frozen=True)
class HQSet:
    """Folders of images and of masks of one set, its name and its split."""

    name: str
    split: str
    images: str
    masks: str
    by_class: bool = False


SETS = (
    HQSet("DIS-TR", "train", "DIS-TR/im", "DIS-TR/gt"),
    HQSet("DIS-VD", "val", "DIS-VD/im", "DIS-VD/gt"),
    *(HQSet(f"DIS-TE{n}", "test", f"DIS-TE{n}/im", f"DIS-TE{n}/gt") for n in range(1, 5)),
    HQSet("ThinObject5K-TR", "train", "ThinObject5K/images_train", "ThinObject5K/masks_train"),
    HQSet("ThinObject5K-TE", "val", "ThinObject5K/images_test", "ThinObject5K/masks_test"),
    HQSet("COIFT", "val", "COIFT/images", "COIFT/masks"),
    HQSet("HRSOD", "val", "HRSOD/images", "HRSOD/masks_max255"),
    HQSet("FSS", "train", "fss_all", "fss_all"),
    HQSet("FSS", "train", "fewshot_data", "fewshot_data", by_class=True),
    HQSet("DUTS-TR", "train", "DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    HQSet("DUTS-TE", "train", "DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    HQSet("DUTS-TR", "train", "DUTS-TR", "DUTS-TR"),
    HQSet("DUTS-TE", "train", "DUTS-TE", "DUTS-TE"),
    HQSet("ECSSD", "train", "ecssd", "ecssd"),
    HQSet("ECSSD", "train", "ECSSD/images", "ECSSD/ground_truth_mask"),
    HQSet("MSRA10K", "train", "MSRA_10K", "MSRA_10K"),
    HQSet("MSRA10K", "train", "MSRA10K_Imgs_GT/Imgs", "MSRA10K_Imgs_GT/Imgs"),
    HQSet("DUT-OMRON", "train", "DUT-OMRON-image", "pixelwiseGT-new-PNG"),
)


def read_hqseg(
    root: Path, split: str, report: LossReport | None = None
) -> Iterator[AnnotatedImage]:
    """Read the images of a split, set by set.

    Args:
        root: Folder of the release, or any folder that contains some of its sets.
        split: train, val, test, or the name of a set.
        report: Report for invalid records. None raises an error for the first one.

    Raises:
        DataError: A set is incomplete, or the split is unknown.
    """
    chosen = [one for one in SETS if split in (one.split, one.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(one.name for one in SETS))
        raise DataError(f"Unknown split {split!r}. Choose from: train, val, test, {names}.")
    report = LossReport() if report is None else report
    read = set[str]()
    for one in chosen:
        found = _place(root, one.images), _place(root, one.masks)
        if one.name in read or found[0] is None or found[1] is None:
            continue
        read.add(one.name)
        yield from _read_set(found[0], found[1], one.by_class, report)


def _place(root: Path, inside: str) -> Path | None:
    """Find a folder of the table in the root, below it, or from a root inside its path."""
    parts = PurePosixPath(inside).parts
    tops = [
        root,
        *(top for depth in range(1, DEPTH + 1) for top in sorted(root.glob("*/" * depth))),
    ]
    places = [top.joinpath(*parts) for top in tops]
    if root.name == parts[0]:
        places.insert(0, root.joinpath(*parts[1:]))
    return next((place for place in places if place.is_dir()), None)


def _read_set(
    images: Path, masks: Path, by_class: bool, report: LossReport
) -> Iterator[AnnotatedImage]:
    together = images == masks
    kinds = sorted(SUFFIXES - {".png"} if together else SUFFIXES)
    image_files = {_stem(path, images): path for path in find_files(images, kinds[0], *kinds[1:])}
    for path in find_files(masks, ".png"):
        with report.record(path), located(path):
            image = image_files.get(_stem(path, masks))
            if image is None:
                raise DataError(f"No image of this name is in {images}. Add it.")
            mask = binary_mask(path)
            label = path.parent.name if by_class else None
            yield annotated_image(image, mask.shape, [Mask(mask_to_rle(mask), label)])


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
