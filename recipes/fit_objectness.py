"""Learn the table "objectness" of the bundled model: training photos in, its bundle's table out.

    python recipes/fit_objectness.py ../shared/data/train --photos 49

Adaptive mode looks at photos of many sets in turn (`ROUND`), and the facts of each mask that it
finds are kept (`predictors/objectness.py`). A mask is an object where one that people drew overlaps
it with an IoU of `SAME`. In sets that label only some objects of a photo (all but `COMPLETE`), what
touches no labelled object may be one that nobody labelled, and counts for `UNSEEN` of a mask.
Logistic loss; each photo counts as the square root of its masks. The threshold is the one with
which about `KEPT` of the right masks are still shown, on photos that the weights did not learn from
(`FOLDS`).

`--facts FILE` keeps what was found, and goes on from it. `--check` prints recall and precision on
those photos, set by set, before and after.

Letters: n masks, F facts, M masks that people drew.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import anymask
from anymask.data.annotations import AnnotatedImage
from anymask.data.sets import load_set
from anymask.families import DEFAULT_MODEL, SHIPPED
from anymask.predictors.arrangement import ADAPTIVE_NMS, CONTAINED, SURROUNDING
from anymask.predictors.everything import Clock, Scan, search_view
from anymask.predictors.grid import Grid, grid_of
from anymask.predictors.objectness import Objectness, ObjectnessWeights
from anymask.predictors.pipeline import embed_image
from anymask.predictors.screening import CropView
from anymask.primitives.masks import mask_nms
from anymask.primitives.rle import Rle, rle_area, rle_intersection, rle_iou
from anymask.primitives.types import FloatArray, UintImage
from anymask.runtimes.manifest import read_manifest, read_tables, write_tables
from anymask.runtimes.sweep import open_sweep
from anymask.training.proposals import COMPLETE, ROUND, SAME, judge_proposals

Floats = NDArray[np.float64]

TWICE = 0.9  # IoU of masks that are one
SIDE = 16  # clicks along a photo: more photos say more than more clicks
PRICE = 3.0  # of a squared weight
STEPS, FOLDS = 8, 4
LEASTS = np.arange(0, 0.6, 0.05)  # thresholds that are tried: few photos tell no finer ones
KEPT = 0.75  # of the right masks among all found ones


@dataclass(frozen=True, eq=False)
class JudgedPhoto:
    """What was found in one photo.

    facts   (n, F)        ious  (n, M) with the M masks that people drew
    labels  (n,) 1 for an object, else 0        counts  (n,) how much each mask counts
    shared  (n, n) IoU of every two
    inside  (n, n) of every two the share of the smaller one that lies in the other
    covers  (n,) the share of the photo
    truths  M
    """

    name: str
    facts: Floats
    ious: Floats
    labels: Floats
    counts: Floats
    shared: Floats
    inside: Floats
    covers: Floats
    truths: int


class Kept(Objectness):
    """Judges nothing: keeps the facts of each mask, whose place then stands for its chance."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows: list[Floats] = []

    def of_masks(self, logits: FloatArray, quality: FloatArray) -> Floats:
        """The places of their facts."""
        start = len(self.rows)
        self.rows += list(self.facts(logits, quality))
        return np.arange(start, len(self.rows), dtype=np.float64)


def looked_at(model: anymask.Model, photo: UintImage, settings: Grid) -> tuple[list[Rle], Floats]:
    """The masks that adaptive mode finds, each once, and their facts."""
    runtime, spec = model.runtime, model.spec
    seen = embed_image(runtime, photo)
    view = CropView((0, 0, *photo.shape[1::-1]), seen.image_hw, seen.geometry, spec.mask_threshold)
    judge = Kept(seen.geometry, spec.mask_threshold, None)
    sweep = open_sweep(runtime, seen.seen, seen.geometry, settings.sweep_precision)
    clicks = settings.points(0).astype(np.float64) * seen.image_hw[::-1]
    with ThreadPoolExecutor(1) as cutters:
        scan = Scan(sweep, runtime.family, view, settings, seen, cutters, judge=judge)
        records = [one for one in search_view(scan, clicks, Clock()) if one.area]
    once = mask_nms([one.rle for one in records], [one.quality for one in records], TWICE)
    kept = [records[index] for index in once]
    facts = [judge.rows[int(record.objectness or 0)] for record in kept]
    return [record.rle for record in kept], np.array(facts).reshape(len(kept), -1)


