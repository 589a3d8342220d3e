"""Fits and measures the probe with which main subjects are found (`anymask.edit.subject`).

    python -m research.subject fit --data ../shared/data --features /tmp/subject [--least 0.22]
    python -m research.subject measure --data ../shared/data --features /tmp/subject [--model nano]

`fit` learns from photos of `train/` that show one thing (its mask is the target) and from photos
of places and surfaces (nothing is), never from `eval/`, and writes `assets/small/subject.json`
(`--model nano`: that of the JavaScript package).
`measure` takes all photos of `eval/berkeley` and `eval/grabcut` with one object, and photos without
a subject: the mean IoU of what is found without a prompt (nothing found counts 0), the same where
every photo gets its best candidate, and how many photos "have no clear subject". Features are
kept in a folder: seeing the photos takes most of the time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import anymask
from anymask.base import BoolArray, FloatArray, InputError
from anymask.edit.subject import (
    SUBJECT_MODEL,
    SubjectProbe,
    best_candidate,
    cell_numbers,
    probe_file,
    shipped_probe,
    subject_map,
)
from anymask.masks import Features, coco_to_rle, rle_to_mask
from anymask.segment import Model

SUBJECTS = {
    "caltech_animals": 50, "caltech_objects": 60, "pets": 30, "coco_person": 40, "dog_cat": 20,
    "fire_trucks": 15, "coco_instances": 60, "bottles": 10,
}  # fmt: skip
PLACES = {
    "footpaths": 10, "road_surface": 10, "building_facade": 12, "signs_and_lanes": 12,
    "street_building": 12, "corridor_a": 6, "aerial_regions": 10, "aerial_buildings": 6,
    "peanut_field": 6,
}  # fmt: skip
MEASURED = ("berkeley", "grabcut")
WITHOUT = ("camvid_driving", "neu_steel_defects", "crackforest_road_cracks")
SMALLEST = 0.03  # of the photo: smaller things are no subject to learn from
CELLS = 200  # of a photo that are learned from
PENALTY, STEPS = 100.0, 4  # of the weights' squares; of Newton's method


class Example:
    """A photo, its one mask or None, and the pixels that do not count."""

    def __init__(self, folder: Path, row: dict) -> None:  # type: ignore[type-arg]
        self.image, self.set = folder / row["image"], folder.name
        hw = tuple(row["hw"])
        masks = [_mask(one["rle"], hw) for one in row["masks"]] if len(row["masks"]) == 1 else []
        self.mask: BoolArray | None = masks[0] if masks else None
        ignored = row.get("ignore_rle")
        self.counts = ~_mask(ignored, hw) if ignored else np.ones(hw, bool)

    def kept(self, folder: Path) -> Path:
        """Where its features lie."""
        return folder / f"{self.set}__{self.image.stem}.npz"

    def features(self, model: Model, kept: Path) -> Features:
        """Of the photo, from the folder where they are there."""
        path = self.kept(kept)
        if not path.exists():
            model.encode(self.image).save(path)
        return Features.load(path)

    def iou(self, mask: BoolArray) -> float:
        """With the truth, where pixels count."""
        assert self.mask is not None
        one, other = mask & self.counts, self.mask & self.counts
        return float((one & other).sum() / max((one | other).sum(), 1))


def _mask(rle: object, hw: tuple[int, int]) -> BoolArray:
    whole = {"size": list(hw), "counts": rle} if isinstance(rle, str) else rle
    return rle_to_mask(coco_to_rle(whole))  # type: ignore[arg-type]


def examples(
    root: Path, counts: dict[str, int | None], kept: Path, *, subjects: bool
) -> Iterator[Example]:
    """So many photos of each set, drawn, those with kept features first; None: all of them.

    Args:
        subjects: Images with exactly one mask of sufficient size.
    """
    random = np.random.default_rng(0)
    for name, count in counts.items():
        rows = [json.loads(line) for line in (root / name / "masks.jsonl").open()]
        if subjects:
            rows = [r for r in rows if len(r["masks"]) == 1]
            hashes = [hash((root / name / r["image"]).read_bytes()) for r in rows]
            rows = [r for r, one in zip(rows, hashes, strict=True) if hashes.count(one) == 1]
        if subjects and count is not None:
            rows = [r for r in rows if r["masks"][0]["area"] > SMALLEST * r["hw"][0] * r["hw"][1]]
        drawn = [Example(root / name, rows[place]) for place in random.permutation(len(rows))]
        yield from sorted(drawn, key=lambda one: not one.kept(kept).exists())[:count]


def fit(model: Model, data: Path, kept: Path, least: float) -> SubjectProbe:
    """Logistic regression on cells, by Newton's method."""
    random, numbers, targets = np.random.default_rng(0), [], []
    train = data / "train"
    drawn = [(SUBJECTS, True), (PLACES, False)]
    for counts, subjects in drawn:
        for one in examples(train, dict(counts), kept, subjects=subjects):
            cells = cell_numbers(one.features(model, kept))
            size = (cells.shape[1], cells.shape[0])
            shown = one.mask.astype(np.float32) if subjects and one.mask is not None else None
            expected = (
                np.zeros(size[::-1], np.float32)
                if shown is None
                else cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
            )
            some = random.permutation(expected.size)[:CELLS]
            numbers.append(cells.reshape(expected.size, -1)[some])
            targets.append(expected.ravel()[some])
    rows, expected = np.concatenate(numbers), np.concatenate(targets)
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    plain = np.column_stack([(rows - mean) / spread, np.ones(len(rows), np.float32)])
    weights = _logistic(plain.astype(np.float32), expected)
    scaled = weights[:-1] / spread
    return SubjectProbe(
        model.runtime.weights_hash, scaled, float(weights[-1] - (scaled * mean).sum()), least
    )


