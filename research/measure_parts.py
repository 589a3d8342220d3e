"""Recall of the parts of an object, by `Model.parts` and by `Model.everything` inside its mask:

    python research/measure_parts.py ../shared/data/train/clothing_parts [--images 12]
    python research/measure_parts.py ../shared/data/train/building_facade --whole facade

A part is recalled if a mask has an IoU of 0.5 with it. The whole is the union of all masks of an
image, or with `--whole` its largest mask of that label; the parts are the masks inside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import anymask
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Rle, rle_area, rle_intersection, rle_iou, rle_merge, rle_to_mask
from anymask.segment.parts import MAX_PART_SHARE, MIN_INSIDE

HALF = 0.5  # IoU
FEWEST = 64  # pixels of a part


def main() -> None:
    """Print a line for each image, and the recall of each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with a set")
    parser.add_argument("--images", type=int, default=12, help="number of images")
    parser.add_argument("--model", default="small", help="a name, or tuned weights")
    parser.add_argument("--whole", help="label of the objects whose parts are found")
    args = parser.parse_args()
    samples = load_set(args.data)[1]
    samples = samples[:: max(1, len(samples) // args.images)][: args.images]
    model = anymask.load(args.model)
    seen, truths, hits, counts = 0, 0, np.zeros(2, int), np.zeros(2, int)
    for number, sample in enumerate(samples):
        whole, parts = parts_of(sample, args.whole)
        if whole is None or not parts:
            continue
        image = sample.image()
        every = [one.rle for one in model.everything(image)]
        parted = [one.rle for one in model.parts(image, rle_to_mask(whole))]
        found = parted, restricted(every, whole)
        own = [recalled(parts, rles) for rles in found]
        seen += 1
        truths += len(parts)
        hits += own
        counts += [len(rles) for rles in found]
        print(f"{number}: {len(parts)} parts, recalled {own}", flush=True)
    for name, hit, count in zip(("parts", "everything"), hits, counts, strict=True):
        share, per = hit / max(truths, 1), count / max(seen, 1)
        print(f"{name:12} recall {share:.3f} of {truths} parts, {per:.1f} masks per image")


def parts_of(sample: AnnotatedImage, label: str | None) -> tuple[Rle | None, list[Rle]]:
    """The mask of an object, None if there is none, and the annotated masks inside it."""
    rles = [rle for rle in sample.rles if rle_area(rle) >= FEWEST]
    if label is None:
        return (rle_merge(rles), rles) if len(rles) > 1 else (None, [])
    named = [one.rle for one in sample.masks if one.label == label]
    whole = max(named, key=rle_area, default=None)
    return whole, [] if whole is None else restricted(rles, whole)


def restricted(rles: Sequence[Rle], whole: Rle) -> list[Rle]:
    """Masks inside another mask, clipped to it, without those that cover nearly all of it."""
    inside = []
    for rle in rles:
        share = rle_intersection([rle], [whole])[0, 0] / max(rle_area(rle), 1)
        clipped = rle_merge([rle, whole], intersect=True)
        if share >= MIN_INSIDE and rle_area(clipped) <= MAX_PART_SHARE * rle_area(whole):
            inside.append(clipped)
    return inside


def recalled(parts: Sequence[Rle], found: Sequence[Rle]) -> int:
    """Number of parts with an IoU of at least `HALF` with a mask."""
    return int((rle_iou(parts, found).max(axis=1, initial=0) >= HALF).sum())


if __name__ == "__main__":
    main()
