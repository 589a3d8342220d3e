"""Retraining rounds: accepted masks in, a trained model that is promoted if it is better out.

Training and measuring are handed in, as this floor knows neither. A new model leads only where the
95 % interval of the gain (the same photos for both, whole photos resampled) lies above zero, on at
least LEAST_HELD photos.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import Floats, InputError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    Policy,
    encode_annotations,
    picture_name,
    write_files,
)
from anymask.images import page_as_png
from anymask.masks import Masks, rle_area
from anymask.segment import Model
from anymask.studio.exchange import annotated_images, photo_name, source_of
from anymask.studio.places import ROUNDS, own_place
from anymask.studio.project import Project

LOG = logging.getLogger("anymask.studio.rounds")
SET = "accepted"
LEAST_MASKS = 10
LEAST_HELD = 5  # photos: an interval over fewer says nothing
RESAMPLES = 1000
WEIGHTS = ("weights.safetensors", "last.pt")  # of a round, the first of them that is there


@dataclass(frozen=True)
class Trained:
    """What a training made: a bundle that `anymask.load` opens, and its weights to go on from."""

    bundle: Path
    weights: Path


Train = Callable[[Path, Path | None, Path], Trained]  # sets, weights to start from, folder
Judge = Callable[[str, Sequence[AnnotatedImage]], Floats]  # model, (I,) photos -> (I,) mean IoU
Open = Callable[[str], Model]


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """A round of training.

    before, after  mean IoU of the leading and of the new model on the held-out photos
    gain           their difference, with its 95 % interval
    """

    round: int
    train_images: int
    train_masks: int
    test_images: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    promoted: bool

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def is_held_out(name: str, share: float) -> bool:
    """Whether training never sees a photo: by its name alone, so the answer never changes."""
    number = int.from_bytes(hashlib.sha256(f"held out {name}".encode()).digest()[:8], "big")
    return number / 2**64 < share


def retrain(project: Project, train: Train, judge: Judge, open_model: Open) -> RoundOutcome:
    """One round; one that was cut short goes on, unless other masks are accepted by now.

    Raises InputError where there is too little to learn from or to measure on.
    """
    taught, held = divide(project)
    number = len(project.rounds()) + 1
    folder = round_folder(project, number)
    LOG.info("%s: round %d begins, %d photos to learn from", project.folder, number, len(taught))
    begin_round(project, taught, folder)
    trained = train(folder / "sets", last_weights(project), folder)
    lead = project.lead()
    old, new = judge(lead, held), judge(str(trained.bundle), held)
    gain, low, high = paired_gain(old, new)
    outcome = RoundOutcome(
        round=number,
        train_images=len(taught),
        train_masks=sum(len(image.masks) for image in taught),
        test_images=len(held),
        before=float(old.mean()),
        after=float(new.mean()),
        gain=gain,
        low=low,
        high=high,
        promoted=low > 0 and len(held) >= LEAST_HELD,
    )
    told = "promoted" if outcome.promoted else "not promoted"
    LOG.info("%s: round %d ends, gain %+.3f, %s", project.folder, number, gain, told)
    bundle = folder / "bundle"
    if trained.bundle != bundle:
        shutil.move(trained.bundle, bundle)
    model_hash = open_model(str(bundle)).runtime.weights_hash
    project.keep_weights(number, bundle, model_hash, outcome.promoted, outcome.to_json())
    return outcome


def round_folder(project: Project, number: int) -> Path:
    """Where a round, counted from 1, keeps its set, its weights and its bundle."""
    return project.inside / ROUNDS / str(number)


def begin_round(project: Project, images: list[AnnotatedImage], folder: Path) -> None:
    """Write the round's set; what is left of a round on other masks goes first."""
    place = folder / "sets" / SET
    files = list(encode_annotations(images, place, "set", LossReport(), Policy()))
    if not all(path.is_file() and path.read_bytes() == data for path, data in files):
        shutil.rmtree(folder, ignore_errors=True)
    link_photos(project, images, place)
    write_files(files)  # last: a set that is written has its photos


def divide(project: Project) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Photos with accepted masks: to learn from, and held out. Raises InputError, NotFoundError."""
    share = project.settings.held_out
    filled = [_without_empty(image) for image in annotated_images(project)]
    filled = [image for image in filled if image.masks]
    taught = [image for image in filled if not is_held_out(photo_name(image.file_name), share)]
    held = [image for image in filled if is_held_out(photo_name(image.file_name), share)]
    for image in held:
        source_of(project, image.file_name)
    masks = sum(len(image.masks) for image in taught)
    if masks < LEAST_MASKS or not held:
        raise InputError(
            f"a round needs at least {LEAST_MASKS} accepted masks to learn from and a photo to "
            f"measure on; there are {masks}, and {len(held)} photos held out; label more photos"
        )
    return taught, held


def _without_empty(image: AnnotatedImage) -> AnnotatedImage:
    return replace(image, masks=Masks(mask for mask in image.masks if rle_area(mask.rle)))


def link_photos(project: Project, images: list[AnnotatedImage], folder: Path) -> None:
    """Links to the photos (copies where links are impossible) as the pictures of a set."""
    for image in images:
        target = folder / picture_name(image.file_name)
        source, page = source_of(project, image.file_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if page is not None:
            target.write_bytes(page_as_png(source, page))
            continue
        try:
            target.symlink_to(source)
        except OSError:
            shutil.copyfile(source, target)


def last_weights(project: Project) -> Path | None:
    """What the leading model was trained to; None where none of the project's leads."""
    promoted = [row for row in project.rounds() if row["promoted"]]
    if not promoted:
        return None
    for name in WEIGHTS:
        path = own_place(project.inside, f"{ROUNDS}/{promoted[-1]['round']}/{name}")
        if path.is_file():
            return path
    return None


def paired_gain(old: Floats, new: Floats) -> tuple[float, float, float]:  # (I,), (I,)
    """Mean difference and its 95 % interval (percentile bootstrap over photos)."""
    gains = new - old
    draws = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)
