"""How often the first mask of an ambiguous click is the better one: sets of photos in, a table out.

    python research/measure_ambiguity.py SET ... [--images 60] [--masks 5]

One click in the middle of each true mask. An answer counts where its first two masks differ (IoU
under AMBIGUITY_IOU); it is ambiguous where the first is not better by AMBIGUITY_MARGIN. The figures
in docs/explanation/prompts.md come from here.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

import anymask
from anymask.formats.sets import iter_samples
from anymask.masks import center_click, iou, rle_area, rle_to_mask
from anymask.segment.prediction import AMBIGUITY_IOU, AMBIGUITY_MARGIN

SMALLEST = 200  # pixels of a true mask


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--images", type=int, default=60, help="of each set at most")
    parser.add_argument("--masks", type=int, default=5, help="of each photo at most")
    args = parser.parse_args()
    model = anymask.load("nano")
    rows = []
    for folder in args.sets:
        for sample in islice(iter_samples(folder), args.images):
            embedding = model.encode(sample.image())
            masks = [rle_to_mask(one.rle) for one in sample.objects if rle_area(one.rle) > SMALLEST]
            for truth in masks[: args.masks]:
                answer = model.segment(embedding, points=[center_click(truth)])
                if len(answer) > 1:
                    one, two = answer.logits[:2] > answer.threshold
                    first, second = (iou(found.pixels(), truth) for found in answer.items[:2])
                    rows.append((answer.ambiguous, iou(one, two) < AMBIGUITY_IOU, first > second))
    toss, differ, first = np.array(rows, np.bool_).T
    print(f"{len(rows)} clicks; AMBIGUITY_MARGIN {AMBIGUITY_MARGIN}, AMBIGUITY_IOU {AMBIGUITY_IOU}")
    print(f"ambiguous: {100 * toss.mean():.0f} %, the first is better in {share(first[toss])}")
    print(f"others that differ: the first is better in {share(first[differ & ~toss])}")


def share(which: np.ndarray) -> str:
    """In per cent, with the count."""
    return f"{100 * which.mean():.0f} % of {len(which)}" if len(which) else "none"


if __name__ == "__main__":
    main()
