"""The report of a fine-tuning as one HTML page: figures before and after, curve, worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anymask.data.channels import shown_picture
from anymask.evaluation.protocols import tight_box
from anymask.primitives.clicks import centre_click
from anymask.primitives.draw import contours
from anymask.primitives.notation import parse_json
from anymask.primitives.prompts import Prompt
from anymask.primitives.rle import rle_to_mask
from anymask.primitives.storage import write_whole
from anymask.reports.page import html_page, html_table, jpeg_bytes, note, picture_tag, section
from anymask.reports.plots import Points, curve_plot

if TYPE_CHECKING:
    from anymask.cli.held_out import Measured, TuningOutcome
    from anymask.data.annotations import AnnotatedImage
    from anymask.predictors.image import Model
    from anymask.training.recipe import Recipe
    from anymask.training.tuning_data import DataReport

WORST = 8
ROOM = 24  # pixels around a mask
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)


def write_page(
    path: Path,
    model: Model,
    held: Sequence[AnnotatedImage],
    outcome: TuningOutcome,
    report: DataReport,
    recipe: Recipe,
    kinds: Mapping[str, float | None],
) -> None:
    """Write the page.

    outcome  before and after, on the held-out photos
    kinds    IoU of each class that was learned
    """
    before, after = outcome.before, outcome.trained
    counts = range(1, after.ious.shape[1] + 1)
    rows = [
        ["before", *(f"{value:.3f}" for value in before.means())],
        ["after", *(f"{value:.3f}" for value in after.means())],
        ["gain", *(f"{b - a:+.3f}" for a, b in zip(before.means(), after.means(), strict=True))],
    ]
    table = html_table(["mean IoU of held-out masks", *(f"{n} clicks" for n in counts)], rows, [1])
    parts = [
        section(
            "Before and after",
            table,
            *(note(line) for line in (outcome.verdict(),) if line),
            note(f"{len(after.places)} masks of {len(held)} photos"),
        ),
        *([section("Classes", _classes(kinds))] if kinds else []),
        section("While it learned", _curve(path.parent)),
        section("Worst answers to one click", _worst(model, held, outcome.kept)),
        section("Data", *(note(line) for line in report.lines())),
    ]
    stage = recipe.stages[0]
    about = f"{recipe.model}, learn = {recipe.learn}, {stage.steps} steps at {stage.side} pixels"
    write_whole(path, html_page("Fine-tuning", about, parts))


def _classes(kinds: Mapping[str, float | None]) -> str:
    """IoU of each class over all held-out pixels."""
    rows = [[name, "-" if iou is None else f"{iou:.3f}"] for name, iou in kinds.items()]
    return html_table(["class", "IoU of held-out pixels"], rows, [1])


def _curve(folder: Path) -> str:
    """IoU by one click on held-out photos over the steps, as the run's log has it."""
    path = folder / "log.jsonl"
    lines = (parse_json(line, path) for line in path.read_text("utf-8").splitlines())
    rows = [row for row in lines if "held_out" in row]
    if len(rows) < 2:
        return note("too short a run for a curve")
    steps, scores = (np.array([float(row[key]) for row in rows]) for key in ("step", "held_out"))
    return curve_plot([Points("held out, 1 click", steps, scores)], "steps")


def _worst(model: Model, held: Sequence[AnnotatedImage], after: Measured) -> str:
    """The lowest masks, one a photo: truth in green, answer in pink."""
    chosen: dict[int, int] = {}
    for place in np.argsort(after.ious[:, 0], kind="stable"):
        chosen.setdefault(after.places[place][0], int(place))
    shots = []
    for place in list(chosen.values())[:WORST]:
        photo, mask = after.places[place]
        name = f"{held[photo].name}, mask {mask}: IoU {after.ious[place, 0]:.2f}"
        tag = picture_tag(_case(model, held[photo], mask), name)
        shots.append(f"<figure>{tag}<figcaption class='note'>{name}</figcaption></figure>")
    return f'<div class="shots">{"".join(shots)}</div>'


def _case(model: Model, photo: AnnotatedImage, number: int) -> bytes:
    """The photo around a mask with both outlines, as a JPEG."""
    mix = model.spec.channels
    picture = photo.picture(mix)
    truth = rle_to_mask(photo.rles[number])
    prompt = Prompt.of(points=[centre_click(truth)])
    (answer,) = model.segment(model.embed(picture), prompts=[prompt])
    drawn = contours(
        shown_picture(picture, mix), np.stack([truth, answer.masks[0]]), palette=[TRUTH, ANSWER]
    )
    x0, y0, x1, y1 = (int(value) for value in tight_box(truth))
    room = ROOM + max(x1 - x0, y1 - y0) // 2
    return jpeg_bytes(drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room])
