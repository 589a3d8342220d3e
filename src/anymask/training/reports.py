"""Texts, tables and figures of training reports, and the estimated duration of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from anymask.base import DataError, parse_json, write_whole
from anymask.evaluation import page, tight_box
from anymask.formats import located
from anymask.images import display_image
from anymask.masks import Prompt, center_click, contours, counted, rle_to_mask
from anymask.training.channels import mix_of
from anymask.training.frozen import FrozenOutputs
from anymask.training.images import ImageStore, enough
from anymask.training.interaction import Draws
from anymask.training.recipe import Recipe
from anymask.training.run_folder import DECODED_FOLDER, LOG
from anymask.training.samples import batches
from anymask.training.step import build_step
from anymask.training.trainee import build_trainee, learning_mode, multiplies_halves
from anymask.training.tuning_data import DATA, DataReport, own_names

if TYPE_CHECKING:
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.held_out import Measured, TuningOutcome

RESULT, PAGE = "result.json", "report.html"  # in the run folder
WORST = 8
ROOM = 24  # pixels around a mask
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)


def gain_table(
    what: str, columns: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> str:
    """Format metrics before and after training, and their difference, as an HTML table."""
    rows = [
        ["before", *(f"{value:.3f}" for value in before)],
        ["after", *(f"{value:.3f}" for value in after)],
        ["gain", *(f"{b - a:+.3f}" for a, b in zip(before, after, strict=True))],
    ]
    return page.html_table([what, *columns], rows, [1])


def curve(folder: Path, key: str, name: str) -> str:
    """Plot a metric of the run's log over the steps.

    Steps that were repeated after an interruption are shown once.
    """
    path, by_step = folder / LOG, dict[int, float]()
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with contextlib.suppress(DataError), located(path):  # a killed run leaves half a line
            row = parse_json(line, path)
            by_step[int(row["step"])] = float(row[key])
    plot = page.note("The run is too short to plot its progress.")
    if len(by_step) >= 2:
        steps, values = np.array(sorted(by_step.items()), float).T
        plot = page.curve_plot([page.Points(name, steps, values)], "steps")
    return page.section("Training progress", plot)


def worst_answers(
    model: Model, held: Sequence[AnnotatedImage], after: Measured, names: Sequence[str]
) -> str:
    """Show the masks with the lowest IoU after one click, one per image, as HTML figures.

    The ground truth is green, the prediction pink.

    Args:
        after: Metrics of the held-out masks.
        names: Names of the images, in order.
    """
    lowest: dict[int, int] = {}  # row of each image's worst mask, in ascending order of IoU
    for row in np.argsort(after.ious[:, 0], kind="stable"):
        lowest.setdefault(after.places[row][0], int(row))
    made, mix = [], model.spec.channels
    for row in list(lowest.values())[:WORST]:
        pixels, mask = after.places[row]
        truth, source_image = rle_to_mask(held[pixels].rles[mask]), held[pixels].model_input(mix)
        (answer,) = model.segment(
            model.encode(source_image), prompts=[Prompt.of(points=[center_click(truth)])]
        )
        both = np.stack([truth, answer.masks[0]])
        drawn = contours(display_image(source_image, mix), both, palette=[TRUTH, ANSWER])
        x0, y0, x1, y1 = (int(value) for value in tight_box(truth))
        room = ROOM + max(x1 - x0, y1 - y0) // 2
        window = drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room]
        name = f"{names[pixels]}, mask {mask}: IoU {after.ious[row, 0]:.2f}"
        tag = page.image_tag(page.jpeg_bytes(window), name)
        made.append(f"<figure>{tag}<figcaption class='note'>{escape(name)}</figcaption></figure>")
    return page.section(
        "Masks with the lowest IoU after one click", f'<div class="shots">{"".join(made)}</div>'
    )


def write_page(
    folder: Path,
    model: Model,
    held: Sequence[AnnotatedImage],
    outcome: TuningOutcome,
    report: DataReport,
    recipe: Recipe,
    kinds: Mapping[str, float | None],
) -> None:
    """Write the report as an HTML page.

    Args:
        model: Model with the written weights.
        held: Held-out images.
        outcome: Metrics before and after training.
        kinds: IoU of each trained class.
    """
    before, after = outcome.before, outcome.trained
    counts = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, after.ious.shape[1] + 1)]
    table = gain_table("mean IoU on held-out masks", counts, before.means(), after.means())
    notes = [outcome.verdict(), f"{len(after.places)} masks on {len(held)} held-out images"]
    rows = [[name, "-" if iou is None else f"{iou:.3f}"] for name, iou in kinds.items()]
    names = own_names(folder / DATA)
    shown = [names.get(image.name, image.name) for image in held]
    parts = [
        page.section("Before and after", table, *(page.note(line) for line in notes if line)),
        page.section("Classes", page.html_table(["class", "IoU on held-out images"], rows, [1]))
        if rows
        else "",
        curve(folder, "held_out", "mean IoU on held-out masks, averaged over the clicks"),
        worst_answers(model, held, outcome.kept, shown),
        page.section("Data", *(page.note(line) for line in report.lines())),
    ]
    stage = recipe.stages[0]
    about = (
        f"{recipe.model}, learn = {recipe.learn}, at most {stage.steps} steps at {stage.side} "
        "pixels"
    )
    write_whole(
        folder / PAGE, page.html_page("Fine-tuning", about, [part for part in parts if part])
    )


# Plan of a fine-tuning.

TRAINED = {
    "all": "all weights", "decoder": "decoder only", "neck": "image backbone frozen",
    "quality": "quality head only", "lora": "low-rank adapters", "hq": "HQ token",
    "adapter": "adapters in the encoder", "no-prompt": "class head only",
    "memory": "memory and mask decoder",
}  # fmt: skip


def plan_in_words(recipe: Recipe, images: int, held: int, minutes: float) -> str:
    """Describe the model, the trained part, the duration and the selection of the result.

    Args:
        images: Number of training images.
        held: Number of held-out images.
        minutes: Estimated duration.
    """
    stage = recipe.stages[0]
    most = f"at most {recipe.steps}" if recipe.patience else str(recipe.steps)
    plan = (
        f"Plan: fine-tune {recipe.model} ({TRAINED[recipe.learn]}) on {images} images for "
        f"{most} steps of {stage.images} images, about {counted(max(1, round(minutes)), 'minute')}."
    )
    if not recipe.judge_every:
        return plan
    return (
        f"{plan} Training stops after {recipe.patience} evaluations without an improvement on "
        f"{counted(held, 'held-out image')}. If no evaluation improves on the starting weights, "
        "these are kept."
    )


def seconds_of_steps(loss: Callable[[], Tensor], count: int, one_core: bool) -> list[float]:
    """Time forward and backward pass `count` times, in one thread for `one_core`."""
    threads, taken = torch.get_num_threads(), []
    torch.set_num_threads(1 if one_core else threads)
    try:
        for _ in range(count):
            began = time.monotonic()
            loss().backward()
            taken.append(time.monotonic() - began)
    finally:
        torch.set_num_threads(threads)
    return taken


def minutes_of(
    recipe: Recipe, data: Path, images: int, device: str, frozen: FrozenOutputs | None
) -> float:
    """Estimate the duration of all steps on this machine by timing a single one.

    Args:
        data: Folder of the sets in the run folder.
        images: Number of training images.
        frozen: Cache that the run will use.
    """
    trial, on_cpu = replace(recipe, prepare_ahead=False, workers=1), device == "cpu"
    model = learning_mode(build_trainee(trial, data), trial).to(device)
    step = build_step(model, trial).to(device)
    if frozen is not None:
        frozen.attach(model)
    mix = mix_of(recipe.channels)
    store = None if mix is None else ImageStore(data.parent / DECODED_FOLDER, mix, enough(recipe))
    batch = next(batches(trial, data, store, rank=0, first_step=0))
    halves = trial.bf16 and multiplies_halves(torch.device(device))

    def loss() -> Tensor:
        draws = Draws(trial.seed, 0, range(len(batch.images)))
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=halves):
            return cast(Tensor, step(batch, 0.0, draws).loss)

    taken = seconds_of_steps(loss, 1 if frozen is None else 2, one_core=on_cpu)
    workers = recipe.workers if on_cpu else 1
    seconds = recipe.steps * taken[-1] / workers
    if frozen is not None:
        pool = min(recipe.views * images, recipe.images_before(recipe.steps))
        seconds += max(0.0, taken[0] - taken[1]) / len(batch.images) * pool / workers
    return seconds / 60
