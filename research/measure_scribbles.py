"""IoU of one scribble and one lasso beside one and three clicks: data sets in, a table out.

    python research/measure_scribbles.py SET ... [--model nano] [--images 6] [--masks 2]

A simulated scribble runs along the longest axis of the largest region of a true mask, from 15 % to
85 % of its length, through the deepest pixels. A simulated lasso is the outline of the mask,
widened by a tenth of the longer box side. Clicks are those of the protocol of `anymask evaluate`.
With `--prior`, the mask of a thick stroke is added to each scribble. The figures in
docs/reference/results-prompts.md come from here.
"""

from __future__ import annotations

import argparse
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np

import anymask
from anymask.evaluation.protocols import TruthMask, click_rounds
from anymask.formats.sets import iter_samples
from anymask.masks import Prompt, iou, rle_area, rle_to_mask
from anymask.masks.prompts import mask_depth

SMALLEST = 200  # pixels of a true mask
BINS = 8  # corners of a scribble
ENDS = (0.15, 0.85)  # parts of the axis that a scribble covers
COLUMNS = ("1 click", "3 clicks", "scribble", "lasso")


def drawn_scribble(mask: np.ndarray) -> np.ndarray:  # (H, W) -> (K, 2)
    """Line of a user along an object."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    region = labels == 1 + int(stats[1:count, cv2.CC_STAT_AREA].argmax())
    depth = mask_depth(region)
    places = np.argwhere(region)[:, ::-1].astype(np.float64)
    centered = places - places.mean(0)
    axis = np.linalg.svd(centered, full_matrices=False)[2][0]
    along = centered @ axis
    low, high = np.quantile(along, ENDS)
    corners = []
    edges = np.linspace(low, high, BINS + 1)
    deep = depth[region.nonzero()]
    for begin, end in pairwise(edges):
        inside = np.flatnonzero((along >= begin) & (along <= end))
        if len(inside):
            corners.append(places[inside[deep[inside].argmax()]])
    return np.array(corners, np.float32)


def with_prior(line: np.ndarray, hw: tuple[int, int]) -> np.ndarray:  # -> (H, W)
    """Mask of a stroke whose width is a twentieth of the longer image side."""
    stroke = np.zeros(hw, np.uint8)
    cv2.polylines(stroke, [line.round().astype(np.int32)], False, (1,), max(1, max(hw) // 20))
    return stroke > 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--images", type=int, default=6, help="of each set at most")
    parser.add_argument("--masks", type=int, default=2, help="of each photo at most")
    parser.add_argument("--prior", action="store_true", help="add a mask to scribbles")
    args = parser.parse_args()
    model = anymask.load(args.model)
    print("| set | masks | " + " | ".join(COLUMNS) + " |\n|---|---|" + "---|" * len(COLUMNS))
    means = []
    for folder in args.sets:
        rows = []
        for sample in islice(iter_samples(folder), args.images):
            image = sample.image()
            embedding = model.encode(image)
            masks = [rle_to_mask(one.rle) for one in sample.objects if rle_area(one.rle) > SMALLEST]
            rows += [
                scores_of(model, embedding, truth, prior=args.prior)
                for truth in masks[: args.masks]
            ]
        means.append(np.mean(rows, axis=0))
        cells = " | ".join(f"{value:.3f}" for value in means[-1])
        print(f"| {folder.name} | {len(rows)} | {cells} |", flush=True)
    cells = " | ".join(f"{value:.3f}" for value in np.mean(means, axis=0))
    print(f"| mean | | {cells} |")


def scores_of(
    model: anymask.Model, embedding: anymask.Features, truth: np.ndarray, *, prior: bool
) -> list[float]:
    """IoU of each way to prompt, in the order of COLUMNS."""
    clicks = click_rounds(model, embedding, [TruthMask(truth)], 3).ious[0]
    line = drawn_scribble(truth)
    scribble = Prompt.of(scribble=line, mask=with_prior(line, truth.shape) if prior else None)
    # Line of a user around an object.
    x, y, width, height = cv2.boundingRect(truth.astype(np.uint8))
    reach = max(2, round(0.1 * max(width, height)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    wide = cv2.morphologyEx(
        np.pad(truth.astype(np.uint8), 2 * reach), cv2.MORPH_CLOSE, kernel, iterations=2
    )
    rings, _ = cv2.findContours(
        cv2.dilate(wide, kernel), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    ring = max(rings, key=cv2.contourArea)[:, 0] - 2 * reach
    lasso = Prompt.of(lasso=np.asarray(ring.clip(0, np.array(truth.shape[::-1]) - 1), np.float32))
    answers = model.segment(embedding, prompts=[scribble, lasso])
    return [clicks[0], clicks[2], *(iou(one.masks[0], truth) for one in answers)]


if __name__ == "__main__":
    main()
