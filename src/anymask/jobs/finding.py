"""Things found by words as a folder job: photos in, SA-1B JSON and a picture of each out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from anymask.base import InputError
from anymask.jobs.choices import ModelChoice, PictureChoice, model_choice
from anymask.jobs.folder import FolderDict, OnProgress, Photos, Summary, make_job, run_job
from anymask.jobs.photo_records import PhotoFile, read_made, write_made
from anymask.jobs.photos import PhotoItem, write_overlay
from anymask.jobs.processing import OnStep

if TYPE_CHECKING:
    from anymask.find import FindSettings, Phrase, Phrases
    from anymask.segment import Model


class FindJobDict(FolderDict, total=False):
    """The keyword arguments of a folder job, and whether a picture is drawn of each photo."""

    overlay: bool


def find(
    source: Photos,
    output: str | Path,
    *,
    words: Phrases,
    model: str | ModelChoice | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    **how: Unpack[FindJobDict],
) -> Summary:
    """Find what words mean in the photos of a folder; the same call again goes on.

    words     as of `Model.find`
    settings  the other arguments of `Model.find` by name (detector, score, iou, top_k, side)
    how       overlay, workers, engine, shard, output_shards, pictures

    These and the other arguments, failures and errors are those of `anymask.jobs.everything`; a
    detector is a name or a folder, as an open one does not travel to workers.
    """
    from anymask.find import FindSettings, read_phrases

    chosen = FindSettings(**settings or {})
    if chosen.detector is not None and not isinstance(chosen.detector, str | Path):
        raise InputError("a job needs a detector's name or folder, got an open one; name it")
    rest: Any = {name: value for name, value in how.items() if name != "overlay"}
    job, pictures = make_job(source, output, rest)
    phrases = read_phrases(words, chosen.score)
    task = FindTask(phrases, chosen, model_choice(model), how.get("overlay", True), pictures)
    return run_job(job, task, on_progress)


@dataclass(frozen=True)
class FindTask:
    """What is done with each photo.

    phrases   what is looked for, with thresholds
    settings  how; the scores in it are those of the phrases
    model     what makes masks of boxes
    overlay   whether a picture is drawn too
    pictures  how photos are read
    """

    phrases: tuple[Phrase, ...]
    settings: FindSettings
    model: ModelChoice = ModelChoice()
    overlay: bool = True
    pictures: PictureChoice = PictureChoice()

    def open(self) -> FindWork:
        """Load model and detector. Raises AnymaskError, InputError for words not known."""
        return FindWork(self.model.load(), self)


class FindWork:
    """A photo's found things, and a picture of them."""

    def __init__(self, model: Model, task: FindTask) -> None:
        from anymask.find import check_names, open_detector

        self.model, self.task = model, task
        chosen = task.settings
        self.detector = (
            None if chosen.detector is None else open_detector(chosen.detector, chosen.device)
        )
        if self.detector is None:
            check_names(model, task.phrases)
        about = {
            "model": model.name,
            "weights": model.runtime.weights_hash,
            "find": {
                "phrases": [asdict(phrase) for phrase in task.phrases],
                "detector": None if self.detector is None else self.detector.about,
                "iou": chosen.iou,
                "top_k": chosen.top_k,
                "side": chosen.side,
            },
        }
        self.about: dict[str, Any] = json.loads(json.dumps(about))  # as it will be read again

    def __call__(self, item: PhotoItem, on_step: OnStep | None = None) -> int | None:
        """Write what is missing and count the things; None where nothing is missing."""
        from anymask.find import find_phrases

        records_path, picture_path = item.output(".json"), item.output(".png")
        photo = PhotoFile(item, self.task.pictures, self.model.spec.channels)
        made = read_made(records_path, photo, self.about)
        if made is not None and (picture_path.is_file() or not self.task.overlay):
            return None
        if made is None:
            records_path.unlink(missing_ok=True)
            records = [
                *find_phrases(
                    self.model, photo.shown, self.task.phrases, self.detector, self.task.settings
                )
            ]
        else:
            records = made[1]
        if self.task.overlay:
            write_overlay(picture_path, photo.shown, records)
        if made is None:
            write_made(records_path, photo, self.about, records)
        return len(records)
