"""Masks for boxes as a folder job: labels of a data set in, SA-1B JSON and pictures out.

Labels for detection (COCO, YOLO, PASCAL VOC), and rectangles among outlines (CVAT, labelme, Label
Studio), become masks with the same labels. Masks that are no rectangles stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from anymask.base import DataError, InputError
from anymask.formats import AnnotatedImage, Dataset, box_of, output_stem, read
from anymask.jobs.choices import ModelChoice, PictureChoice, model_choice
from anymask.jobs.folder import FolderDict, FolderJob, OnProgress, Summary, make_job, run_job
from anymask.jobs.photo_records import PhotoFile, read_made, write_made
from anymask.jobs.photos import PhotoItem, PlacedPhotos, write_overlay
from anymask.jobs.processing import OnStep
from anymask.masks import rle_to_string

if TYPE_CHECKING:
    from anymask.masks import Mask
    from anymask.segment import Model

AT_ONCE = 64  # boxes of a photo that are asked together


def segment_boxes(
    source: str | Path | Dataset,
    output: str | Path,
    *,
    model: str | ModelChoice | None = None,
    overlay: bool = True,
    on_progress: OnProgress | None = None,
    **how: Unpack[FolderDict],
) -> Summary:
    """Draw a mask in each box of a data set; the same call again goes on.

    source       labels of any format of `anymask convert`, or what `formats.read` gave
                 of them with boxes=True
    output       the folder for a .json (SA-1B records with labels) and a .png of each photo
    model        a name, or `ModelChoice(model, weights, device, precision)`
    overlay      whether the .png is made
    on_progress  called with a `JobProgress` after each photo, in this process
    how          workers, engine, shard, output_shards, as of `jobs.everything`

    A photo that fails is counted, listed in the summary and in `errors.jsonl` of the output; the
    rest goes on. Raises DataError for labels that cannot be read, have no box, or none of whose
    photos is there; whatever would make every photo fail.
    """
    stream = source if isinstance(source, Dataset) else read(source, boxes=True)
    labels = BoxLabels.read(stream)
    job, _ = make_job((), output, how)
    return run_job(labels.job(job), BoxesTask(model_choice(model), labels, overlay), on_progress)


@dataclass(frozen=True)
class BoxLabels:
    """The labels of a data set.

    name    of the data set
    images  a photo with its masks, boxes as rectangles, by the place of its results
    photos  where each photo is, in the same order
    lost    why photos are not found, a line each
    """

    name: str
    images: dict[str, AnnotatedImage]
    photos: tuple[Path, ...]
    lost: tuple[str, ...] = ()

    @classmethod
    def read(cls, stream: Dataset) -> BoxLabels:
        """Read all labels. Raises DataError where there is no box, or no photo of any."""
        labelled = [image for image in stream if image.objects]
        if not any(box_of(mask) for image in labelled for mask in image.objects):
            unread = "".join(f"; {line}" for line in stream.unread_lines())
            raise DataError(
                f"{stream.source}: wanted labels with boxes, the {stream.form} has none{unread}; "
                "masks need no boxes, and photos without labels are for `anymask everything`"
            )
        images, photos, lost = dict[str, AnnotatedImage](), list[Path](), list[str]()
        for image in labelled:
            try:
                photos.append(stream.picture(image))
            except DataError as error:
                lost.append(str(error))
                continue
            place = str(output_stem(image.file_name))  # a file of labels may say ../../a.jpg
            if place in images:
                raise DataError(
                    f"{stream.source}: there are two photos {place!r}; name the labels of one "
                    "split at a time"
                )
            images[place] = image
        if not images:
            raise DataError(lost[0])
        return cls(stream.name, images, tuple(photos), tuple(lost))

    @property
    def boxes(self) -> int:
        """How many boxes there are."""
        masks = (mask for image in self.images.values() for mask in image.objects)
        return sum(box_of(mask) is not None for mask in masks)

    def job(self, job: FolderJob) -> FolderJob:
        """A job about these photos."""
        places = map(Path, self.images)
        return replace(
            job, source=PlacedPhotos(self.name, tuple(zip(self.photos, places, strict=True)))
        )


@dataclass(frozen=True)
class BoxesTask:
    """What is done with each photo.

    model    which model
    labels   of all photos
    overlay  whether a picture is drawn too
    """

    model: ModelChoice
    labels: BoxLabels
    overlay: bool = True

    def open(self) -> BoxesWork:
        """Load the model. Raises AnymaskError; InputError for a model that takes no boxes."""
        return BoxesWork(self.model.load(), self)


class BoxesWork:
    """A photo's masks in the order of its labels, and a picture of them."""

    def __init__(self, model: Model, task: BoxesTask) -> None:
        if "box" not in model.spec.accepts:
            raise InputError(f"{model.name} takes no boxes; choose another --model")
        self.model, self.task = model, task
        self.about = {"model": model.name, "weights": model.runtime.weights_hash}

    def __call__(self, item: PhotoItem, on_step: OnStep | None = None) -> int | None:
        """Write what is missing and count the masks; None where nothing is missing."""
        image = self.task.labels.images[item.name]
        records_path, picture_path = item.output(".json"), item.output(".png")
        photo = PhotoFile(item, PictureChoice(), self.model.spec.channels)
        about = self.about | {"labels": hash_labels(image)}
        made = read_made(records_path, photo, about)
        if made is not None and (picture_path.is_file() or not self.task.overlay):
            return None
        if made is None:
            records_path.unlink(missing_ok=True)
            records = self.segment(photo, image)
        else:
            records = made[1]
        if self.task.overlay:
            write_overlay(picture_path, photo.shown, records)
        if made is None:
            write_made(records_path, photo, about, records)
        return len(records)

    def segment(self, photo: PhotoFile, image: AnnotatedImage) -> list[Mask]:
        """The masks of a photo. Raises DataError for one of another size than its labels say."""
        if photo.pixels.shape[:2] != image.hw:
            raise DataError(
                f"the labels are of {image.hw} (height, width), the photo has "
                f"{photo.pixels.shape[:2]}; put the photo there that was labelled"
            )
        boxes = [box_of(mask) for mask in image.objects]
        asked = [box for box in boxes if box is not None]
        answers = iter(self._answers(photo, asked))
        return [
            mask if box is None else replace(next(answers), label=mask.label)
            for mask, box in zip(image.objects, boxes, strict=True)
        ]

    def _answers(self, photo: PhotoFile, boxes: Sequence[Any]) -> list[Mask]:
        found: list[Mask] = []
        for start in range(0, len(boxes), AT_ONCE):
            asked = np.array(boxes[start : start + AT_ONCE], np.float32)
            answers = self.model.segment(photo.pixels, boxes=asked)
            found += [replace(answer.to_record(), picture=None) for answer in answers]
        return found


def hash_labels(image: AnnotatedImage) -> str:
    """Of what was asked about a photo: boxes, and masks that stay."""
    rows = [
        [mask.label, rle_to_string(mask.rle), [round(v, 3) for v in mask.drawn_box or ()]]
        for mask in image.objects
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]
