"""Embeddings as a folder job: photos in, an .npz file of each out, for any later prompt.

One call for every kind of folder job: `anymask.jobs.run(verb, folder, out)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

from anymask.base import DataError, InputError
from anymask.jobs.boxes import segment_boxes
from anymask.jobs.choices import ModelChoice, PictureChoice, model_choice
from anymask.jobs.finding import find
from anymask.jobs.folder import FolderDict, OnProgress, Photos, Summary, make_job, run_job
from anymask.jobs.masks import everything
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


Verb = Literal["everything", "boxes", "encode", "find"]

_JOBS: dict[str, Any] = {
    "everything": everything,
    "boxes": segment_boxes,
    "encode": encode,
    "find": find,
}


def run(
    verb: Verb,
    folder: str | Path,
    out: str | Path,
    workers: int = 1,
    engine: Literal["local", "ray"] = "local",
    *,
    resume: bool = True,
    **settings: Any,
) -> Summary:
    """Do one thing with every photo of a folder; what is done already is not done again.

    verb      "everything": all masks of each photo; "boxes": masks for the boxes of labels, where
              `folder` holds the labels; "encode": the features of each photo; "find": what `words`
              mean
    folder    photos with their sub-folders, or the labels
    out       the folder of the results
    workers   1 works in this process; more are processes of this machine, or workers of Ray
    engine    "local": this machine; "ray": a cluster of Ray
    resume    False refuses a folder of results that holds something already
    settings  the other keyword arguments of `everything`, `segment_boxes`, `encode` or `find`

    Raises InputError for arguments out of range, and what `run_job` raises.
    """
    if verb not in _JOBS:
        raise InputError(f"verb must be one of {', '.join(_JOBS)}, got {verb!r}")
    if engine not in get_args(Literal["local", "ray"]):
        raise InputError(f'engine must be "local" or "ray", got {engine!r}')
    if workers < 1:
        raise InputError(f"workers must be 1 or more, got {workers!r}")
    if not resume and Path(out).is_dir() and any(Path(out).iterdir()):
        raise InputError(
            f"{str(out)!r} holds files already; name a new folder, or take resume=True to go on"
        )
    beside = workers if engine == "ray" or workers > 1 else 0
    how = {"workers": beside, "engine": "ray" if engine == "ray" else "processes"}
    summary: Summary = _JOBS[verb](folder, out, **how, **settings)
    return summary
