"""Seconds per mask with and without a model, by a simulated annotator on sets with true masks.

    python -m research.annotator SET ... [--model nano] [--masks 40] [--target 0.85] [--seeds 0,1]

Both arms work on the same masks until the IoU with the true mask reaches the target:

    control   a polygon around each region, with no more corners than the target requires
    assisted  a click on the object, then a click on the largest error of the mask; if the mask does
              not improve for PATIENCE clicks, or after MOST_CLICKS, the polygon is drawn after all

The hand is not exact: clicks and corners are scattered, with the given seeds. Time is counted from
published means, not spent:

    AIM     2.4 s  for a click on a target that must be found first, and
    CORNER  0.9 s  for each further point: Bearman et al., "What's the Point", ECCV 2016
    CHECK   1.0 s  for a look at a finished mask in either arm (assumed)

For comparison: a mask of COCO took 79 s by polygons (Lin et al., ECCV 2014); with a model in the
loop, the time per mask of SA-1B fell from 34 s to 14 s (Kirillov et al., "Segment Anything", 2023,
section 4). People draw more corners than these polygons have, and more slowly, so the saving is a
lower bound. `even at` is the time per corner at which both arms take the same time. The simulated
annotator does not name objects, does not tire, and finds no truth ambiguous: the figures compare
the two arms, and predict no project. Intervals are 95 % bootstrap intervals over images, of paired
differences. Letters: N masks, H W an image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import anymask
from anymask.base import BoolArray, Floats, InputError, IntArray
from anymask.evaluation.datasets import SetQuery
from anymask.evaluation.metrics import (
    Mean,
    cluster_mean,
    mean_of_means,
    mean_of_shares,
    sum_by_photo,
)
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import markdown_table
from anymask.evaluation.selection import EvalSet, EvalSettings, iterate_photos
from anymask.masks import (
    Click,
    Polygon,
    Prompt,
    centre_click,
    iou,
    mask_to_polygons,
    next_click,
    polygons_to_mask,
)
from research.command import exit_status

AIM, CORNER, CHECK = 2.4, 0.9, 1.0  # seconds
TOLERANCES = (16.0, 12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.5)  # of a polygon, in pixels
CLICK_SCATTER = 0.05  # standard deviation, as a part of the root of the object's area
CORNER_SCATTER = 0.005  # the same, as a part of the longer side of the object's box
MOST_CLICKS, PATIENCE = 10, 3
COLUMNS = ("set", "masks", "control", "assisted", "saved", "assisted / control", "by clicks",
           "even at")  # fmt: skip

Rng = np.random.Generator


@dataclass(frozen=True)
class Drawn:
    """A finished mask: its IoU, the seconds and the further points of polygons that it took, and
    whether clicks were enough."""

    iou: float
    seconds: float
    corners: int = 0
    by_clicks: bool = False


def draw_polygon(truth: BoolArray, target: float, rng: Rng) -> Drawn:
    """Outline a mask (H, W) with as few corners as the target requires."""
    rows, columns = np.nonzero(truth)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    tries = []
    for tolerance in TOLERANCES:
        polygons = mask_to_polygons(truth, tolerance, min_area=4) or mask_to_polygons(truth)
        drawn, rings, corners = [], 0, 0
        for one in polygons:
            exterior, *holes = (
                ring + rng.normal(0, CORNER_SCATTER * side, ring.shape)
                for ring in (one.exterior, *one.holes)
            )
            drawn.append(Polygon(exterior, tuple(holes)))
            rings += 1 + len(holes)
            corners += sum(map(len, (exterior, *holes)))
        reached = iou(polygons_to_mask(drawn, truth.shape), truth)
        seconds = AIM * rings + CORNER * (corners - rings) + CHECK
        tries.append(Drawn(reached, seconds, corners - rings))
    enough = [one for one in tries if one.iou >= target]
    # Regions that vanish at a coarse tolerance keep their exact ring, which has many corners.
    return (
        min(enough, key=lambda one: one.seconds) if enough else max(tries, key=lambda one: one.iou)
    )


@dataclass
class Trail:
    """An object that is clicked: all clicks so far, the last prediction, the best mask."""

    truth: BoolArray
    clicks: list[Click]
    answer: Any = None
    best: float = 0.0
    used: int = 0  # clicks that led to the best mask
    done: bool = False

    def prompt(self) -> Prompt:
        """All clicks."""
        return Prompt(
            points=np.array([click.point for click in self.clicks], np.float32),
            labels=np.array([click.label for click in self.clicks], np.int64),
        )

    def take(self, answer: Any, target: float, rng: Rng) -> None:
        """Keep the best mask; the next click corrects the first candidate."""
        fit = max(iou(mask, self.truth) for mask in answer.masks)
        self.answer = answer
        if fit > self.best:
            self.best, self.used = fit, len(self.clicks)
        in_vain = len(self.clicks) - self.used
        click = next_click(answer.masks[0], self.truth)
        self.done = (
            self.best >= target
            or click is None
            or in_vain >= PATIENCE
            or len(self.clicks) == MOST_CLICKS
        )
        if click is not None and not self.done:
            self.clicks.append(scattered(click, self.truth, rng))


def scattered(click: Click, truth: BoolArray, rng: Rng) -> Click:
    """A click near the intended one, on the same side of the outline."""
    reach = CLICK_SCATTER * float(np.sqrt(truth.sum()))
    for _ in range(8):
        x, y = np.round(np.add(click.point, rng.normal(0, reach, 2)))
        inside = 0 <= x < truth.shape[1] and 0 <= y < truth.shape[0]
        if inside and truth[int(y), int(x)] == bool(click.label):
            return Click((float(x), float(y)), click.label)
    return click


def click_objects(
    model: Segmenter, embedding: Any, truths: Sequence[BoolArray], target: float, rng: Rng
) -> list[Drawn]:
    """The assisted arm: click every object of an image, and outline those that clicks miss."""
    trails = [
        Trail(truth, [scattered(Click(centre_click(truth), 1), truth, rng)]) for truth in truths
    ]
    while active := [trail for trail in trails if not trail.done]:
        prompts = [trail.prompt() for trail in active]
        options: dict[str, Any] = {"prompts": prompts}
        if len(active[0].clicks) > 1 and "mask" in model.spec.accepts:
            options["previous"] = [trail.answer for trail in active]
        for trail, answer in zip(active, model.segment(embedding, **options), strict=True):
            trail.take(answer, target, rng)
    found = []
    for trail in trails:
        clicked = AIM * len(trail.clicks) + CHECK
        if trail.best >= target:
            found.append(Drawn(trail.best, clicked, by_clicks=True))
        else:
            drawn = draw_polygon(trail.truth, target, rng)
            best = max(drawn.iou, trail.best)
            found.append(Drawn(best, clicked + drawn.seconds, drawn.corners))
    return found


@dataclass
class Trial:
    """Both arms on one set: (N,) per column, means over seeds.

    Attributes:
        image: Index of the image of each mask.
        control: IoU, seconds and further points of polygons (S, N, 3) for S seeds.
        assisted: The same.
        by_clicks: Whether clicks were enough (S, N).
    """

    name: str
    image: IntArray
    control: Floats
    assisted: Floats
    by_clicks: Floats
    saved: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.saved = (self.control - self.assisted)[..., 1].mean(axis=0)


def run_trial(
    model: Segmenter, one: EvalSet, settings: EvalSettings, target: float, seeds: Sequence[int]
) -> Trial:
    """Work on one set in both arms. Raises NotMeasured where no mask is large enough."""
    arms: list[list[list[Drawn]]] = [[[] for _ in seeds] for _ in range(2)]
    image: list[int] = []
    for photo in iterate_photos(model, one, settings):
        truths = [truth.mask for truth in photo.truths()]
        embedding = model.encode(photo.image)
        for place, seed in enumerate(seeds):
            for arm, rows in enumerate(arms):
                rng = np.random.default_rng([seed, photo.place, arm])
                rows[place] += (
                    click_objects(model, embedding, truths, target, rng)
                    if arm
                    else [draw_polygon(truth, target, rng) for truth in truths]
                )
        image += [photo.place] * len(truths)
    control, assisted = (
        np.array([[(d.iou, d.seconds, d.corners) for d in row] for row in rows]) for rows in arms
    )
    clicks = np.array([[one.by_clicks for one in row] for row in arms[1]], np.float64)
    return Trial(one.plan.name, np.array(image, np.int64), control, assisted, clicks)


def row_of(trial: Trial) -> list[str]:
    """Row of the table; each arm has seconds and IoU for each seed."""
    arms = [
        ", ".join(f"{seconds:.1f} s ({fit:.3f})" for fit, seconds, _ in arm.mean(axis=1))
        for arm in (trial.control, trial.assisted)
    ]
    seconds = [arm[..., 1].mean(axis=0) for arm in (trial.assisted, trial.control)]
    ratio = mean_of_shares([sum_by_photo(trial.image, *seconds)])
    saved = cluster_mean(trial.saved, trial.image)
    share = f"{100 * trial.by_clicks.mean():.0f} %"
    return [
        trial.name, str(len(trial.image)), *arms, interval(saved, 1), interval(ratio, 2), share,
        break_even(trial),
    ]  # fmt: skip


def break_even(trial: Trial) -> str:
    """Seconds per corner of a polygon at which both arms take the same time."""
    _, seconds, corners = (trial.control - trial.assisted).mean(axis=(0, 1))
    return f"{max(0.0, CORNER - seconds / corners):.1f} s" if corners > 0 else "none"


def interval(mean: Mean, digits: int) -> str:
    """A mean with its 95 % interval."""
    return f"{mean.value:.{digits}f} ({mean.low:.{digits}f} to {mean.high:.{digits}f})"


def summary(trials: Sequence[Trial]) -> str:
    """The mean over sets with equal weights."""
    control, assisted = (
        np.mean([getattr(one, arm)[..., 1].mean() for one in trials])
        for arm in ("control", "assisted")
    )
    saved = mean_of_means([(one.saved, one.image) for one in trials])
    return (
        f"mean of {len(trials)} sets: {control:.1f} s without, {assisted:.1f} s with the model, "
        f"saved {interval(saved, 1)} s a mask"
    )


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds A,B. Raises InputError."""
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise InputError(f"Invalid seeds {text!r}. Use whole numbers separated by commas.")
    return tuple(map(int, words))


