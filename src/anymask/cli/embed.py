"""`anymask embed`: see photos once, so that every later prompt costs only a decoding."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.folders import add_folder_options, read_division, work_on_one, work_through
from anymask.cli.photos import Job, find_jobs
from anymask.cli.pictures import PictureChoice, add_picture_options, read_pictures
from anymask.cli.segment import ModelChoice, add_model_options, read_model
from anymask.primitives.errors import DataError

if TYPE_CHECKING:
    from anymask.predictors.image import Model

SUMMARY = "see photos once and keep the embeddings"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("source", metavar="PHOTO|FOLDER", type=Path)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True,
        help="where the .npz files go; those of the same pixels and model are not made again",
    )  # fmt: skip
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Embed every photo. Raises DataError at the end when some failed."""
    task = EmbedTask(read_model(args), read_pictures(args))
    if args.source.is_dir():
        work_through(task, args, "photos")
        return
    read_division(args)  # says that it is for folders
    (job,) = find_jobs(args.source, args.output)
    work = task.open()
    made = work_on_one(work, job, work.about, args)
    print(f"{'wrote' if made else 'there already:'} {job.output('.npz')}")


@dataclass(frozen=True)
class EmbedTask:
    """What is done with each photo: the model sees it."""

    model: ModelChoice
    pictures: PictureChoice = PictureChoice()

    def open(self) -> EmbedWork:
        """Load the model. Raises AnymaskError."""
        return EmbedWork(self.model.load(), self.pictures)


class EmbedWork:
    """A photo's embedding."""

    def __init__(self, model: Model, pictures: PictureChoice) -> None:
        self.model, self.pictures = model, pictures
        self.about: dict[str, Any] = {"model": model.name, "weights": model.runtime.weights_hash}

    def __call__(self, job: Job) -> int | None:
        """Write one embedding and return 1; None where it is there already."""
        from anymask.predictors.decoding import image_hash

        image = self.pictures.load(job.photo)
        path = job.output(".npz")
        if is_done(path, self.model, image_hash(image)):
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model.embed(image).save(path)
        return 1


def is_done(path: Path, model: Model, pixels: str) -> bool:
    """Whether a whole embedding of these pixels (their hash) by this model lies there."""
    from anymask.primitives.types import Embedding

    try:
        there = Embedding.load(path)
    except (FileNotFoundError, DataError):
        return False
    made_by = (there.model, there.model_hash, there.image_hash)
    return made_by == (model.name, model.runtime.weights_hash, pixels)
