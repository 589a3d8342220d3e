"""Training for the data engine: a round's sets in; tuned weights, their bundle and scores out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from anymask.base import (
    InputError,
    Setting,
    check_settings,
    describe_settings,
    json_bytes,
    write_whole,
)
from anymask.models.rules import DEFAULT_MODEL
from anymask.training import WEIGHTS, licence_with_data, named, variant_of, write_weights

if TYPE_CHECKING:
    from anymask.base import Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.studio.rounds import Trained
    from anymask.training import Recipe

MOST_MASKS = 40  # of a photo that are asked for when measuring
RECIPE = "recipe.json"  # of a round's folder
GENTLE: dict[str, Any] = {  # of models that see pictures of any side: short, on few photos
    "mask_loss": "focal", "boxes": 0.5, "balanced_steps": 0, "at_scale": 0.0, "turns": 0.12,
    "several": 0.05, "ema": 0.95, "workers": 1, "prepare_ahead": False,
}  # fmt: skip
GENTLE_RATE, GENTLE_SIDE, GENTLE_IMAGES = 2e-4, 384, 4


def check_side(side: object) -> None:
    """Raises InputError for a side that the encoder's strides do not divide."""
    if side is not None and (not isinstance(side, int) or side < 32 or side % 32):
        raise InputError(f"wanted a side that is a multiple of 32, got {side!r}; try 384")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A short training. Raises InputError for values out of range."""

    model: Annotated[
        str | None,
        Setting(
            "what is tuned: a name of `anymask models list`, which goes on from the leading model "
            "where that is of its kind, or the weights.safetensors of a training",
            default="the leading model",
            check=lambda _value: None,
            form="NAME|FILE",
        ),
    ] = None
    way: Annotated[
        Literal["full", "decoder", "lora", "hq"],
        Setting("what learns: all weights, all but the encoder, small adapters, SAM-HQ's part"),
    ] = "full"
    steps: Annotated[int, Setting("optimiser steps", least=1)] = 60
    side: Annotated[
        int | None,
        Setting(
            "pixels of the training pictures' side",
            check=check_side,
            default=f"{GENTLE_SIDE}, or the only side that the model sees",
        ),
    ] = None
    images: Annotated[
        int | None,
        Setting("pictures a step", least=1, default=f"{GENTLE_IMAGES}; 2 of models of one side"),
    ] = None
    masks: Annotated[int, Setting("objects a picture", least=1)] = 8
    rate: Annotated[
        float | None,
        Setting(
            "learning rate", above=0,
            default=f"{GENTLE_RATE:g}; of models of one side and adapters as finetune",
        ),
    ] = None  # fmt: skip
    init: Annotated[
        Path | None,
        Setting(
            "weights for the first round; later ones start from the leading model",
            default="the model's own",
        ),
    ] = None
    device: Annotated[str, Setting("cpu, cuda, cuda:1 or mps", check=lambda _value: None)] = "cpu"
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class RoundStart:
    """The network that a round tunes, and the file that it starts from; None: its own weights."""

    variant: str
    weights: Path | None


def start_of(tuning: Tuning, lead: Path | None) -> RoundStart:
    """What is tuned: the leading model, a model by name, or a file.

    lead  weights of the leading model, None where the project has none of its own

    Raises InputError, ModelError, WeightsError.
    """
    variant, file = (DEFAULT_MODEL, "") if tuning.model is None else named(tuning.model, None)
    if file and tuning.init is not None:
        raise InputError(
            f"--init says where a model that is named starts, and --model {tuning.model} is a "
            "file, which starts from itself; leave one of them out"
        )
    if file:
        return RoundStart(variant, Path(file))
    led = None if lead is None else variant_of(lead)
    if led is not None and (tuning.model is None or led == variant):
        return RoundStart(led, lead)
    begin = tuning.init
    if begin is not None and not begin.is_file():
        raise InputError(
            f"training starts from weights, {str(begin)!r} is not there; give --init a "
            "run's last.pt or weights.safetensors, or leave it out for the model's own weights"
        )
    return RoundStart(variant, None if begin is None else begin.absolute())


def recipe_of(tuning: Tuning, start: RoundStart, photos: Sequence[AnnotatedImage]) -> Recipe:
    """The fine-tuning's recipe with a round's few steps: no photo is kept back to choose by, as
    the gate measures on those that are held out. Raises InputError, ModelError, WeightsError.
    """
    from anymask import models
    from anymask.runtime import channels_of_weights
    from anymask.training import nested_part, tuning_recipe, tuning_stage

    free = bool(models.spec(start.variant).pad_multiple)
    mix = None if start.weights is None else channels_of_weights(start.weights)
    count = max(1, len(photos))
    recipe = tuning_recipe(
        start.variant, tuning.way, count,
        pictures=tuning.steps * tuning_stage(start.variant, count, None).images,
        init="shipped" if start.weights is None else str(start.weights),
        nested=nested_part([photo.rles for photo in photos]),
    )  # fmt: skip
    usual = recipe.stages[0]
    side, images = (GENTLE_SIDE, GENTLE_IMAGES) if free else (usual.side, usual.images)
    images = tuning.images or images
    stage = replace(
        usual, steps=tuning.steps, side=tuning.side or side, sides=(), images=images,
        masks=tuning.masks,
    )  # fmt: skip
    gentle = free and tuning.way in ("full", "decoder")
    return replace(
        recipe, sets=(), stages=(stage,), judge_every=0, patience=0, seed=tuning.seed,
        rate=tuning.rate or (GENTLE_RATE if gentle else recipe.rate),
        warmup=max(1, tuning.steps // 10), save_every=max(1, tuning.steps // 4),
        channels={} if mix is None else asdict(mix),
        **(GENTLE if free else {"workers": recipe.workers if images % 2 == 0 else 1}),
    )  # fmt: skip


def trainer(
    tuning: Tuning, report: Callable[[dict[str, Any]], None] | None = None
) -> Callable[[Path, Path | None, Path], Trained]:
    """What `studio.rounds.retrain` trains with; a training that was cut short goes on."""

    def train(sets: Path, lead: Path | None, folder: Path) -> Trained:
        from anymask.runtime import pick_device
        from anymask.studio.rounds import SET, Trained
        from anymask.training import check_way, is_done, loop, write_bundle

        start, photos = start_of(tuning, lead), photos_of(sets / SET)
        check_way(start.variant, tuning.way)
        recipe = recipe_of(tuning, start, photos)
        begin(folder, recipe)
        device = str(pick_device(tuning.device))
        loop.train(recipe, loop.TrainingRun(sets, folder, device=device, report=report))
        if not is_done(folder, recipe.steps):  # stopped by a signal: half a training leads nowhere
            raise KeyboardInterrupt
        finish(folder, recipe, photos)
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        write_bundle(folder, folder / "bundle")
        return Trained(folder / "bundle", folder / WEIGHTS)

    return train


def photos_of(folder: Path) -> list[AnnotatedImage]:
    """The photos of a round's set. Raises DataError."""
    from anymask.formats import is_set, load_set

    return load_set(folder)[1] if is_set(folder) else []


