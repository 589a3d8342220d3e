"""Fit the scores of text prompts without a detector: a labelled set in, `known_names.WEIGHTS` out.

    python -m research.fit_words collect ../shared/data/train/coco_instances facts.npz --limit 48
    python -m research.fit_words fit facts.npz

collect  facts of the candidates of images that `frozen_features` holds out, so that the network of
         names has not learned from them: for each mask and each name of COCO both probabilities of
         the name, the objectness, and whether an object of that name has an IoU of .5 with it
fit      a logistic regression on them; parts, unions, background and other objects are its other
         class. Names that are not in the image count less, as do masks on unlabeled pixels.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np

import anymask
from anymask.base import BoolArray, Floats, parse_json
from anymask.find import CandidateMasks
from anymask.find.known_names import POSSIBLE, word_facts
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import rle_area, rle_intersection, rle_iou, rle_merge
from research.audit.self_test import solve_logistic
from research.frozen_features import HELD_OUT

RIGHT = 0.5  # IoU
ABSENT, UNLABELED = 0.25, 0.5  # weights
STEPS, RIDGE = 50, 1.0


def facts_of(model: anymask.Model, sample: AnnotatedImage, names: list[str]) -> Floats:
    """(n, 5): those of `word_facts`, whether it is right, weight."""
    candidates = CandidateMasks.of(model, sample.image())
    rles = [one.rle for one in candidates.records]
    chances, alone = candidates.probabilities(names)
    facts = word_facts(chances, alone, candidates.objectness())
    labeled = rle_intersection(rles, [rle_merge([one.rle for one in sample.objects])])[:, 0]
    weight = np.where(2 * labeled < [rle_area(rle) for rle in rles], UNLABELED, 1.0)
    rows = []
    for place, name in enumerate(names):
        truths = [one.rle for one in sample.objects if one.label == name]
        right = rle_iou(rles, truths).max(1) >= RIGHT if truths else np.zeros(len(rles), np.bool_)
        share = np.where(right, 1.0, weight) * (1.0 if truths else ABSENT)
        columns = np.concatenate([facts[:, place], right[:, None], share[:, None]], axis=1)
        rows.append(columns[chances[:, place] >= POSSIBLE])
    return np.concatenate(rows)


def collect(folder: Path, out: Path, names: list[str], limit: int, name: str | None) -> None:
    """Write the facts of so many images."""
    model, rows = anymask.load(name), []
    for sample in load_set(folder)[1]:
        held_out = zlib.crc32(f"{folder.name}/{sample.file_name}".encode()) % HELD_OUT == 0
        if held_out and len(rows) < limit and sample.objects:
            rows.append(facts_of(model, sample, names))
            print(sample.file_name, len(rows[-1]), flush=True)
    np.savez(out, facts=np.concatenate(rows))


def fit(facts: Floats, right: BoolArray, weight: Floats) -> Floats:  # (n, F) -> (F + 1,)
    """The weights of a logistic regression; the last one is the constant."""
    given = np.hstack([facts, np.ones((len(facts), 1))])
    ridge = RIDGE * np.diag([1.0] * facts.shape[1] + [0.0])
    return solve_logistic(given, right, weight, ridge, STEPS)


def main() -> None:
    """Collect or fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("collect", "fit"))
    parser.add_argument("files", type=Path, nargs="+", help="collect: SET FACTS; fit: FACTS")
    parser.add_argument("--names", type=Path, default=Path("../shared/data/text/coco_names.json"))
    parser.add_argument("--limit", type=int, default=48, help="images")
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    if args.action == "collect":
        folder, out = args.files
        names = parse_json(args.names.read_bytes(), args.names)
        collect(folder, out, names, args.limit, args.model)
        return
    with np.load(args.files[0], allow_pickle=False) as arrays:
        facts = arrays["facts"]
    print("WEIGHTS", fit(facts[:, :3], facts[:, 3] > 0, facts[:, 4]).round(3).tolist())


if __name__ == "__main__":
    main()