def judged(model: anymask.Model, name: str, sample: AnnotatedImage, settings: Grid) -> JudgedPhoto:
    """One photo of a set."""
    rles, facts = looked_at(model, sample.image(), settings)
    ious, counts = judge_proposals(rles, sample, name in COMPLETE)
    found = np.array([rle_area(rle) for rle in rles], np.float64)
    labels = (ious.max(axis=1, initial=0) >= SAME).astype(np.float64)
    shared = rle_iou(rles, rles).astype(np.float64)
    inside = rle_intersection(rles, rles) / np.maximum(np.minimum(found, found[:, None]), 1)
    covers = found / np.prod(sample.hw)
    return JudgedPhoto(name, facts, ious, labels, counts, shared, inside, covers, len(sample.rles))


def photos(folder: Path, count: int, known: list[JudgedPhoto]) -> Iterator[JudgedPhoto]:
    """Photos of the sets in turn, those that are known first, at most `count`."""
    yield from known
    model = anymask.load()
    settings = grid_of(model.runtime.family, {"points_per_side": SIDE})
    orders, done = dict[str, Any](), 0
    for name in ROUND * 1000:
        if name not in orders:
            samples = load_set(folder / name)[1]
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            orders[name] = samples, list(rng.permutation(len(samples)))
        samples, order = orders[name]
        if not order:
            continue
        sample = samples[int(order.pop())]
        done += 1
        if done <= len(known):
            continue
        if done > count:
            return
        yield judged(model, name, sample, settings)


def learn(known: list[JudgedPhoto]) -> ObjectnessWeights:
    """Logistic regression by Newton's method, for facts as they are."""
    facts = np.concatenate([one.facts for one in known])
    labels = np.concatenate([one.labels for one in known])
    counts = np.concatenate([one.counts / max(len(one.counts), 1) ** 0.5 for one in known])
    counts /= counts.mean()
    middle, spread = facts.mean(axis=0), facts.std(axis=0) + 1e-6
    scaled = np.column_stack([(facts - middle) / spread, np.ones(len(facts))])
    price = np.full(scaled.shape[1], PRICE)
    price[-1] = 0  # of the level
    weights = np.zeros(scaled.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-scaled @ weights))
        steep = counts * chance * (1 - chance) + 1e-6
        slope = scaled.T @ (counts * (labels - chance)) - price * weights
        bend = (scaled * steep[:, None]).T @ scaled + np.diag(price + 1e-6)
        weights = weights + np.linalg.solve(bend, slope)
    direct = weights[:-1] / spread
    return ObjectnessWeights(direct, float(weights[-1] - middle @ direct), 0.0)


def shown(one: JudgedPhoto, rank: Floats, least: float) -> list[int]:
    """Which masks would be shown, the best first: as `arrangement.arrange` chooses them."""
    order = np.argsort(-rank, kind="stable")
    good = order[rank[order] >= least]
    objects = set(apart(good[one.covers[good] <= SURROUNDING], one.inside, CONTAINED))
    alone = [index for index in good if one.covers[index] > SURROUNDING or index in objects]
    return apart(alone, one.shared, ADAPTIVE_NMS)


def counted(one: JudgedPhoto, rank: Floats, least: float) -> tuple[int, int]:
    """How many of the masks that would be shown are right, and how many are shown."""
    kept = shown(one, rank, least)
    free = np.ones(one.truths, np.bool_)
    right = 0
    for index in kept:
        fit = np.where(free, one.ious[index], 0.0)
        if fit.max(initial=0) >= SAME:
            free[fit.argmax()] = False
            right += 1
    return right, len(kept)