def begin(folder: Path, recipe: Recipe) -> None:
    """Keep the recipe; a run of another one, which was cut short here, begins anew."""
    from anymask.training import LAST, LOG
    from anymask.training.run_folder import BEFORE

    path, now = folder / RECIPE, json_bytes(asdict(recipe), indent=1)
    if path.is_file() and path.read_bytes() == now:
        return
    for name in (LAST, BEFORE, LOG):
        (folder / name).unlink(missing_ok=True)
    write_whole(path, now)


def finish(folder: Path, recipe: Recipe, photos: Sequence[AnnotatedImage]) -> None:
    """Write the tuned weights of a round, which every command takes by path."""
    from anymask.training import newest_state, trained_module

    found = newest_state(folder)
    assert found is not None  # the run has just ended
    masks = sum(len(photo.rles) for photo in photos)
    about = {
        "licence": licence_with_data(recipe),
        "data": {"photos": len(photos), "masks": masks},
        "figures": {},
    }
    write_weights(folder / WEIGHTS, trained_module(found[1]), recipe, about)


def open_model(place: str) -> Model:
    """A model by name or folder."""
    import anymask

    return anymask.load(place)


def judge_on(folder: Path, rounds: int = 3) -> Callable[[str, Sequence[AnnotatedImage]], Floats]:
    """The mean IoU of each photo's masks after `rounds` clicks in a row, averaged over 1..rounds.

    folder  of the photos
    """

    def judge(place: str, images: Sequence[AnnotatedImage]) -> Floats:
        model = open_model(place)
        return np.array([scores_of(model, folder, image, rounds).mean() for image in images])

    return judge


def scores_of(model: Model, folder: Path, image: AnnotatedImage, rounds: int) -> Floats:  # (N, C)
    """IoU of every mask of a photo after each click."""
    from anymask.evaluation import TruthMask, click_rounds
    from anymask.masks import rle_to_mask

    truths = [TruthMask(rle_to_mask(mask.rle)) for mask in image.masks[:MOST_MASKS]]
    embedding = model.encode(folder / image.file_name)
    return click_rounds(model, embedding, truths, rounds).ious
