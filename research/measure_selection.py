"""Measure where `everything` loses objects: a labelled set in, the recall after each step out.

    python -m research.measure_selection ../shared/data/eval/coco_val --model small --images 50

An object is found if a mask has an IoU of `FOUND` with it. The first columns are the candidates of
adaptive mode, those with the minimum objectness, without contained masks, without duplicates, and
the masks that are returned, before edge refinement. The others are answers of the model to ideal
prompts: a click at the innermost point of the object (any of the masks, or the first one), and its
box. The rows are all objects, and those of each share of the image.

Letters: n masks, M objects, S steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

import anymask
from anymask.base import BoolArray, Floats
from anymask.formats import AnnotatedImage
from anymask.formats.sets import iter_samples
from anymask.masks import Mask, Prompt, Rle, center_click, open_box, rle_iou, rle_to_mask
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.segment import MaskFilter, SegmentSettings, default_min_objectness, grid_of
from anymask.segment.everything.filter import filter_masks
from anymask.segment.everything.search import find_everything
from anymask.segment.pipeline import decode_prompts
from anymask.segment.settings import mask_filter_of

FOUND = 0.5  # IoU
SIZES = (0.0, 0.002, 0.01, 0.05, 1.0)  # shares of the image
STEPS = ("candidates", "objectness", "contained", "duplicates", "returned")
PROMPTS = ("click", "first mask", "box")


def steps(found: Sequence[Mask], settings: MaskFilter) -> list[list[Mask]]:
    """Masks that are left after each of `STEPS`."""
    cleaned = replace(settings, min_objectness=0.0, max_containment=1.0, nms_iou=1.0)
    likely = replace(cleaned, min_objectness=settings.min_objectness)
    alone = replace(likely, max_containment=settings.max_containment)
    left = [filter_masks(found, one) for one in (cleaned, likely, alone, settings)]
    return [*left, filter_masks(found, settings, relative=True)]


def hits(rles: Sequence[Rle], truths: Sequence[Rle]) -> BoolArray:  # n, M -> (M,)
    """Whether each object is found."""
    found: BoolArray = rle_iou(rles, truths).max(axis=0, initial=0) >= FOUND
    return found


def measure(model: anymask.Model, sample: AnnotatedImage) -> tuple[Floats, list[int]]:
    """One image: rows (M, 1 + S + 3) of size and hits, and the number of masks after each step."""
    runtime, truths = model.runtime, sample.rles
    features = model.encode(sample.image())
    grid, least = grid_of(runtime.family, {}), default_min_objectness(runtime.family)
    found = find_everything(runtime, features, grid, least=0.0)
    left = steps(found, mask_filter_of(grid, {}, least))
    sizes = [rle_to_mask(rle).mean() for rle in truths]
    after = [hits([one.rle for one in some], truths) for some in left]
    # Whether each object is found by each of `PROMPTS`, (M, 3).
    masks = [rle_to_mask(rle) for rle in truths]
    clicks = [Prompt.of(points=[center_click(mask)]) for mask in masks]
    boxes = [Prompt.of(box=open_box(mask)) for mask in masks]
    plain = SegmentSettings(refine_edges=False, zoom=False)
    answers = decode_prompts(model.runtime, features, clicks, replace(plain, multimask=True))
    boxed = decode_prompts(model.runtime, features, boxes, replace(plain, multimask=False))
    lines = [
        [hits(some, [truth])[0] for some in (click.rles(), click.rles()[:1], box.rles())]
        for truth, click, box in zip(truths, answers, boxed, strict=True)
    ]
    rows = np.column_stack(
        [sizes, *after, np.array(lines, np.bool_).reshape(len(lines), len(PROMPTS))]
    )
    return rows.astype(np.float64), [len(some) for some in left]


def table(rows: Floats, counts: Sequence[Sequence[int]]) -> str:
    """The table in Markdown."""
    lines = [" | ".join(("objects", "number", *STEPS, *PROMPTS)), "---" + " | ---" * 9]
    for low, high in ((0.0, 1.0), *pairwise(SIZES)):
        some = rows[(rows[:, 0] >= low) & ((rows[:, 0] < high) | (high == 1))]
        if len(some):
            recall = [f"{share:.3f}" for share in some[:, 1:].mean(axis=0)]
            lines.append(" | ".join((f"{low:.1%} to {high:.1%}", str(len(some)), *recall)))
    masks = [f"{count:.1f}" for count in np.mean(counts, axis=0)]
    lines.append(" | ".join(("masks per image", "", *masks, "", "", "")))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=DEFAULT_VIDEO_MODEL)
    parser.add_argument("--images", type=int, default=50)
    args = parser.parse_args()
    model = anymask.load(args.model)
    labeled = (sample for sample in iter_samples(args.data) if sample.objects)
    measured = [measure(model, sample) for sample in islice(labeled, args.images)]
    if not measured:
        parser.error(f"{args.data} has no labelled images")
    rows = np.concatenate([one for one, _ in measured])
    print(table(rows, [counts for _, counts in measured]))


if __name__ == "__main__":
    main()
