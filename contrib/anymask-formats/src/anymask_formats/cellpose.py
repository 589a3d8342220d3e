"""Cellpose: `a_seg.npy` beside `a.tif`, a pickled dictionary with the label image.

A pickle can run any program, so it is read by `pickled`, which supports only arrays and plain
values. The keys that Cellpose's GUI and training use are written: masks, outlines, filename, ...
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    OutFile,
    Policy,
    fields,
    find_files,
    find_image,
    object_numbers,
    output_paths,
    paint_numbers,
    report_dataset_fields,
    report_unsupported_fields,
    value_rles,
)
from anymask.images import SUFFIXES
from anymask.masks import Mask, Masks
from anymask_formats.pickled import read_pickled

ENDING = "_seg.npy"
_MAX_NUMBER = 2**31 - 1  # valid for signed and unsigned readers
_OWN = ("masks", "outlines", "filename", "img")  # outlines are derived, img is the image itself
_HELD = (
    "diameter", "est_diam", "chan_choose", "model_path", "flow_threshold", "cellprob_threshold",
    "normalize_params",
)  # fmt: skip


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of files; the id of a mask is its number.

    Raises DataError that names file and reason, also for a pickle with other content than arrays
    and plain values.
    """
    images = []
    for path in find_files(source, ENDING):
        with report.record(path):
            images.append(_image(path, source, report, image_root))
    return images


def _image(path: Path, source: Path, report: LossReport, image_root: Path | None) -> AnnotatedImage:
    about = fields.as_record(read_pickled(path.read_bytes()), "_seg.npy")
    values = about["masks"]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "bui" or values.ndim != 2:
        raise DataError(
            (
                "`masks` is not a label image of one plane. Expected whole numbers of "
                "shape (H, W), given: "
            )
            + (
                f"{values.dtype} {values.shape}"
                if isinstance(values, np.ndarray)
                else fields.shown(values)
            )
        )
    hw = fields.checked_hw(*values.shape)
    name = _image_name(path, source, image_root, about.get("filename"))
    rles = value_rles(values)
    if min(rles) < 0:
        raise DataError("`masks` contains negative numbers.")
    masks = [Mask(rle, id=value) for value, rle in rles.items() if value]
    metadata = {str(key): value for key, value in about.items() if key not in _OWN and _says(value)}
    extra = {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in fields.held(metadata, _HELD).items()
    }
    for key in metadata.keys() - extra.keys():
        report.add("extras", name, None, f"`{key}` is not supported", key)
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra)


def _says(value: Any) -> bool:
    """Return whether a value, or any value in it, is not 0, None, False or empty."""
    if isinstance(value, np.ndarray):
        return bool(np.count_nonzero(value))
    inside = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        return any(map(_says, inside))
    return bool(value)


def _image_name(path: Path, source: Path, image_root: Path | None, declared: Any) -> str:
    """Return the image name: from a file beside it or in `image_root`, else as declared."""
    here = source if source.is_dir() else source.parent
    stem = str(path.relative_to(here))[: -len(ENDING)]
    for place in (image_root, here, here / "images"):
        if place is not None and (found := find_image(place, stem)) is not None:
            return found.relative_to(place).as_posix()
    named = PureWindowsPath(declared).name if isinstance(declared, str) else ""
    suffix = PurePosixPath(named).suffix
    return Path(f"{stem}{suffix if suffix.lower() in SUFFIXES else '.png'}").as_posix()


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write a file for each image, named as by Cellpose."""
    ending = ".npy" if target.suffix.lower() == ".npy" else ENDING
    for image, path in zip(images, output_paths(images, target, ending), strict=True):
        report_unsupported_fields(report, image, frozenset({"ids"}), (), _HELD)
        filled = [mask for mask in image.masks if mask.area]
        for number, mask in enumerate(image.masks):
            if not mask.area:
                report.add("empty", image.file_name, number, "an empty mask has no pixel to label")
        kept = replace(image, masks=Masks(filled, image_hw=image.hw))
        numbers = object_numbers(kept, report, _MAX_NUMBER)
        values = paint_numbers(kept, numbers, report)
        document = {
            "masks": values,
            "outlines": values * _borders(values),
            "filename": image.file_name,
            "ismanual": np.zeros(len(filled), np.bool_),
            "chan_choose": [0, 0],
        } | fields.held(image.extra, _HELD)
        file = io.BytesIO()
        np.save(file, np.array(document, dtype=object), allow_pickle=True)
        yield path, file.getvalue()
    report_dataset_fields(report, images, policy)


def _borders(values: NDArray[Any]) -> BoolArray:
    """Mark pixels with a neighbor of another number."""
    found = np.zeros(values.shape, np.bool_)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = values[here] != values[there]
        found[here] |= differ
        found[there] |= differ
    return found