def apart(order: Iterable[int], overlap: Floats, most: float) -> list[int]:
    """Those that overlap none of their betters by more, the best first; as `mask_nms`."""
    kept: list[int] = []
    for index in order:
        if not kept or overlap[index, kept].max() <= most:
            kept.append(int(index))
    return kept


def held_out(known: list[JudgedPhoto]) -> list[Floats]:
    """Each photo's objectness by weights that did not learn from its fold."""
    ranks: list[Floats] = [np.zeros(0)] * len(known)
    for fold in range(FOLDS):
        weights = learn([one for n, one in enumerate(known) if n % FOLDS != fold])
        for n, one in enumerate(known):
            if n % FOLDS == fold:
                ranks[n] = weights.chances(one.facts) * one.facts[:, 0].clip(0, 1)
    return ranks


def best_least(known: list[JudgedPhoto], ranks: list[Floats]) -> float:
    """The threshold that comes nearest to keeping `KEPT` of the right masks."""
    right = np.array(
        [
            sum(counted(one, rank, least)[0] for one, rank in zip(known, ranks, strict=True))
            for least in LEASTS
        ]
    )
    return float(LEASTS[np.abs(right - KEPT * right[0]).argmin()])


def check(known: list[JudgedPhoto], ranks: list[Floats], least: float) -> None:
    """Print recall and precision of each set, by quality alone and by held-out objectness."""
    for name in sorted({one.name for one in known}):
        some = [n for n, one in enumerate(known) if one.name == name]
        truths = max(sum(known[n].truths for n in some), 1)
        figures: list[float] = []
        for rank, from_ in ((None, 0.0), (ranks, least)):
            rows = [
                counted(known[n], known[n].facts[:, 0] if rank is None else rank[n], from_)
                for n in some
            ]
            right, count = np.sum(rows, axis=0)
            figures += [right / truths, right / max(count, 1)]
        print(name, len(some), *(f"{figure:.3f}" for figure in figures), flush=True)


def saved(path: Path, known: list[JudgedPhoto]) -> None:
    """Write what was found."""
    rows = {
        f"{n} {key}": np.asarray(v) for n, one in enumerate(known) for key, v in vars(one).items()
    }
    np.savez_compressed(path, **rows)


def opened(path: Path) -> list[JudgedPhoto]:
    """Read it again; nothing where there is no file."""
    if not path.is_file():
        return []
    with np.load(path) as rows:
        count = len({key.split()[0] for key in rows})
        names = [one.name for one in fields(JudgedPhoto)]
        photos_ = [{key: rows[f"{n} {key}"] for key in names} for n in range(count)]
    return [
        JudgedPhoto(**(row | {"name": str(row["name"]), "truths": int(row["truths"])}))
        for row in photos_
    ]


def table_of(weights: ObjectnessWeights, least: float) -> dict[str, Any]:
    """The table as the bundle holds it, four digits each."""
    rounded = np.vectorize(lambda number: float(f"{number:.4g}"))
    level = float(f"{weights.level:.4g}")
    return {"direct": rounded(weights.direct).tolist(), "level": level, "least": round(least, 3)}


def main() -> None:
    """Look, learn, choose the threshold, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=49)
    parser.add_argument("--facts", type=Path, help="a file (.npz) that keeps what was found")
    parser.add_argument("--check", action="store_true", help="print what is won on other photos")
    parser.add_argument("--look-only", action="store_true", help="learn nothing yet")
    args = parser.parse_args()
    begun = [] if args.facts is None else opened(args.facts)
    known = list(photos(args.data, args.photos, begun))
    if args.facts is not None:
        saved(args.facts, known)
    print(f"{len(known)} photos, {sum(len(one.labels) for one in known)} masks", flush=True)
    if args.look_only:
        return
    known = [one for one in known if len(one.labels)]
    ranks = held_out(known)
    least = best_least(known, ranks)
    print(f"shown from {least:.2f} on")
    if args.check:
        check(known, ranks, least)
    bundle = SHIPPED / DEFAULT_MODEL
    tables = read_tables(bundle, read_manifest(bundle))
    write_tables(bundle, {**tables, "objectness": table_of(learn(known), least)})


if __name__ == "__main__":
    main()
