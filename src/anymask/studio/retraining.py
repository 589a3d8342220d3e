"""Training rounds: fine-tune a model on accepted masks, and promote it if it is better.

A new model is promoted only if the 95 % confidence interval of its gain (paired, bootstrap over
images) is above zero, on at least MIN_HELD images that are never used for training.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.base import Floats, InputError, claimed, json_bytes, write_whole
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    Policy,
    encode_annotations,
    is_set,
    load_set,
    path_in_set,
    write_files,
)
from anymask.images import page_as_png
from anymask.masks import Masks, rle_to_mask
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.opening import load
from anymask.runtime import WEIGHTS
from anymask.segment import Model
from anymask.studio.exchange import annotated_images, image_name, source_of
from anymask.studio.options import GENTLE_IMAGES, GENTLE_RATE, GENTLE_SIDE, Tuning
from anymask.studio.places import ROUNDS_FOLDER, own_file

if TYPE_CHECKING:
    from anymask.studio.project import Project
    from anymask.training import Recipe

LOG = logging.getLogger("anymask.studio.retraining")
SET = "accepted"
MIN_MASKS = 10
MIN_HELD = 5  # images; the interval of fewer is not meaningful
RESAMPLES = 1000
KEPT_WEIGHTS = (WEIGHTS, "last.pt")  # weights of a round, in order of preference
EVALUATED_MASKS = 40  # maximum number of masks per image in evaluation
CLICKS = 3  # points per mask in evaluation
GENTLE: dict[str, Any] = {  # short training on few images, for models with flexible input size
    "mask_loss": "focal", "boxes": 0.5, "balanced_steps": 0, "at_scale": 0.0, "turns": 0.12,
    "several": 0.05, "ema": 0.95, "workers": 1, "prepare_ahead": False,
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """Result of a training: a bundle for `anymask.load`, and weights to continue from."""

    bundle: Path
    weights: Path


Train = Callable[[Path, Path | None, Path], Trained]  # (data sets, initial weights, folder)
Judge = Callable[[str, Sequence[AnnotatedImage]], Floats]  # (model, images (I,)) -> mean IoU (I,)


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """Result of a training round."""

    round: int
    train_images: int
    train_masks: int
    test_images: int
    before: float  # Mean IoU of the current model on held-out images
    after: float  # Mean IoU of the new model on held-out images
    gain: float  # Difference; `low` and `high` are its 95 % confidence interval
    low: float
    high: float
    promoted: bool


def is_held_out(name: str, share: float) -> bool:
    """Whether an image is held out from training. Depends only on its name."""
    number = int.from_bytes(hashlib.sha256(f"held out {name}".encode()).digest()[:8], "big")
    return number / 2**64 < share


def retrain(
    project: Project, train: Train, judge: Judge, open_model: Callable[[str], Model] = load
) -> RoundOutcome:
    """Run a round. An interrupted round is resumed unless the accepted masks have changed.

    Raises InputError if there are too few images to train or evaluate, or another round of the
    project is running.

    Args:
        train: Training function, such as `trainer(...)`.
        judge: Evaluation function, such as `judge_on(...)`.
        open_model: Function that loads a model.
    """
    with claimed(project.inside / ROUNDS_FOLDER):
        taught, held = divide(project)
        number = len(project.rounds()) + 1
        folder = round_folder(project, number)
        LOG.info("%s: round %d started, %d training images", project.folder, number, len(taught))
        begin_round(project, taught, folder)
        trained = train(folder / "sets", last_weights(project), folder)
        old, new = judge(project.current_model(), held), judge(str(trained.bundle), held)
        gain, low, high = paired_gain(old, new)
        outcome = RoundOutcome(
            round=number, train_images=len(taught), test_images=len(held),
            train_masks=sum(len(image.masks) for image in taught),
            before=float(old.mean()), after=float(new.mean()), gain=gain, low=low, high=high,
            promoted=low > 0 and len(held) >= MIN_HELD,
        )  # fmt: skip
        verdict = "promoted" if outcome.promoted else "not promoted"
        LOG.info("%s: round %d finished, gain %+.3f, %s", project.folder, number, gain, verdict)
        bundle = folder / "bundle"
        if trained.bundle != bundle:
            shutil.move(trained.bundle, bundle)
        model_hash = open_model(str(bundle)).runtime.weights_hash
        project.record_weights(number, bundle, model_hash, outcome.promoted, asdict(outcome))
        return outcome


def round_folder(project: Project, number: int) -> Path:
    """Folder of a round, numbered from 1, with its data set, weights and bundle."""
    return project.inside / ROUNDS_FOLDER / str(number)


def begin_round(project: Project, images: list[AnnotatedImage], folder: Path) -> None:
    """Write the data set of the round, with links to its images, or copies.

    Deletes an unfinished round with other masks.
    """
    root = folder / "sets" / SET
    files = list(encode_annotations(images, root, "set", LossReport(), Policy()))
    if not all(path.is_file() and path.read_bytes() == data for path, data in files):
        shutil.rmtree(folder, ignore_errors=True)
    for image in images:  # link or copy
        target = root / path_in_set(image.file_name)
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
    write_files(files, root)  # last, so that a complete set has its images


def divide(project: Project) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Training and held-out images with accepted masks. Raises InputError, NotFoundError."""
    share = project.settings.held_out
    taught, held = list[AnnotatedImage](), list[AnnotatedImage]()
    for image in annotated_images(project):
        if filled := Masks(mask for mask in image.masks if mask.area):
            part = held if is_held_out(image_name(image.file_name), share) else taught
            part.append(replace(image, masks=filled))
    for image in held:
        source_of(project, image.file_name)
    masks = sum(len(image.masks) for image in taught)
    if masks < MIN_MASKS or not held:
        raise InputError(
            f"A training round requires {MIN_MASKS} accepted masks and one held-out image. This "
            f"project has {masks} and {len(held)}. Label more images."
        )
    return taught, held