def _logistic(rows: FloatArray, expected: FloatArray) -> FloatArray:  # (n, D), (n,) -> (D,)
    weights = np.zeros(rows.shape[1], np.float32)
    ridge = PENALTY * np.eye(len(weights), dtype=np.float32)
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (likely - expected) + PENALTY * weights
        scaled = rows * np.sqrt(np.maximum(likely * (1 - likely), 1e-3))[:, None]
        weights = weights - np.linalg.solve(scaled.T @ scaled + ridge, slope)
    return weights


def measure(model: Model, probe: SubjectProbe, data: Path, kept: Path) -> None:
    """Print the figures, a line a set."""
    for name in MEASURED:
        found, forced = [], []
        for one in examples(data / "eval", {name: None}, kept, subjects=True):
            score, iou = _answer(model, probe, one, kept)
            forced.append(iou)
            found.append(iou if score >= probe.least else 0.0)
        share = np.mean([value > 0 for value in found])
        print(
            f"{name}: {len(found)} photos, mean IoU {np.mean(found):.3f} ({np.mean(forced):.3f} "
            f"where none is refused), {100 * share:.0f} % have a clear subject"
        )
    for name in WITHOUT:
        scores = [
            _answer(model, probe, one, kept)[0]
            for one in examples(data / "eval", {name: 12}, kept, subjects=False)
        ]
        none = np.mean([score < probe.least for score in scores])
        print(f"{name}: {len(scores)} photos, {100 * none:.0f} % without a clear subject")


def _answer(model: Model, probe: SubjectProbe, one: Example, kept: Path) -> tuple[float, float]:
    """Agreement of the best candidate, and its IoU; 0 where there is none."""
    features = one.features(model, kept)
    best = best_candidate(model, features, subject_map(features, probe))
    if best is None:
        return 0.0, 0.0
    return best.score, one.iou(best.mask) if one.mask is not None else 0.0


def main() -> None:
    """Fit or measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("fit", "measure"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--least", type=float, default=0.22)
    parser.add_argument("--model", choices=("small", "nano"), default=SUBJECT_MODEL)
    args = parser.parse_args()
    args.features.mkdir(parents=True, exist_ok=True)
    model = anymask.load(args.model)
    if args.what == "measure":
        measure(model, shipped_probe(args.model), args.data, args.features)
        return
    if not (args.data / "train").is_dir():
        raise InputError(f"{args.data} has no train/; name the folder of the sets")
    probe = fit(model, args.data, args.features, args.least)
    table = {
        "weights_hash": probe.weights_hash,
        "weights": [float(f"{value:.4g}") for value in probe.weights],
        "offset": round(probe.offset, 4),
        "least": probe.least,
    }
    path = probe_file(args.model)
    path.write_text(json.dumps(table) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
