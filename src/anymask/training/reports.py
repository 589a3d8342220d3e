"""Parts of a tuning's report page: figures before and after, a curve, the worst answers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anymask.base import parse_json
from anymask.evaluation import (
    Points,
    curve_plot,
    html_table,
    jpeg_bytes,
    note,
    picture_tag,
    section,
    tight_box,
)
from anymask.images import shown_picture
from anymask.masks import Prompt, centre_click, contours, rle_to_mask
from anymask.training.run_folder import LOG

if TYPE_CHECKING:
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.held_out import Measured

RESULT, PAGE = "result.json", "report.html"  # of a run's folder
WORST = 8
ROOM = 24  # pixels around a mask
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)


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
    path = folder / LOG
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    rows = [row for row in (parse_json(line, path) for line in lines) if key in row]
    by_step = {int(row["step"]): float(row[key]) for row in rows}
    if len(by_step) < 2:
        return section("Training progress", note("The run is too short for a curve."))
    steps = np.array(sorted(by_step), float)
    points = Points(name, steps, np.array([by_step[int(step)] for step in steps]))
    return section("Training progress", curve_plot([points], "steps"))


def worst_answers(
    model: Model, held: Sequence[AnnotatedImage], after: Measured, names: Sequence[str]
) -> str:
    """Pictures of the lowest masks by one click, one a photo: truth green, answer pink.

    after  how the held-out photos' masks were answered
    names  what the photos are called, in their order
    """
    lowest: dict[int, int] = {}  # the place of each photo's lowest mask, the lowest ones first
    for place in np.argsort(after.ious[:, 0], kind="stable"):
        lowest.setdefault(after.places[place][0], int(place))
    made, mix = [], model.spec.channels
    for place in list(lowest.values())[:WORST]:
        photo, mask = after.places[place]
        truth, picture = rle_to_mask(held[photo].rles[mask]), held[photo].picture(mix)
        (answer,) = model.segment(
            model.encode(picture), prompts=[Prompt.of(points=[centre_click(truth)])]
        )
        both = np.stack([truth, answer.masks[0]])
        drawn = contours(shown_picture(picture, mix), both, palette=[TRUTH, ANSWER])
        x0, y0, x1, y1 = (int(value) for value in tight_box(truth))
        room = ROOM + max(x1 - x0, y1 - y0) // 2
        window = drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room]
        name = f"{names[photo]}, mask {mask}: IoU {after.ious[place, 0]:.2f}"
        tag = picture_tag(jpeg_bytes(window), name)
        made.append(f"<figure>{tag}<figcaption class='note'>{escape(name)}</figcaption></figure>")
    return section("Lowest IoU after one click", f'<div class="shots">{"".join(made)}</div>')