def last_weights(project: Project) -> Path | None:
    """Weights of the promoted model, or None."""
    promoted = [row for row in project.rounds() if row["promoted"]]
    if not promoted:
        return None
    for name in KEPT_WEIGHTS:
        path = own_file(round_folder(project, promoted[-1]["round"]) / name, project.folder)
        if path.is_file():
            return path
    return None


def paired_gain(old: Floats, new: Floats) -> tuple[float, float, float]:  # (I,), (I,)
    """Mean difference and its 95 % confidence interval (percentile bootstrap over images)."""
    gains = new - old
    draws = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)


# Training.


@dataclass(frozen=True)
class RoundStart:
    """Network to fine-tune, and its initial weights file. None: pretrained weights."""

    variant: str
    weights: Path | None


def start_of(tuning: Tuning, lead: Path | None) -> RoundStart:
    """Select the network to fine-tune: the current model, a model by name, or a file.

    Raises InputError, ModelError, WeightsError.

    Args:
        lead: Weights of the promoted model, or None.
    """
    from anymask.training import named, variant_of

    variant, file = (DEFAULT_VIDEO_MODEL, "") if tuning.model is None else named(tuning.model, None)
    if file and tuning.init is not None:
        raise InputError(f"--init cannot be combined with the weights file --model {tuning.model}.")
    if file:
        return RoundStart(variant, Path(file))
    led = None if lead is None else variant_of(lead)
    if led is not None and (tuning.model is None or led == variant):
        return RoundStart(led, lead)
    begin = tuning.init
    if begin is not None and not begin.is_file():
        raise InputError(f"The weights {str(begin)!r} are missing. Pass last.pt, or omit --init.")
    return RoundStart(variant, None if begin is None else begin.absolute())


