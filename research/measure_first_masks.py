"""Measure answers to a first click and to a box, as the cards of `nano` and `small` tell:

    python research/measure_first_masks.py ../shared/data/eval --model nano --model small --images 8

Of each set of the suite's group `dev` and of `grabcut` a few photos are drawn, the same ones every
time, with at most six masks of at least `--least` pixels each. Every mask is clicked at its
innermost pixel and boxed tightly. Printed for each set: mean IoU of the first mask of the click, of
the best of those shown, of the network's own first (`ranking="own"`), and of the box; the share of
first masks in more than one part, as they are shown; mean score less mean IoU of the first masks.
At the end their means over the sets, and the expected calibration error of the first masks' scores,
every set weighing the same, with the bins. `--sets coco_val --least 1024` is the public click rule
of 2026, whose figure is the network's own first.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import anymask
from anymask.base import BoolArray
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Prompt, center_click, iou, mask_to_box, rle_area, rle_to_mask

SETS = (
    "coco_val",
    "feral_cats",
    "bsds500_val",
    "camvid_driving",
    "ph2_skin_lesions",
    "thermal_buffalo_udder",
    "grabcut",
    "lung_xray",
    "publaynet_documents",
    "cvppp_leaves_a1",
    "dsb2018_nuclei",
    "cwfid_cropweed",
)
MOST = 6  # masks of a photo
COLUMNS = ("click", "best", "own", "box", "parts", "score - IoU")
BINS = 10


def drawn(
    folder: Path, images: int, least: int
) -> Iterator[tuple[AnnotatedImage, list[BoolArray]]]:
    """Some photos of a set, with some of their masks; of several annotators the first one's."""
    _, samples = load_set(folder)
    for n in np.random.default_rng(zlib.crc32(folder.name.encode())).permutation(len(samples)):
        sample = samples[n]
        people = [one.annotator for one in sample.objects if one.annotator is not None]
        large = [
            mask
            for mask, one in enumerate(sample.objects)
            if rle_area(sample.rles[mask]) >= least
            and (one.annotator is None or one.annotator == min(people))
        ]
        rng = np.random.default_rng((zlib.crc32(folder.name.encode()), int(n)))
        masks = [rle_to_mask(sample.rles[large[m]]) for m in rng.permutation(len(large))[:MOST]]
        if masks:
            yield sample, masks
            images -= 1
        if not images:
            return


def ask(
    model: anymask.Model, sample: AnnotatedImage, truths: list[BoolArray]
) -> NDArray[Any]:  # (N, 6)
    """IoU of first, best, own first and box; whether the first has parts; the first's score."""
    features = model.encode(sample.image())
    ignore = None if sample.ignore is None else rle_to_mask(sample.ignore)
    clicks = [Prompt.of(points=[center_click(truth)]) for truth in truths]
    boxes = [Prompt.of(box=mask_to_box(truth)) for truth in truths]
    answers = zip(
        truths,
        model.segment(features, prompts=clicks),
        model.segment(features, prompts=clicks, ranking="own"),
        model.segment(features, prompts=boxes),
        strict=True,
    )
    rows = []
    for truth, shown, own, boxed in answers:
        fits = [iou(mask, truth, ignore) for mask in shown.masks]
        parts = cv2.connectedComponents(shown.masks[0].astype(np.uint8))[0] - 1
        others = [iou(answer.masks[0], truth, ignore) for answer in (own, boxed)]
        rows.append([fits[0], max(fits), *others, parts > 1, shown.scores[0]])
    return np.array(rows)


def calibration(tables: list[NDArray[Any]]) -> tuple[float, list[str]]:
    """The error, and "score/IoU" of each bin that has masks; every set weighs the same."""
    rows = np.concatenate(tables)
    weights = np.concatenate([np.full(len(table), 1 / len(table)) for table in tables])
    weights, place = weights / weights.sum(), (rows[:, 5] * BINS).astype(int).clip(0, BINS - 1)
    error, bins = 0.0, []
    for n in np.unique(place):
        held = place == n
        error += abs(float(weights[held] @ (rows[held, 5] - rows[held, 0])))
        score, was = (np.average(rows[held, k], weights=weights[held]) for k in (5, 0))
        bins.append(f"{score:.2f}/{was:.2f}")
    return error, bins


def main() -> None:
    """Measure the first masks of models and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="the folder of the sets")
    parser.add_argument("--model", action="append", help="default: nano")
    parser.add_argument("--images", type=int, default=8, help="of each set")
    parser.add_argument("--least", type=int, default=256, help="pixels of a mask")
    parser.add_argument("--sets", default=",".join(SETS))
    args = parser.parse_args()
    models = {name: anymask.load(name) for name in args.model or ["nano"]}
    tables: dict[str, list[NDArray[Any]]] = {name: [] for name in models}
    print("| set | model |", " | ".join(COLUMNS), "|")
    for place in args.sets.split(","):
        images = list(drawn(args.data / place, args.images, args.least))
        for name, model in models.items():
            table = np.concatenate([ask(model, *image) for image in images])
            tables[name].append(table)
            print(f"| {place} | {name} |", figures([table]), flush=True)
    for name, found in tables.items():
        error, bins = calibration(found)
        print(f"| mean | {name} |", figures(found))
        print(f"{name}: calibration error {error:.3f}; score/IoU", *bins)


def figures(tables: list[NDArray[Any]]) -> str:
    """The columns, each the mean over the sets."""
    means = np.mean([table.mean(axis=0) for table in tables], axis=0)
    means[5] -= means[0]
    return " | ".join(f"{mean:.3f}" for mean in means) + " |"


if __name__ == "__main__":
    main()
