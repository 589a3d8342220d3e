"""OpenVINO against ONNX Runtime: photos in, mean IoU of masks and the ratio of speeds out.

    python research/measure_openvino.py nano small exported/mobile_sam --photos FOLDER

For each photo a grid of 3 x 3 clicks and the box of each click's best mask are asked on ONNX
Runtime in float32; the same prompts on OpenVINO in each precision, mask by mask. Speed is the
median over turns of ONNX Runtime's seconds divided by OpenVINO's, both in the same turn.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import anymask
from anymask.base import this_machine
from anymask.evaluation.commands.bench import time_in_turns
from anymask.images import load_image
from anymask.masks import Prompt, iou, mask_to_box, point_grid
from anymask.segment import Prediction

PRECISIONS = ("fp32", "bf16", "int8")
SUFFIXES = (".jpg", ".jpeg", ".png")


def answers(
    model: anymask.Model, photo: Any, boxes: list[Any] | None
) -> tuple[list[Prediction], list[Prediction], list[Any]]:
    """What clicks and boxes are answered with, and the boxes: None: of the clicks' own masks."""
    height, width = photo.shape[:2]
    points = point_grid(3) * (width, height)
    features = model.encode(photo)
    clicked = model.segment(features, prompts=[Prompt.of(points=[one]) for one in points])
    if boxes is None:
        boxes = [mask_to_box(one.masks[0]) for one in clicked if one.masks[0].any()]
    boxed = model.segment(features, prompts=[Prompt.of(box=box) for box in boxes])
    return clicked, boxed, boxes


def main(given: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    args = parser.parse_args(given)
    photos = [load_image(one) for one in sorted(args.photos.iterdir()) if one.suffix in SUFFIXES]
    print(f"{len(photos)} photos, {this_machine().line()}")
    print("| model | precision | mean IoU of clicks | of boxes | encode, times as fast | a click |")
    print("|---|---|---|---|---|---|")
    for name in args.models:
        theirs = anymask.load(name, runtime="onnx")
        for precision in args.precisions:
            ours = anymask.load(name, runtime="openvino", precision=precision)
            print(row(name, precision, theirs, ours, photos, args.rounds), flush=True)


def row(
    name: str, precision: str, theirs: anymask.Model, ours: anymask.Model,
    photos: list[Any], rounds: int,
) -> str:  # fmt: skip
    """One line of the table."""
    clicks, boxes = [], []
    for photo in photos:
        *wanted, prompt_boxes = answers(theirs, photo, None)
        *found, _ = answers(ours, photo, prompt_boxes)
        for kept, one, other in zip((clicks, boxes), wanted, found, strict=True):
            kept += [iou(a.masks[0], b.masks[0]) for a, b in zip(one, other, strict=True)]
    photo, steps = photos[0], {}
    for place, model in enumerate((theirs, ours)):
        seen = model.encode(photo)
        point = [(photo.shape[1] / 2, photo.shape[0] / 2)]
        steps["encode", place] = partial(model.encode, photo)
        steps["click", place] = partial(model.segment, seen, points=point)
    timed = time_in_turns(steps, rounds)
    ratios = [
        statistics.median(a / b for a, b in zip(timed[what, 0], timed[what, 1], strict=True))
        for what in ("encode", "click")
    ]
    return (
        f"| {name} | {precision} | {np.mean(clicks):.4f} | {np.mean(boxes):.4f} "
        f"| {ratios[0]:.2f} | {ratios[1]:.2f} |"
    )


if __name__ == "__main__":
    main()