def recipe_of(tuning: Tuning, start: RoundStart, image_files: Sequence[AnnotatedImage]) -> Recipe:
    """Fine-tuning recipe with the few steps of a round. Held-out images replace validation images.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask import models
    from anymask.runtime import channels_of_weights
    from anymask.training import nested_part, tuning_recipe, tuning_stage

    free = bool(models.spec(start.variant).pad_multiple)
    mix = None if start.weights is None else channels_of_weights(start.weights)
    count = max(1, len(image_files))
    recipe = tuning_recipe(
        start.variant, tuning.method, count,
        samples=tuning.steps * tuning_stage(start.variant, count, None).images,
        init="shipped" if start.weights is None else str(start.weights),
        nested=nested_part([image.rles for image in image_files]),
    )  # fmt: skip
    usual = recipe.stages[0]
    side, images = (GENTLE_SIDE, GENTLE_IMAGES) if free else (usual.side, usual.images)
    images = tuning.images or images
    stage = replace(
        usual, steps=tuning.steps, side=tuning.side or side, sides=(), images=images,
        masks=tuning.masks,
    )  # fmt: skip
    gentle = free and tuning.method in ("full", "decoder")
    return replace(
        recipe, sets=(), stages=(stage,), judge_every=0, patience=0, seed=tuning.seed,
        rate=tuning.rate or (GENTLE_RATE if gentle else recipe.rate),
        warmup=max(1, tuning.steps // 10), save_every=max(1, tuning.steps // 4),
        channels={} if mix is None else asdict(mix),
        **(GENTLE if free else {"workers": recipe.workers if images % 2 == 0 else 1}),
    )  # fmt: skip


def trainer(tuning: Tuning, report: Callable[[dict[str, Any]], None] | None = None) -> Train:
    """Create the training function of `retrain`. Interrupted training is resumed.

    Args:
        report: Called with each row of the training log.
    """

    def train(sets: Path, lead: Path | None, folder: Path) -> Trained:
        from anymask.runtime import pick_device
        from anymask.training import LAST, LOG, check_method, is_done, loop, write_bundle
        from anymask.training.run_folder import PREVIOUS

        start = start_of(tuning, lead)
        images = load_set(sets / SET)[1] if is_set(sets / SET) else []
        check_method(start.variant, tuning.method)
        recipe = recipe_of(tuning, start, images)
        path, now = folder / "recipe.json", json_bytes(asdict(recipe), indent=1)
        if not path.is_file() or path.read_bytes() != now:  # another recipe: train from the start
            for name in (LAST, PREVIOUS, LOG):
                (folder / name).unlink(missing_ok=True)
            write_whole(path, now)
        loop.train(
            recipe,
            loop.TrainingRun(sets, folder, device=str(pick_device(tuning.device)), report=report),
        )
        if not is_done(folder, recipe.steps):  # stopped by a signal: do not use unfinished weights
            raise KeyboardInterrupt
        finish(folder, recipe, images)
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        write_bundle(folder, folder / "bundle")
        return Trained(folder / "bundle", folder / WEIGHTS)

    return train


def finish(folder: Path, recipe: Recipe, images: Sequence[AnnotatedImage]) -> None:
    """Write the fine-tuned weights of a round, which all commands accept by path."""
    from anymask.training import license_with_data, newest_state, trained_module, write_weights

    state = newest_state(folder)
    assert state is not None  # training has just finished
    about = {
        "licence": license_with_data(recipe),
        "data": {"photos": len(images), "masks": sum(len(image.rles) for image in images)},
        "figures": {},
    }
    write_weights(folder / WEIGHTS, trained_module(state[1]), recipe, about)


def judge_on(folder: Path) -> Judge:
    """Create the evaluation function: mean IoU per image over 1 to CLICKS points.

    Args:
        folder: Folder of the images.
    """

    def judge(place: str, images: Sequence[AnnotatedImage]) -> Floats:
        from anymask.evaluation import TruthMask, click_rounds

        model, means = load(place), []
        for image in images:
            truths = [TruthMask(rle_to_mask(mask.rle)) for mask in image.masks[:EVALUATED_MASKS]]
            features = model.encode(folder / image.file_name)
            means.append(click_rounds(model, features, truths, CLICKS).ious.mean())
        return np.array(means)

    return judge
