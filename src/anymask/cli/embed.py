"""`anymask embed`: see photos once, so that every later prompt costs only a decoding."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.cli.photos import Job, find_jobs, work_through
from anymask.cli.segment import add_model_options, load_model
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
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Embed every photo. Raises DataError at the end when some failed."""
    jobs = find_jobs(args.source, args.output)
    model = load_model(args)
    work_through(jobs, "embedding", lambda job: embed_photo(model, job))


def embed_photo(model: Model, job: Job) -> bool:
    """Write one embedding; False where it is there already."""
    from anymask.data.images import load_image
    from anymask.predictors.decoding import image_hash

    image = load_image(job.photo)
    path = job.output(".npz")
    if is_done(path, model, image_hash(image)):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    model.embed(image).save(path)
    return True


def is_done(path: Path, model: Model, pixels: str) -> bool:
    """Whether a whole embedding of these pixels (their hash) by this model lies there."""
    from anymask.primitives.types import Embedding

    try:
        there = Embedding.load(path)
    except (FileNotFoundError, DataError):
        return False
    made_by = (there.model, there.model_hash, there.image_hash)
    return made_by == (model.name, model.runtime.weights_hash, pixels)
