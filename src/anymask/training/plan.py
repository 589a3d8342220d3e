"""What a fine-tuning will do and how long it will take, before it begins."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from anymask.training.frozen import FrozenOutputs
from anymask.training.interaction import Draws
from anymask.training.recipe import Recipe
from anymask.training.samples import batches
from anymask.training.step import build_step
from anymask.training.trainee import build_trainee, learning_mode, multiplies_halves

TRAINED = {
    "all": "all weights", "decoder": "decoder only", "neck": "image backbone frozen",
    "quality": "quality head only", "lora": "low-rank adapters", "hq": "HQ token",
    "adapter": "adapters in the encoder", "no-prompt": "class head only",
}  # fmt: skip


def plan_in_words(recipe: Recipe, photos: int, held: int, minutes: float) -> str:
    """The model, what is trained, how long and how the result is chosen.

    photos   training images
    held     held-out images
    minutes  that the run takes, about
    """
    stage = recipe.stages[0]
    most = f"at most {recipe.steps}" if recipe.patience else str(recipe.steps)
    told = (
        f"Plan: fine-tune {recipe.model} ({TRAINED[recipe.learn]}) on {photos} images in {most} "
        f"steps of {stage.images} images, about {max(1, round(minutes))} minutes."
    )
    if not recipe.judge_every:
        return told
    return (
        f"{told} It stops after {recipe.patience} evaluations without a gain on the {held} "
        "held-out images, and keeps the starting weights if nothing improves on them."
    )


def minutes_of(
    recipe: Recipe, data: Path, photos: int, device: str, frozen: FrozenOutputs | None
) -> float:
    """About how long all steps take on this machine: one of them is timed, and thrown away.

    data    folder of the sets
    photos  training images
    frozen  outputs that the run will use, too
    """
    one = replace(recipe, prepare_ahead=False, workers=1)
    model = learning_mode(build_trainee(one, data), one).to(device)
    step = build_step(model, one).to(device)
    if frozen is not None:
        frozen.attach(model)
    batch = next(batches(one, data, None, rank=0, first_step=0))
    threads, taken = torch.get_num_threads(), [0.0]
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        for _ in range(2 if frozen is not None else 1):
            began = time.monotonic()
            halves = one.bf16 and multiplies_halves(torch.device(device))
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=halves):
                outcome = step(batch, 0.0, Draws(one.seed, 0, range(len(batch.images))))
            outcome.loss.backward()
            taken.append(time.monotonic() - began)
    finally:
        torch.set_num_threads(threads)
    workers = recipe.workers if device == "cpu" else 1
    seconds = recipe.steps * taken[-1] / workers
    if frozen is not None:
        pool = min(recipe.views * photos, recipe.images_before(recipe.steps))
        seconds += max(0.0, taken[1] - taken[2]) / len(batch.images) * pool / workers
    return seconds / 60
