"""What a round of the data engine brings, on photos whose masks are known but not shown to it:

    python research/measure_round.py ../shared/data/eval/coco_val -o out/round --reviewer truth

A model proposes masks of some photos; a reviewer accepts all of them, or (`truth`) those that
overlap a hidden mask by an IoU of at least .75, and rejects the others; `retrain` tunes the model
on what was accepted. Told of both models on other photos of the set: the mean IoU of hidden masks
by one, two and three clicks, with the interval of the gain (95 %, bootstrap over photos), and what
would be accepted next: its number, and its mean IoU with the hidden masks. The same command goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import anymask
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Rle, rle_iou
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.options import Tuning
from anymask.studio.project import Project
from anymask.studio.retraining import paired_gain
from anymask.studio.review import asked_about
from anymask.training.held_out import Measured, measure

RIGHT = 0.75  # IoU with a hidden mask from which the reviewer accepts


def main() -> None:
    """Propose, review, retrain, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with a set")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40, help="of the project")
    parser.add_argument("--fresh", type=int, default=24, help="photos that are measured")
    parser.add_argument("--reviewer", choices=("truth", "nobody"), default="truth")
    parser.add_argument("--model", default="nano")
    args = parser.parse_args()
    samples = load_set(args.data)[1]
    shown, fresh = samples[::2][: args.images], samples[1::2][: args.fresh]
    before = anymask.load(args.model)
    project = proposed(before, shown, args.output / "photos")
    review(project, shown, args.reviewer)
    if not project.rounds():
        project.retrain(Tuning(model=args.model))
    print(project.rounds()[-1], flush=True)
    after = anymask.load(project.inside / "rounds" / "1" / "bundle")
    clicks = [measure(model, fresh) for model in (before, after)]
    for name, model, seen in zip(("before", "after"), (before, after), clicks, strict=True):
        found = np.concatenate(
            [best_ious([m.rle for m in model.everything(p.image())], p) for p in fresh]
        )
        right = found[found >= RIGHT]
        print(
            f"{name:7} by clicks {seen.means()}; {len(found)} masks proposed, {len(right)} right, "
            f"whose mean IoU is {right.mean():.3f}",
            flush=True,
        )
    old, new = (by_image(one) for one in clicks)
    print("gain of one click {:+.3f} ({:+.3f} to {:+.3f})".format(*paired_gain(old, new)))


def by_image(seen: Measured) -> np.ndarray:
    """Of each photo the mean IoU by one click."""
    images = np.array([image for image, _ in seen.places])
    return np.array([seen.ious[images == one, 0].mean() for one in np.unique(images)])


def proposed(model: Model, images: Sequence[AnnotatedImage], folder: Path) -> Project:
    """A project of the photos, each with the model's proposals."""
    folder.mkdir(parents=True, exist_ok=True)
    for pixels in images:
        (folder / Path(pixels.source).name).write_bytes(pixels.content())
    project = create_project(folder)
    for image in project.run(model):
        print(image.name, flush=True)
    return project


def review(project: Project, images: Sequence[AnnotatedImage], reviewer: str) -> None:
    """Accept or reject the proposals that are left."""
    truth = {Path(pixels.source).name: pixels for pixels in images}
    accepted = []
    for image in project.images:
        masks = project.masks(image.id, "proposed")
        for mask, iou in zip(
            masks, best_ious([m.rle for m in masks], truth[image.name]), strict=True
        ):
            good = reviewer == "nobody" or iou >= RIGHT
            project.judge(
                asked_about(project.store, mask.id), "accept" if good else "reject", reviewer
            )
            accepted += [iou] if good else []
    if accepted:
        print(f"{len(accepted)} accepted, mean IoU {np.mean(accepted):.3f}", flush=True)


def best_ious(rles: Sequence[Rle], image: AnnotatedImage) -> np.ndarray:
    """Of each mask the IoU with the hidden one that it overlaps most."""
    if not rles or not image.rles:
        return np.zeros(len(rles))
    return rle_iou(list(rles), list(image.rles)).max(axis=1)


if __name__ == "__main__":
    main()
