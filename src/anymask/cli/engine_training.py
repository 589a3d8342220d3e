"""Training for the data engine: a round's sets in; a fine-tuned bundle and its scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import InputError
from anymask.primitives.setting import Setting, check_settings, describe_settings

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage
    from anymask.engine.rounds import Trained
    from anymask.predictors.image import Model
    from anymask.primitives.types import Floats
    from anymask.training.recipe import Recipe

MOST_MASKS = 40  # of a photo that are asked for when measuring


def check_side(side: object) -> None:
    """Raises InputError for a side that the encoder's strides do not divide."""
    if not isinstance(side, int) or side < 32 or side % 32:
        raise InputError(f"wanted a side that is a multiple of 32, got {side!r}; try 384")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A short training. Raises InputError for values out of range."""

    steps: Annotated[int, Setting("optimiser steps", least=1)] = 60
    side: Annotated[int, Setting("pixels of the training pictures' side", check=check_side)] = 384
    images: Annotated[int, Setting("pictures a step", least=1)] = 4
    masks: Annotated[int, Setting("objects a picture", least=1)] = 8
    rate: Annotated[float, Setting("learning rate", above=0)] = 2e-4
    init: Annotated[
        Path | None,
        Setting(
            "weights for the first round; later ones start from the leading model",
            default="those of the model in the package",
        ),
    ] = None
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self)


def recipe_of(tuning: Tuning, start: Path | None) -> Recipe:
    """Gentle steps, no composed scenes, a rate that falls to nothing."""
    from anymask.training.recipe import Recipe, RecipeStage

    stage = RecipeStage(
        steps=tuning.steps, side=tuning.side, images=tuning.images, masks=tuning.masks, cool=True
    )
    return Recipe(
        model=DEFAULT_MODEL,
        init="shipped" if start is None else str(start),
        stages=(stage,),
        rate=tuning.rate,
        backbone_rate=0.5,
        warmup=max(1, tuning.steps // 10),
        synthetic=0.0,
        balanced_steps=0,
        ema=0.95,
        workers=1,
        prepare_ahead=False,
        seed=tuning.seed,
        save_every=tuning.steps,
    )


def trainer(
    tuning: Tuning, report: Callable[[dict[str, Any]], None] | None = None
) -> Callable[[Path, Path | None, Path], Trained]:
    """What `engine.rounds.retrain` trains with."""

    def train(sets: Path, start: Path | None, folder: Path) -> Trained:
        from anymask.cli.run_folder import is_done, write_bundle
        from anymask.engine.rounds import Trained
        from anymask.training import loop, worker

        begin = start or tuning.init
        if begin is not None and not begin.is_file():
            raise InputError(
                f"training starts from weights, {str(begin)!r} is not there; give --init a "
                "run's last.pt, or leave it out for the weights in the package"
            )
        recipe = recipe_of(tuning, begin)
        loop.train(recipe, worker.TrainingRun(sets, folder, report=report))
        if not is_done(folder, recipe.steps):  # stopped by a signal: half a training leads nowhere
            raise KeyboardInterrupt
        write_bundle(folder, folder / "bundle")
        return Trained(folder / "bundle", folder / "last.pt")

    return train


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
    from anymask.evaluation.protocols import TruthMask, click_rounds
    from anymask.primitives.rle import rle_to_mask

    truths = [TruthMask(rle_to_mask(mask.rle)) for mask in image.masks[:MOST_MASKS]]
    embedding = model.embed(folder / image.file_name)
    return click_rounds(model, embedding, truths, rounds).ious
