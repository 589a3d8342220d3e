"""Seconds per mask with and without a model, by a simulated annotator on sets with true masks.

    python -m research.annotator SET ... [--model small] [--masks 40] [--target 0.85] [--seeds 0 1]

Both arms work on the same masks:

    assisted  a box around the object. If the IoU of its mask with the true mask is below the
              target, the errors of the mask are outlined, or the whole object, if that takes less
              time. (Clicks instead of outlines took more time on training sets.)
    control   a polygon around each region, with no more corners than are needed to reach the
              target and the IoU of the assisted arm, or the nearest IoU, so that both end equal

The hand is not exact: corners are scattered, with the given seeds. Time is counted from
published means, not spent:

    AIM     2.4 s  for a point on a target that must be found first, and
    CORNER  0.9 s  for each further point: Bearman et al., "What's the Point", ECCV 2016
    CHECK   1.0 s  for a look at a finished mask in either arm (assumed)

For comparison: a mask of COCO took 79 s by polygons (Lin et al., ECCV 2014); with a model in the
loop, the time per mask of SA-1B fell from 34 s to 14 s (Kirillov et al., "Segment Anything", 2023,
section 4). People draw more corners than these polygons have, and more slowly, so the saving is a
lower bound. The simulated annotator does not name objects, does not tire, and finds no truth
ambiguous: the figures compare the two arms, and predict no project. Intervals are 95 % bootstrap
intervals over images, of paired differences. Letters: H W an image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import numpy as np
from scipy import ndimage

import anymask
from anymask.base import BoolArray, Floats, InputError, IntArray
from anymask.evaluation.datasets import SetQuery
from anymask.evaluation.metrics import cluster_mean
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import markdown_table
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.masks import Polygon, Prompt, iou, mask_to_polygons, next_click, polygons_to_mask
from research.command import exit_status
from research.shared import iterate_images

AIM, CORNER, CHECK = 2.4, 0.9, 1.0  # seconds
TOLERANCES = 24 * 0.92 ** np.arange(50)  # of a polygon, in pixels
SLACK = 0.01  # difference of IoUs that counts as equal
CORNER_SCATTER = 0.005  # standard deviation, as a part of the longer side of the object's box
MOST_ERRORS = 12
COLUMNS = ("set", "masks", "control", "assisted", "saved", "by box")

Rng = np.random.Generator
Drawn = tuple[BoolArray, float, int]  # mask (H, W) of polygons, their seconds and further points


@dataclass(frozen=True)
class Finished:
    """IoU of a finished mask, its seconds, further points, and whether a box was enough."""

    iou: float
    seconds: float
    corners: int = 0
    by_box: bool = False


def polygons_of(region: BoolArray, rng: Rng) -> list[Drawn]:
    """Outlines of a region (H, W), from few corners to many."""
    tries = []
    for tolerance in TOLERANCES:
        # Regions that vanish at a coarse tolerance keep their exact ring, which has many corners.
        polygons = mask_to_polygons(region, tolerance, min_area=4) or mask_to_polygons(region)
        rings = [ring for one in polygons for ring in (one.exterior, *one.holes)]
        drawn = []
        for one in polygons:
            exterior, *holes = (
                ring + rng.normal(0, CORNER_SCATTER * longer_side(region), ring.shape)
                for ring in (one.exterior, *one.holes)
            )
            drawn.append(Polygon(exterior, tuple(holes)))
        corners = sum(map(len, rings)) - len(rings)
        seconds = AIM * len(rings) + CORNER * corners
        tries.append((polygons_to_mask(drawn, region.shape), seconds, corners))
    return tries


def longer_side(region: BoolArray) -> int:
    """Longer side of the box around a region."""
    return 1 + max(int(np.ptp(places)) for places in np.nonzero(region))


def outline_object(
    truth: BoolArray, target: float, rng: Rng, like: float | None = None
) -> Finished:
    """Outline a mask (H, W) with as few corners as the target, or an IoU `like`, requires."""
    tries = [
        Finished(iou(mask, truth), seconds + CHECK, corners)
        for mask, seconds, corners in polygons_of(truth, rng)
    ]
    enough = [one for one in tries if one.iou >= target]
    if not enough:
        return max(tries, key=attrgetter("iou"))
    slack = {one: max(abs(one.iou - (like or one.iou)), SLACK) for one in enough}
    return min(enough, key=lambda one: (slack[one], one.seconds))


def outline_errors(mask: BoolArray, truth: BoolArray, target: float, rng: Rng) -> Finished | None:
    """Outline the errors of a mask, the largest first; None if that does not reach the target."""
    seconds, corners, fit = CHECK, 0, iou(mask, truth)
    for _ in range(MOST_ERRORS):
        click = next_click(mask, truth)
        if fit >= target or click is None:
            break
        x, y = map(int, click.point)
        missing = bool(click.label)
        parts, _ = ndimage.label(truth & ~mask if missing else mask & ~truth, np.ones((3, 3)))
        tries = []
        for drawn, its_seconds, its_corners in polygons_of(parts == parts[y, x], rng):
            mended = mask | drawn if missing else mask & ~drawn
            reached = iou(mended, truth)
            worth = -its_seconds if reached >= target else (reached - fit) / its_seconds
            tries.append((reached >= target, worth, mended, its_seconds, its_corners))
        _, _, mask, its_seconds, its_corners = max(tries, key=lambda one: one[:2])
        seconds, corners = seconds + its_seconds, corners + its_corners
        fit = iou(mask, truth)
    return Finished(fit, seconds, corners) if fit >= target else None


def drag_box(truth: BoolArray, rng: Rng) -> Floats:  # (4,)
    """A box around the object, with scattered corners inside the image."""
    rows, columns = np.nonzero(truth)
    exact = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
    height, width = truth.shape
    drawn = exact + rng.normal(0, CORNER_SCATTER * longer_side(truth), 4)
    drawn = np.clip(drawn, 0, [width, height, width, height])
    return drawn if (drawn[2:] - drawn[:2] >= 1).all() else exact


def assist(model: Segmenter, embedding: Any, truth: BoolArray, target: float, rng: Rng) -> Finished:
    """The assisted arm on one object."""
    (answer,) = model.segment(embedding, prompts=[Prompt(box=drag_box(truth, rng))])
    seconds = AIM + CORNER
    best = max(answer.masks, key=lambda mask: iou(mask, truth))
    if iou(best, truth) >= target:
        return Finished(iou(best, truth), seconds + CHECK, by_box=True)
    ways = [outline_object(truth, target, rng), outline_errors(best, truth, target, rng)]
    shortest = min(filter(None, ways), key=attrgetter("seconds"))
    return replace(shortest, seconds=shortest.seconds + seconds)


@dataclass
class Trial:
    """Both arms on one set, for S seeds and N masks.

    Attributes:
        image: Index of the image of each mask (N,).
        control: IoU, seconds and further points of polygons (S, N, 3).
        assisted: The same.
        by_box: Whether a box was enough (S, N).
    """

    name: str
    image: IntArray
    control: Floats
    assisted: Floats
    by_box: Floats
    saved: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.saved = (self.control - self.assisted)[..., 1].mean(axis=0)


def run_trial(
    model: Segmenter, one: EvalSet, settings: EvalSettings, target: float, seeds: Sequence[int]
) -> Trial:
    """Work on one set in both arms. Raises NotMeasured where no mask is large enough."""
    pairs: list[list[tuple[Finished, Finished]]] = [[] for _ in seeds]
    image: list[int] = []
    for pixels in iterate_images(model, one, settings):
        truths = [truth.mask for truth in pixels.truths()]
        embedding = model.encode(pixels.image)
        for row, seed in zip(pairs, seeds, strict=True):
            rng = np.random.default_rng([seed, pixels.place])
            for truth in truths:
                assisted = assist(model, embedding, truth, target, rng)
                row.append((outline_object(truth, target, rng, like=assisted.iou), assisted))
        image += [pixels.place] * len(truths)
    control, assisted = (
        np.array([[(d[arm].iou, d[arm].seconds, d[arm].corners) for d in row] for row in pairs])
        for arm in (0, 1)
    )
    by_box = np.array([[pair[1].by_box for pair in row] for row in pairs], np.float64)
    return Trial(one.plan.name, np.array(image, np.int64), control, assisted, by_box)


def row_of(trial: Trial) -> list[str]:
    """Row of the table; each arm has seconds and IoU for each seed."""
    arms = [
        ", ".join(f"{seconds:.1f} s ({fit:.3f})" for fit, seconds, _ in arm.mean(axis=1))
        for arm in (trial.control, trial.assisted)
    ]
    mean = cluster_mean(trial.saved, trial.image)
    saved = f"{mean.value:.1f} ({mean.low:.1f} to {mean.high:.1f})"
    share = f"{100 * trial.by_box.mean():.0f} %"
    return [trial.name, str(len(trial.image)), *arms, saved, share]


def run(args: argparse.Namespace) -> None:
    """Measure and print the table. Raises AnymaskError."""
    if not 0 < args.target < 1:
        raise InputError(f"--target must be between 0 and 1, but {args.target} was given.")
    settings = EvalSettings(limit=args.masks)
    sets = [one for data in args.sets for one in SetQuery(data=data).open()]
    model: Any = anymask.load(args.model)
    for one in sets:
        row = row_of(run_trial(model, one, settings, args.target, args.seeds))
        table = markdown_table(list(COLUMNS), [row]).splitlines()
        print("\n".join(table if one is sets[0] else table[2:]), flush=True)
    print(f"\n{args.model}, IoU {args.target}, seeds {args.seeds}")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        "python -m research.annotator", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("sets", nargs="+", metavar="SET", help="labels in any format")
    parser.add_argument("--model", default="small", help="(default: small)")
    parser.add_argument("--masks", type=int, default=40, help="of each set at most (default: 40)")
    parser.add_argument("--target", type=float, default=0.85, help="IoU (default: 0.85)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(default: 0 1)")
    args = parser.parse_args(words)
    return exit_status("research.annotator", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