def run(args: argparse.Namespace) -> None:
    """Measure and print the table. Raises AnymaskError."""
    seeds = read_seeds(args.seeds)
    if not 0 < args.target < 1:
        raise InputError(f"--target must be between 0 and 1, but {args.target} was given.")
    settings = EvalSettings(limit=args.masks)
    sets = [one for data in args.sets for one in SetQuery(data=data).open()]
    model: Any = anymask.load(args.model)
    trials = []
    for one in sets:
        trials.append(run_trial(model, one, settings, args.target, seeds))
        table = markdown_table(list(COLUMNS), [row_of(trials[-1])]).splitlines()
        print("\n".join(table[2 * (len(trials) > 1) :]), flush=True)
    print(f"\n{summary(trials)}; {args.model}, IoU {args.target}, seeds {args.seeds}")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        "python -m research.annotator", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("sets", nargs="+", metavar="SET", help="labels in any format")
    parser.add_argument("--model", default="nano", help="(default: nano)")
    parser.add_argument("--masks", type=int, default=40, help="of each set at most (default: 40)")
    parser.add_argument("--target", type=float, default=0.85, help="IoU (default: 0.85)")
    parser.add_argument("--seeds", default="0,1", metavar="A,B", help="(default: 0,1)")
    args = parser.parse_args(words)
    return exit_status("research.annotator", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
