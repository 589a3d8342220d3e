"""Convert annotations between formats and report losses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

from anymask.base import DataError, InputError, check_keywords, refuse_inputs, refuse_text
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.dataset import Dataset, read
from anymask.formats.documents import OutFile, write_files
from anymask.formats.loss_report import LossReport, ReadKeywords
from anymask.formats.outlines import Policy
from anymask.formats.registry import encode_annotations, find_format, format_name, format_of_target
from anymask.formats.sets import paths_in_set

WITH_IMAGES = ("set", "yolo")  # formats with a folder for images


@dataclass(kw_only=True, repr=False)
class Conversion(LossReport):
    """Result of a conversion: losses, formats and counts."""

    format: str  # Source format
    target_format: str
    recognized_by: str = ""  # How the source format was detected
    source: Path = Path()  # Source file or folder
    images: int  # Number of images
    masks: int  # Number of masks
    files: int = 0  # Number of written files

    def lines(self, begin: str = "Not kept", source: object = "") -> list[str]:
        return super().lines(begin, source or self.source)

    def to_json(self) -> dict[str, Any]:
        """Return everything except the files as JSON values."""
        about = {"from": self.format, "to": self.target_format, "images": self.images}
        return about | {"masks": self.masks} | super().to_json()


class LossError(DataError):
    """A strict conversion would lose something; `report` lists it."""

    def __init__(self, report: Conversion) -> None:
        super().__init__(
            f"{sum(report.counts().values())} items would be lost, for example: "
            f"{report.losses[0].kind}. Nothing was written. Choose another format, or "
            "remove --strict (in Python strict=True)."
        )
        self.report = report


def convert(
    source: str | Path,
    target: str | Path,
    target_format: str | None = None,
    *,
    format: str | None = None,
    images: str | Path | None = None,
    split: str | None = None,
    policy: Policy | None = None,
    copy_images: bool = False,
    strict: bool = False,
    classes: Sequence[str] = (),
    **settings: Unpack[ReadKeywords],
) -> Conversion:
    """Convert annotations to another format.

    Args:
        target_format: Output format. By default, the suffix or the folder name of the target
            selects it.
        format: Format or published layout of the source. Detected by default.
        images: Folder or archive of the images, for formats that do not store sizes or names.
        split: Split of the dataset, such as "val".
        policy: How holes and parts are handled, and the tolerance of outlines in pixels.
        copy_images: Copy the images into the folder images/ of the target (formats set and yolo).
        strict: Write nothing if the conversion loses anything or a record is invalid.
        classes: Class names in the order of their numbers. Default: the class names of the source.
        settings: Fields of `ReadSettings`. on_bad="error" raises an error for invalid records.

    Returns:
        Conversion: Lists the content that the target format cannot store; `lines()` describes it.

    Raises:
        LossError, DataError: With `strict`, content would be lost. The source cannot be read or
            converted.
        InputError: The format is unknown, or the target and the source are the same.
        MissingPlugin: A format requires a plug-in.
    """
    check_keywords(settings, ("target_format", "format", *ReadKeywords.__annotations__))
    refuse_text("True or False", copy_images=copy_images, strict=strict)
    refuse_text("a list", classes=classes)
    source, target = Path(source), Path(target)
    refuse_inputs(target, source)
    target_format = format_name(target_format) if target_format else format_of_target(target)
    find_format(target_format)
    if copy_images and target_format not in WITH_IMAGES:
        raise InputError(
            "--copy-images requires --to set or --to yolo, but the format is "
            f"{target_format}. Remove it."
        )
    policy = policy or Policy(classes=tuple(classes))
    with closing(read(source, format, images, split, **settings)) as dataset:
        if copy_images or (dataset.images is not None and not dataset.published):
            dataset = dataset.with_sizes_checked()
        annotated = list(dataset)
        if target_format in ("csv", "geojson"):
            annotated = [dataset.with_image(image) for image in annotated]
        policy = with_source(policy, dataset.lost)
        if strict:
            trial = _report(dataset, annotated, target_format)
            for _ in encode_annotations(annotated, target, target_format, trial, policy):
                pass
            if trial:
                raise LossError(trial)
        done = _report(dataset, annotated, target_format)
        encoded = encode_annotations(annotated, target, target_format, done, policy)
        names = paths_in_set([image.file_name for image in annotated]) if copy_images else []
        image_files = (
            (target / name, dataset.content(image))
            for image, name in zip(annotated, names, strict=False)
        )
        done.files = write_files(_beside(chain(encoded, image_files), dataset, annotated), target)
        return done


def _report(dataset: Dataset, found: list[AnnotatedImage], target_format: str) -> Conversion:
    """Create the report of a conversion after reading and before writing."""
    return Conversion(
        list(dataset.lost.losses), notes=list(dataset.lost.notes), format=dataset.format,
        target_format=target_format, recognized_by=dataset.recognized_by,
        source=dataset.display_path, images=len(found),
        masks=sum(len(image.masks) for image in found),
    )  # fmt: skip


def with_source(policy: Policy, report: LossReport) -> Policy:
    """Add the facts of the source to a policy, and its class list unless the policy has one."""
    policy = replace(policy, facts=report.facts)
    if policy.classes or not report.classes:
        return policy
    ids = [number for number in report.classes.values() if number is not None]
    return replace(
        policy,
        classes=tuple(report.classes),
        class_ids=tuple(ids) if len(ids) == len(report.classes) else (),
    )


def _beside(
    files: Iterable[OutFile], dataset: Dataset, found: Sequence[AnnotatedImage]
) -> Iterator[OutFile]:
    """Yield the files to write. Raises InputError for one that would overwrite an input."""
    inputs: dict[str, Path] = {}
    for path, data in files:
        if path.exists():
            inputs = inputs or {os.path.realpath(file): file for file in dataset.files_of(found)}
            refuse_inputs(path, inputs.get(os.path.realpath(path)))
        yield path, data
