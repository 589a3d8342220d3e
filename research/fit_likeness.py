"""Fit what `find(like=)` thinks of masks: `python -m research.fit_likeness collect|fit|threshold`.

collect  facts of masks on pairs of training photos, one line of JSON a photo: an example (a photo's
         largest mask of a label), a photo of the same label, and one without it
fit      those lines in; the three tables of weights of `find.examples` out, and what each threshold
         does; those of photos are fitted on chances that come from weights that did not see them
threshold  lines of pairs that were not fitted on in; what each threshold does with the weights that
         ship
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import anymask
from anymask.base import parse_json
from anymask.find.examples import (
    IMAGE_WEIGHTS,
    MAX_COMPARED,
    Example,
    alike_scores,
    chance_of,
    compare,
    learn_kinds,
    logit,
)
from anymask.find.likeness import LIKENESS_FACTS, NAMED
from anymask.masks import Rle, rle_iou, rle_to_mask, string_to_rle

SETS = (
    "coco_instances", "coco_more", "dog_cat", "coco_instances", "fruit3", "coco_more",
    "kitchen_things", "coco_instances", "coco_more", "caltech_animals", "coco_instances", "pets",
    "coco_more", "taco_litter", "coco_instances", "indonesian_food_plate", "coco_more",
    "coco_instances", "mushrooms_dense", "strawberry", "coco_more", "coco_instances", "ore_pellets",
    "pigs", "breadboard_parts", "coco_instances", "nuts_and_dates", "kudzu_bugs",
)  # fmt: skip
NONE = "thing"  # the label where a set has none
SAME = 0.5  # IoU from which on a mask is the thing
SMALLEST = 0.002  # of the photo: an example's mask
RATE, STEPS, DECAY = 0.05, 3000, 1e-3  # of the fit
EVERY = 10**6  # masks that are compared: all
FOLDS = 5  # parts of the pairs; the chances of each are told by the others
THRESHOLDS = tuple(n / 20 for n in range(4, 19))
RIGHT = 0.85  # of the photos without the thing: where nothing is to be found


def read_set(folder: Path) -> list[tuple[Path, dict[str, list[Rle]]]]:
    """The photos of a set with their masks by label."""
    found = []
    for line in (folder / "masks.jsonl").read_text("utf-8").splitlines():
        row = parse_json(line, folder)
        masks: dict[str, list[Rle]] = {}
        for one in row["masks"]:
            rle = string_to_rle(one["rle"], tuple(row["hw"]))
            masks.setdefault(one.get("label") or NONE, []).append(rle)
        found.append((folder / row["image"], masks))
    return found


def pairs(data: Path, seed: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """Without end: set and label, and (photo, masks) with the example, with and without it."""
    rng = np.random.default_rng(seed)
    sets = {name: read_set(data / name) for name in dict.fromkeys(SETS)}
    while True:
        for name in SETS:
            images = sets[name]
            labels = sorted({label for _, masks in images for label in masks})
            label = labels[rng.integers(len(labels))]
            there = [one for one in images if label in one[1]]
            if len(there) < 2:
                continue
            first, second = (there[n] for n in rng.permutation(len(there))[:2])
            others = [one for one in images if label not in one[1]]
            if not others or not name.startswith("coco"):
                other = [each for each in sets if each not in (name, "coco_more")]
                others = sets[other[rng.integers(len(other))]]
            yield f"{name}/{label}", first, second, others[rng.integers(len(others))]


def collect(data: Path, out: Path, seed: int, limit: int, name: str | None) -> None:
    """Write the facts of so many pairs; what is there already is gone on with."""
    model = anymask.load(name)
    with out.open("a") as file:
        for number, (kind, first, second, other) in enumerate(pairs(data, seed)):
            if number == limit:
                return
            label = kind.partition("/")[2]
            image, rle = anymask.load_image(first[0]), max(first[1][label], key=_area)
            if _area(rle) < SMALLEST * image.shape[0] * image.shape[1]:
                continue
            expected = learn_kinds(model, [Example(image, rle_to_mask(rle))])
            for there, (path, masks) in ((True, second), (False, other)):
                seen = compare(model, anymask.load_image(path), expected, EVERY)
                truth = masks[label] if there else []
                fits = rle_iou([one.rle for one in seen.masks], truth)
                best = fits.max(1) if truth and len(fits) else np.zeros(len(seen.masks))
                row = {"kind": kind, "there": there, "things": len(truth), "scene": seen.scene}
                row |= {"facts": np.round(seen.facts, 4).tolist(), "fits": best.tolist()}
                file.write(json.dumps(row) + "\n")
                file.flush()


def _area(rle: Rle) -> int:
    return int(rle_to_mask(rle).sum())


def fit(files: list[Path]) -> None:
    """Print weights and what thresholds do."""
    rows = read_rows(files)
    cheap = fit_masks([row | {"facts": facts_of(row)[:, NAMED:].tolist()} for row in rows])
    for row in rows:  # as `find` does: the promising ones
        logits = facts_of(row)[:, NAMED:] @ cheap[:-1]
        kept = np.argsort(-logits, kind="stable")[:MAX_COMPARED]
        row.update(facts=facts_of(row)[kept].tolist(), fits=[row["fits"][n] for n in kept])
    print("CHEAP_WEIGHTS", cheap.round(3).tolist())
    print("WEIGHTS", fit_masks(rows).round(3).tolist())
    fold_of = np.arange(len(rows)) // 2 % FOLDS
    chances: list[NDArray[Any]] = [np.zeros(0)] * len(rows)
    for fold in range(FOLDS):
        weights = fit_masks([row for row, n in zip(rows, fold_of, strict=True) if n != fold])
        for place in np.flatnonzero(fold_of == fold):
            chances[place] = chance_of(facts_of(rows[place]), weights.tolist())
    best = [logit(float(one.max(initial=0))) for one in chances]
    images = np.array([[one, row["scene"]] for one, row in zip(best, rows, strict=True)])
    there = np.array([row["there"] for row in rows]).astype(float)
    of_image = logistic(images, there, np.ones(len(rows))).round(3).tolist()
    print("PHOTO_WEIGHTS", of_image)
    right = tell_thresholds(rows, chances, of_image)
    print("the least that is right:", next((one for one, own in right if own >= RIGHT), None))


def read_rows(files: list[Path]) -> list[dict[str, Any]]:
    """What `collect` wrote: a photo with the thing, then one without it, and so on."""
    return [parse_json(line, file) for file in files for line in file.read_text().splitlines()]


def facts_of(row: dict[str, Any]) -> NDArray[np.float32]:  # -> (n, len(FACTS))
    """Of the masks of a photo."""
    return np.array(row["facts"], np.float32).reshape(-1, len(LIKENESS_FACTS))


def fit_masks(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:  # -> (F + 1,)
    """Weights of masks; each photo counts alike, whatever its number of masks."""
    rows = [row for row in rows if row["facts"]]
    facts = np.concatenate([np.array(row["facts"], np.float64) for row in rows])
    right = np.concatenate([np.array(row["fits"]) >= SAME for row in rows]).astype(float)
    counts = np.concatenate([np.full(len(row["facts"]), 1 / len(row["facts"])) for row in rows])
    return logistic(facts, right, counts)


def tell_thresholds(
    rows: list[dict[str, Any]],
    chances: Sequence[NDArray[Any]],
    of_image: Sequence[float] = IMAGE_WEIGHTS,
) -> list[tuple[float, float]]:
    """Print what each threshold does; how often each is right where the thing is not.

    Args:
        chances: Probabilities of the masks of each row (n,).
        of_image: Weights of the image's features, see `IMAGE_WEIGHTS`.
    """
    there = np.array([row["there"] for row in rows])
    print(f"{there.sum()} photos with, {(~there).sum()} without")
    scores = [
        alike_scores(one.astype(np.float32), row["scene"], of_image)
        for one, row in zip(chances, rows, strict=True)
    ]
    shares = []
    for threshold in THRESHOLDS:
        found = np.array([bool((one >= threshold).any()) for one in scores])
        hits = [
            bool(((one >= threshold) & (np.array(row["fits"]) >= SAME)).any())
            for one, row in zip(scores, rows, strict=True)
        ]
        shares.append((threshold, float(1 - found[~there].mean())))
        print(
            f"{threshold:.2f} found where it is {found[there].mean():.3f}, rightly "
            f"{np.array(hits)[there].mean():.3f}, not here {shares[-1][1]:.3f}"
        )
    return shares


def logistic(
    facts: NDArray[np.float64], right: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:  # (n, F), (n,), (n,) -> (F + 1,)
    """Weights of a logistic regression, the constant last, by gradient descent (Adam)."""
    mean, spread = facts.mean(0), facts.std(0) + 1e-6
    plain = np.concatenate([(facts - mean) / spread, np.ones((len(facts), 1))], 1)
    weights, first, second = (np.zeros(plain.shape[1]) for _ in range(3))
    for step in range(1, STEPS + 1):
        chance = 1 / (1 + np.exp(-plain @ weights))
        slope = plain.T @ ((chance - right) * counts) / counts.sum() + DECAY * weights
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        rate = RATE / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights -= rate * first / (1 - 0.9**step)
    own = weights[:-1] / spread
    return np.append(own, weights[-1] - own @ mean)


def main() -> None:
    """Collect, fit or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("collect", "fit", "threshold"))
    parser.add_argument("files", type=Path, nargs="+", help="lines of facts; to collect, one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/train"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=100, help="pairs")
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    if args.what == "fit":
        fit(args.files)
    elif args.what == "threshold":
        # Print what thresholds do with the weights that ship.
        rows = read_rows(args.files)
        tell_thresholds(rows, [chance_of(facts_of(row)) for row in rows])
    else:
        collect(args.data, args.files[0], args.seed, args.limit, args.model)


if __name__ == "__main__":
    main()
