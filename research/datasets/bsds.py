"""BSDS500: its folder in, photos with each annotator's regions out.

    Berkeley Segmentation Data Set 500 (its README), unpacked from BSR_bsds500.tgz:
    BSR/BSDS500/data/images/test/ID.jpg
    BSR/BSDS500/data/groundTruth/test/ID.mat   groundTruth{person}.Segmentation, numbers from 1 on,
                                               and .Boundaries, the border pixels that count

Each region of each person is a mask; annotators are numbered from 0 on, and `boundaries` holds
one picture of borders for each of them, for the benchmark of edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from anymask.base import DataError
from anymask.formats import AnnotatedImage, find_place, located
from anymask.formats.annotations import BenchmarkTruth, annotated_image
from anymask.formats.documents import checked_hw
from anymask.formats.mask_numbers import value_rles
from anymask.masks import Mask, Rle, mask_to_rle


def read(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of a split ("train", "val", "test"). Raises DataError that names the file."""
    inside = ["", "data/", "BSDS500/data/", "BSR/BSDS500/data/"]
    places = [f"{top}groundTruth/{split}" for top in inside]
    folder = find_place(root, places, f"ground truth of BSDS500's {split}")
    for path in sorted(folder.glob("*.mat")):
        image = folder.parent.parent / "images" / split / f"{path.stem}.jpg"
        yield _sample(path, image)


def _sample(path: Path, image: Path) -> AnnotatedImage:
    with located(path):
        people = _people(path)
        masks: list[Mask] = []
        boundaries: list[Rle] = []
        for number, cell in enumerate(people):
            with located(f"person {number}"):
                regions, borders = _read_person(cell)
                hw = checked_hw(*regions.shape)
                found = [rle for value, rle in value_rles(regions).items() if value]
                masks += [Mask(rle, annotator=number) for rle in found]
                boundaries.append(mask_to_rle(borders))
                if borders.shape != hw or masks[0].rle.size != hw:
                    raise DataError(f"the regions are {hw}, the borders {borders.shape}")
        return annotated_image(
            image, hw, masks, benchmark=BenchmarkTruth(boundaries=tuple(boundaries))
        )


def _people(path: Path) -> list[Any]:
    """The cells `groundTruth`, a struct each."""
    try:
        found = scipy.io.loadmat(path, squeeze_me=False).get("groundTruth")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # scipy raises what its decoders raise, zlib.error among them
        raise DataError(f"is no readable MATLAB file ({error})") from error
    if not isinstance(found, np.ndarray) or found.dtype != object or not found.size:
        raise DataError("wanted the cells `groundTruth`, there are none")
    return list(found.ravel())


def _read_person(cell: Any) -> tuple[Any, Any]:
    """A person's regions (H, W) and borders (H, W)."""
    (person,) = cell.ravel()
    regions, borders = np.asarray(person["Segmentation"]), np.asarray(person["Boundaries"])
    if regions.ndim != 2:
        raise DataError(f"`Segmentation` must be (H, W), got {regions.shape}")
    return regions.astype(np.int64), borders.astype(np.bool_)
