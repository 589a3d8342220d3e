"""How many labels do I need? Labelled photos in, a table by their number out.

    python research/how_many_labels.py --train nuclei_train --test nuclei_test -o out/labels \
        [--counts 5 10 50] [--model nano] [--method full] [--samples N] [--no-unet]

For each number, the first photos of the training set (in an order that depends on their content
alone) are all that `anymask finetune` gets: it holds some of them out, and chooses by those.
The model before and the tuned one then answer the test set, which neither has seen: mean IoU by
one, two and three clicks. Beside it a small U-Net (`small_unet.py`) learns from all of the same
photos for as many minutes; its object under the first click is compared with the same masks.
Every row is kept as JSON, so that a run that was cut goes on. Sets are folders with masks.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from small_unet import learn, objects_of

import anymask
from anymask.evaluation import TruthMask
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import center_click, iou, rle_to_string
from anymask.training.held_out import measure, prompted_masks, subsample

UNET_STEPS = 4_000
TEST_IMAGES = 100


def main() -> None:
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 50])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--method", default="full")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--no-unet", action="store_true")
    args = parser.parse_args()
    images = sorted(load_set(args.train)[1], key=lambda one: hashlib.sha256(one.content()).digest())
    rows = [row_of(count, images[:count], args) for count in args.counts]
    print(table(rows))


def row_of(count: int, images: list[AnnotatedImage], args: argparse.Namespace) -> dict[str, object]:
    """One row of the table, from its file where it is there already."""
    path = args.output / f"{count}.json"
    if not path.is_file():
        subset = args.output / f"photos-{count}"
        write_subset(images, subset)
        weights, minutes = tuned(subset, args.output / f"run-{count}", args)
        test = subsample(load_set(args.test)[1], TEST_IMAGES)
        before, after = (measure(anymask.load(one), test) for one in (args.model, str(weights)))
        row = {"photos": count, "masks": sum(len(p.rles) for p in images), "minutes": minutes}
        row |= {"before": before.means(), "after": after.means(), "unet": None}
        if not args.no_unet:
            net = learn(images, 60 * max(minutes, 0.1), UNET_STEPS, seed=1)
            pairs = zip(test, prompted_masks(test), strict=True)
            found = [score for one, truths in pairs for score in scores(net, one, truths)]
            row["unet"] = round(float(np.mean(found)), 4)
        path.write_text(json.dumps(row) + "\n")
    return dict(json.loads(path.read_text()))


def write_subset(images: list[AnnotatedImage], folder: Path) -> None:
    """A set of copies of some photos of another one."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for image in images:
        assert isinstance(image.source, Path)
        copy = folder / "images" / image.source.name
        shutil.copyfile(image.source, copy)
        masks = [{"rle": rle_to_string(rle)} for rle in image.rles]
        lines.append(json.dumps({"image": f"images/{copy.name}", "hw": image.hw, "masks": masks}))
    (folder / "masks.jsonl").write_text("\n".join(lines) + "\n")


def tuned(data: Path, run: Path, args: argparse.Namespace) -> tuple[Path, float]:
    """The weights of one fine-tuning, and its minutes with all that belongs to it."""
    command = [
        sys.executable, "-m", "anymask", "finetune", "--data", str(data),
        "--model", args.model, "--method", args.method, "-o", str(run),
    ]  # fmt: skip
    if args.samples is not None:
        command += ["--samples", str(args.samples)]
    began = time.monotonic()
    subprocess.run(command, check=True)
    return run / "weights.safetensors", round((time.monotonic() - began) / 60, 1)


def scores(net: object, image: AnnotatedImage, truths: list[TruthMask]) -> list[float]:
    """IoU of the U-Net's object under the click in the middle of each measured mask."""
    objects = objects_of(net, image.image())  # type: ignore[arg-type]
    found = []
    for truth in (one.mask for one in truths):
        x, y = (int(value) for value in center_click(truth)[:2])
        number = objects[y, x]
        found.append(iou(objects == number, truth) if number else 0.0)
    return found


def table(rows: list[dict[str, object]]) -> str:
    """Markdown."""
    lines = [
        "| photos | masks | 1 click before | 1 click after | 3 clicks before | 3 clicks after "
        "| U-Net | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        before, after = row["before"], row["after"]
        assert isinstance(before, list)
        assert isinstance(after, list)
        unet = "" if row["unet"] is None else f"{row['unet']:.3f}"
        lines.append(
            f"| {row['photos']} | {row['masks']} | {before[0]:.3f} | {after[0]:.3f} | "
            f"{before[2]:.3f} | {after[2]:.3f} | {unet} | {row['minutes']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
