"""Parts of a tuning's report page: figures before and after, a curve, the worst answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    from anymask.base import BoolArray, Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.held_out import Measured

RESULT, PAGE = "result.json", "report.html"  # of a run's folder
WORST = 8
ROOM = 24  # pixels around a mask
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)


@dataclass(frozen=True)
class ShownCase:
    """An answer that the page shows: the photo's number, what is asked, the truth, the IoU.

    name  of the photo, and which of its masks is asked for
    """

    photo: int
    prompt: Prompt
    truth: BoolArray
    iou: float
    name: str


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
        return section("While it learned", note("too short a run for a curve"))
    steps = np.array(sorted(by_step), float)
    points = Points(name, steps, np.array([by_step[int(step)] for step in steps]))
    return section("While it learned", curve_plot([points], "steps"))


def worst(held: Sequence[AnnotatedImage], after: Measured, names: Sequence[str]) -> list[ShownCase]:
    """The lowest masks by one click, one a photo.

    names  what the photos are called, in their order
    """
    cases = []
    for place in lowest_of_each([photo for photo, _ in after.places], after.ious[:, 0]):
        photo, mask = after.places[place]
        truth = rle_to_mask(held[photo].rles[mask])
        prompt, value = Prompt.of(points=[centre_click(truth)]), float(after.ious[place, 0])
        cases.append(ShownCase(photo, prompt, truth, value, f"{names[photo]}, mask {mask}"))
    return cases


def lowest_of_each(photos: Sequence[int], ious: Floats) -> list[int]:
    """The place of the lowest IoU of each photo, the lowest ones first, `WORST` at most."""
    chosen: dict[int, int] = {}
    for place in np.argsort(ious, kind="stable"):
        chosen.setdefault(photos[place], int(place))
    return list(chosen.values())[:WORST]


def shots(model: Model, held: Sequence[AnnotatedImage], cases: Sequence[ShownCase]) -> str:
    """Pictures of the worst answers to one click, cut out around them: truth green, answer pink."""
    made, mix = [], model.spec.channels
    for case in cases:
        picture = held[case.photo].picture(mix)
        (answer,) = model.segment(model.encode(picture), prompts=[case.prompt])
        both = np.stack([case.truth, answer.masks[0]])
        drawn = contours(shown_picture(picture, mix), both, palette=[TRUTH, ANSWER])
        x0, y0, x1, y1 = (int(value) for value in tight_box(case.truth))
        room = ROOM + max(x1 - x0, y1 - y0) // 2
        window = drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room]
        name = f"{case.name}: IoU {case.iou:.2f}"
        tag = picture_tag(jpeg_bytes(window), name)
        made.append(f"<figure>{tag}<figcaption class='note'>{escape(name)}</figcaption></figure>")
    return section("Worst answers to one click", f'<div class="shots">{"".join(made)}</div>')
