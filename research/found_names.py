"""How well `find` finds things by one of COCO's names without a detector: a set in, a table out.

    python -m research.found_names ../shared/data/eval/coco_val

For each photo and each of COCO's 80 names: where the name is there, the IoU of the union of what is
found with the union of its masks (0 where nothing is found); where it is not, whether anything is
found. Each threshold of a name's chance is a row; the default is `known_names.THRESHOLD`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import anymask
from anymask.base import FloatArray, parse_json
from anymask.masks import Rle, rle_iou, rle_merge, string_to_rle

THRESHOLDS = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)


class NamedPhoto(NamedTuple):
    """A photo's masks, the chance (n, N) that each has each name, and the truth by name."""

    rles: list[Rle]
    chances: FloatArray
    truth: dict[str, Rle]


def look(model: anymask.Model, folder: Path, names: list[str], limit: int) -> Iterator[NamedPhoto]:
    """Look at the photos of a set once each."""
    lines = (folder / "masks.jsonl").read_text("utf-8").splitlines()
    for line in lines[: limit or None]:
        row = parse_json(line, folder)
        truth: dict[str, list[Rle]] = {}
        for mask in row["masks"]:
            if mask.get("label") in names:
                rle = string_to_rle(mask["rle"], tuple(row["hw"]))
                truth.setdefault(mask["label"], []).append(rle)
        photo = anymask.load_image(folder / row["image"])
        found = model.everything(photo)
        told = model.suggest_labels(photo, found, names=names, top=len(names))
        chances = np.array(
            [[dict(one)[name] for name in names] for one in told], np.float32
        ).reshape(-1, len(names))
        merged = {name: rle_merge(rles) for name, rles in truth.items()}
        yield NamedPhoto([one.rle for one in found], chances, merged)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a set with masks.jsonl")
    parser.add_argument("--names", type=Path, default=Path("../shared/data/text/coco_names.json"))
    parser.add_argument("--limit", type=int, default=0, help="photos (default: all)")
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    names = parse_json(args.names.read_bytes(), args.names)
    photos = [*look(anymask.load(args.model), args.folder, names, args.limit)]
    print(f"{len(photos)} photos, {sum(len(one.truth) for one in photos)} names that are there")
    print("| threshold | IoU of the union, name there | something found, name absent |")
    print("|---|---|---|")
    for threshold in THRESHOLDS:
        there, absent = [], []
        for photo in photos:
            for place, name in enumerate(names):
                chosen = photo.chances[:, place] >= threshold
                hit = [rle for rle, taken in zip(photo.rles, chosen, strict=True) if taken]
                if name not in photo.truth:
                    absent.append(bool(hit))
                elif hit:
                    there.append(float(rle_iou([rle_merge(hit)], [photo.truth[name]])[0, 0]))
                else:
                    there.append(0.0)
        print(f"| {threshold} | {np.mean(there):.3f} | {100 * np.mean(absent):.1f} % |")


if __name__ == "__main__":
    main()
