"""What `everything(dominant_kind=True)` gains on a set of objects of one kind, both in one run:

    python research/measure_alike.py ../shared/data/eval/dsb2018_nuclei

AP50 of all photos' masks together (101 recalls, as COCO counts), the mean of the photos' own AP50,
and the share of photos whose count is within two, or 15 %, of the truth. Both columns come from one
search: `alike` is what is done last.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

import anymask
from anymask.base import BoolArray, Floats
from anymask.evaluation.coco import match_image
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Mask
from anymask.segment.everything.alike import only_alike

HALF = 0  # place of IoU .5 among the thresholds
Row = tuple[Floats, BoolArray, int]  # scores, whether each is right, truths


def main() -> None:
    """Print a line for each photo, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with a set")
    parser.add_argument("--images", type=int, help="only so many, spread over the set")
    parser.add_argument("--model", default="nano", help="a name, or tuned weights")
    parser.add_argument("--scale", type=float, default=1, help="of images that are only counted")
    args = parser.parse_args()
    samples = load_set(args.data)[1]
    many = args.images or len(samples)
    samples = samples[:: max(1, len(samples) // many)][:many]
    model = anymask.load(args.model)
    rows: tuple[list[Row], list[Row]] = ([], [])
    counted = np.zeros(2)
    for number, sample in enumerate(samples):
        image = cv2.resize(sample.image(), None, fx=args.scale, fy=args.scale)
        found = list(model.everything(image))
        both = (found, only_alike(image, found))
        counts = np.array([len(masks) for masks in both])
        truths = len(sample.rles)
        counted += abs(counts - truths) <= max(2, 0.15 * truths)
        print(f"{number}: {truths} things, {counts} masks")
        if args.scale == 1:
            for side, masks in zip(rows, both, strict=True):
                side.append(match(sample, masks))
    for name, side, right in zip(("everything", "alike"), rows, counted, strict=True):
        print(f"{name:12} count right {right:.0f} of {len(samples)}")
        if side:
            print(
                f"{name:12} AP50 {average_precision(side):.3f}, a photo's own "
                f"{np.mean([average_precision([row]) for row in side]):.3f}"
            )


def match(sample: AnnotatedImage, masks: Sequence[Mask]) -> Row:
    """The masks of a photo, best first, and which of them are right at an IoU of .5."""
    scores = np.array([one.score for one in masks], np.float64)
    rles, most = [one.rle for one in masks], max(len(masks), 1)
    sizes = match_image(sample.hw, rles, scores, sample.rles, sample.ignore, most=most)["all"]
    if not len(masks):
        return scores, np.zeros(0, np.bool_), len(sample.rles)
    keep = ~sizes.ignored[HALF]
    ordered = np.sort(scores)[::-1]
    return ordered[keep], sizes.hit[HALF][keep], sizes.truths


def average_precision(rows: Sequence[Row]) -> float:
    """COCO's AP at one IoU: the mean precision at 101 recalls."""
    scores = np.concatenate([row[0] for row in rows])
    right = np.concatenate([row[1] for row in rows])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = np.maximum.accumulate((hits / np.arange(1, len(order) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / sum(row[2] for row in rows), np.linspace(0, 1, 101))
    return float(np.append(precision, 0.0)[places].mean())


if __name__ == "__main__":
    main()
