"""The report of a fine-tuning as one HTML page: figures before and after, curve, worst cases.

A distillation's report (`distil_report`) is made of the same parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
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
    from anymask.primitives.types import BoolArray, Floats
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
    from anymask.training.tuning_data import own_names

    before, after = outcome.before, outcome.trained
    names = own_names(path.parent / "data")
    cases = [replace(one, name=names.get(one.name, one.name)) for one in worst(held, outcome.kept)]
    counts = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, after.ious.shape[1] + 1)]
    table = gain_table("mean IoU of held-out masks", counts, before.means(), after.means())
    parts = [
        section(
            "Before and after",
            table,
            *(note(line) for line in (outcome.verdict(),) if line),
            note(f"{len(after.places)} masks of {len(held)} photos"),
        ),
        *([section("Classes", _classes(kinds))] if kinds else []),
        section(
            "While it learned", curve(path.parent, "held_out", "held out, mean over the clicks")
        ),
        section("Worst answers to one click", shots(model, held, cases)),
        section("Data", *(note(line) for line in report.lines())),
    ]
    stage = recipe.stages[0]
    about = f"{recipe.model}, learn = {recipe.learn}, {stage.steps} steps at {stage.side} pixels"
    write_whole(path, html_page("Fine-tuning", about, parts))


def _classes(kinds: Mapping[str, float | None]) -> str:
    """IoU of each class over all held-out pixels."""
    rows = [[name, "-" if iou is None else f"{iou:.3f}"] for name, iou in kinds.items()]
    return html_table(["class", "IoU of held-out pixels"], rows, [1])


def gain_table(
    what: str, columns: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> str:
    """Figures before and after, and their difference, one column each."""
    rows = [
        ["before", *(f"{value:.3f}" for value in before)],
        ["after", *(f"{value:.3f}" for value in after)],
        ["gain", *(f"{b - a:+.3f}" for a, b in zip(before, after, strict=True))],
    ]
    return html_table([what, *columns], rows, [1])


def curve(folder: Path, key: str, name: str) -> str:
    """A figure over the steps, as the run's log has it under `key`.

    Steps that were learned again, as the run was killed after them, are shown once.
    """
    path = folder / "log.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    told = (row for row in (parse_json(line, path) for line in lines) if key in row)
    by_step = {int(row["step"]): row for row in told}
    rows = [by_step[step] for step in sorted(by_step)]
    if len(rows) < 2:
        return note("too short a run for a curve")
    steps, scores = (np.array([float(row[one]) for row in rows]) for one in ("step", key))
    return curve_plot([Points(name, steps, scores)], "steps")


@dataclass(frozen=True)
class ShownCase:
    """An answer that the page shows: the photo's number, what is asked, the truth, the IoU.

    name   of the photo
    which  of its masks; "": it is asked about a place
    """

    photo: int
    prompt: Prompt
    truth: BoolArray
    iou: float
    name: str
    which: str = ""


def worst(held: Sequence[AnnotatedImage], after: Measured) -> list[ShownCase]:
    """The lowest masks by one click, one a photo."""
    cases = []
    for place in lowest_of_each([photo for photo, _ in after.places], after.ious[:, 0]):
        photo, mask = after.places[place]
        truth = rle_to_mask(held[photo].rles[mask])
        prompt, value = Prompt.of(points=[centre_click(truth)]), float(after.ious[place, 0])
        cases.append(ShownCase(photo, prompt, truth, value, held[photo].name, f"mask {mask}"))
    return cases


def lowest_of_each(photos: Sequence[int], ious: Floats) -> list[int]:
    """The place of the lowest IoU of each photo, the lowest ones first, `WORST` at most."""
    chosen: dict[int, int] = {}
    for place in np.argsort(ious, kind="stable"):
        chosen.setdefault(photos[place], int(place))
    return list(chosen.values())[:WORST]


def shots(model: Model, held: Sequence[AnnotatedImage], cases: Sequence[ShownCase]) -> str:
    """Pictures of answers: truth in green, answer in pink."""
    made = []
    for case in cases:
        told = f"{case.name}, {case.which}" if case.which else case.name
        name = f"{told}: IoU {case.iou:.2f}"
        tag = picture_tag(_shot(model, held[case.photo], case), name)
        made.append(f"<figure>{tag}<figcaption class='note'>{escape(name)}</figcaption></figure>")
    return f'<div class="shots">{"".join(made)}</div>'


def _shot(model: Model, photo: AnnotatedImage, case: ShownCase) -> bytes:
    """The photo around a mask with both outlines, as a JPEG."""
    mix = model.spec.channels
    picture = photo.picture(mix)
    (answer,) = model.segment(model.embed(picture), prompts=[case.prompt])
    both = np.stack([case.truth, answer.masks[0]])
    drawn = contours(shown_picture(picture, mix), both, palette=[TRUTH, ANSWER])
    x0, y0, x1, y1 = (int(value) for value in tight_box(case.truth))
    room = ROOM + max(x1 - x0, y1 - y0) // 2
    return jpeg_bytes(drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room])
