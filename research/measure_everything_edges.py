"""What refined edges gain and cost in everything's masks, before and after in one run:

    python research/measure_everything_edges.py ../shared/data/train coco_instances

Of each set some photos are searched. Where a shown mask overlaps a person's with an IoU of at least
.5, the best such mask is compared with the same mask after `refine_record_edges`: mean IoU, and IoU
of the bands along the outlines. Seconds are processor time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import anymask
from anymask.evaluation.metrics import boundary_iou
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import rle_area, rle_iou, rle_to_mask
from anymask.segment import Model, refine_record_edges

LEAST = 64  # pixels of a mask that counts
SAME = 0.5  # IoU from which on a mask is the person's


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--images", type=int, default=8, help="of each set")
    args = parser.parse_args()
    model = anymask.load("nano")
    print(
        f"{'set':24}{'masks':>7}{'IoU':>8}{'gain':>8}{'band':>8}{'gain':>8}{'s':>7}{'ms/mask':>9}"
    )
    for name in args.sets:
        samples = load_set(args.data / name)[1]
        some = samples[:: max(1, len(samples) // args.images)][: args.images]
        found = [measure(model, sample) for sample in some]
        rows = [row for one, _ in found for row in one]
        seconds, extra, shown = np.sum([spent for _, spent in found], axis=0)
        own, fine, band, rim = np.array(rows, np.float64).reshape(-1, 4).mean(axis=0)
        print(
            f"{name:24}{len(rows):7d}{own:8.3f}{fine - own:+8.3f}{band:8.3f}{rim - band:+8.3f}"
            f"{seconds / len(some):7.2f}{1000 * extra / max(shown, 1):9.1f}",
            flush=True,
        )


def measure(
    model: Model, sample: AnnotatedImage
) -> tuple[list[tuple[float, ...]], tuple[float, float, int]]:
    """Of each matched object IoU and band before and after; seconds without, more with, masks."""
    image = sample.image()
    start = time.process_time()
    own = list(model.everything(image, refine_edges=False))
    searched = time.process_time()
    features = model.encode(image)
    begun = time.process_time()
    fine = refine_record_edges(model.runtime, image, own, features)
    spent = (searched - start, time.process_time() - begun, len(own))
    truths = [rle for rle in sample.rles if rle_area(rle) >= LEAST]
    rows = []
    if own and truths:
        overlap = rle_iou([one.rle for one in own], truths)
        for column, best in enumerate(overlap.argmax(axis=0)):
            if overlap[best, column] < SAME:
                continue
            truth, row = rle_to_mask(truths[column]), list[float]()
            for one in (own[best], fine[best]):
                row.append(float(rle_iou([one.rle], [truths[column]])[0, 0]))
                row.append(boundary_iou(one.mask, truth))
            rows.append((row[0], row[2], row[1], row[3]))
    return rows, spent


if __name__ == "__main__":
    main()
