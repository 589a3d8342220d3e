"""Embeddings as a folder job: photos in, an .npz file of each out, for any later prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from anymask.base import DataError
from anymask.jobs.choices import ModelChoice, PictureChoice, model_choice
from anymask.jobs.folder import FolderDict, OnProgress, Photos, Summary, make_job, run_job
from anymask.jobs.photos import PhotoItem
from anymask.jobs.processing import OnStep

if TYPE_CHECKING:
    from anymask.segment import Model


def encode(
    source: Photos,
    output: str | Path,
    *,
    model: str | ModelChoice | None = None,
    on_progress: OnProgress | None = None,
    **how: Unpack[FolderDict],
) -> Summary:
    """Embed the photos of a folder, each into an .npz file; the same call again goes on.

    The arguments, failures and errors are those of `anymask.jobs.everything`.
    """
    job, pictures = make_job(source, output, how)
    return run_job(job, EmbedTask(model_choice(model), pictures), on_progress)


@dataclass(frozen=True)
class EmbedTask:
    """What is done with each photo: the model sees it."""

    model: ModelChoice = ModelChoice()
    pictures: PictureChoice = PictureChoice()

    def open(self) -> EmbedWork:
        """Load the model. Raises AnymaskError."""
        return EmbedWork(self.model.load(), self.pictures)


class EmbedWork:
    """A photo's embedding."""

    def __init__(self, model: Model, pictures: PictureChoice) -> None:
        self.model, self.pictures = model, pictures
        self.about: dict[str, Any] = {"model": model.name, "weights": model.runtime.weights_hash}

    def __call__(self, item: PhotoItem, on_step: OnStep | None = None) -> int | None:
        """Write one embedding and return 1; None where it is there already."""
        from anymask.images import shown_picture
        from anymask.segment import image_hash

        mix = self.model.spec.channels
        image = self.pictures.load(item.photo, item.page, mix)
        path = item.output(".npz")
        if is_done(path, self.model, image_hash(shown_picture(image, mix))):
            return None
        self.model.encode(image).save(path)
        return 1


def is_done(path: Path, model: Model, pixels: str) -> bool:
    """Whether a whole embedding of these pixels (their hash) by this model lies there."""
    from anymask.masks import Features

    try:
        there = Features.load(path)
    except (FileNotFoundError, DataError):
        return False
    made_by = (there.model, there.model_hash, there.image_hash)
    return made_by == (model.name, model.runtime.weights_hash, pixels)
