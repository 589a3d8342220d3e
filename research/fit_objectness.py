"""Learn the table "objectness" of a bundled model: training photos in, its bundle's table out.

    python -m research.fit_objectness ../shared/data/train --images 2048 --facts facts --check

Adaptive mode looks at photos of many sets in turn (`ROUND` and `OTHERS`) with the low thresholds
`SEARCHED`, and the facts of each mask that it finds are kept
(`segment/everything/filter.py`), one file a photo in the folder `--facts`, so that a stopped search
goes on. `--part 0/2 --look-only` searches every second photo: one process a core.

A mask is an object where one that people drew overlaps it with an IoU of `SAME`. In sets that label
only some objects of a photo (all but `COMPLETE` and `DENSE`), what touches no labelled object may
be one that nobody labelled, and counts for `UNSEEN` of a mask. Two networks learn from them with a
logistic loss, one from the shape and the qualities, one from what the encoder saw as well; each
photo counts as the square root of its masks. The least chance of what is shown is the one with
which about `KEPT` of the right masks are still shown, on photos that the weights did not learn from
(`FOLDS`); that of `small` was then lowered from 0.08 to 0.06, with the rules of
`without_unlikely` (docs/reference/results-automatic.md). `--check` prints recall and precision on
those photos, set by set, before and after.

Letters: n masks, F facts, M masks that people drew.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import anymask
from anymask.base import BoolArray, FloatArray, UintImage
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Rle, mask_nms, rle_area, rle_intersection, rle_iou
from anymask.models.rules import DEFAULT_VIDEO_MODEL, SHIPPED
from anymask.runtime import open_sweep, read_manifest
from anymask.runtime.manifest import read_tables
from anymask.segment import Grid, encode_image, grid_of
from anymask.segment.everything.filter import (
    PART_OBJECTNESS,
    SHAPE_FEATURES,
    Objectness,
    ObjectnessWeights,
)
from anymask.segment.everything.grid import CropView, TanhNetwork
from anymask.segment.everything.search import ProgressCounter, ViewDecoder, search_view
from anymask.segment.settings import ADAPTIVE_NMS, CONTAINED, SURROUNDING
from research.nano.proposals import COMPLETE, ROUND, SAME, judge_proposals
from research.shared import write_tables

Floats = NDArray[np.floating[Any]]

# Thresholds of the search, which the table hands on: quality, stability.
SEARCHED = {"nano": (0.35, 0.1), "small": (0.3, 0.05)}
TWICE = 0.9  # IoU of masks that are one
SIDE = 20  # clicks along a photo: more photos say more than more clicks
CANDIDATES = 3  # of a click
SHAPES = len(SHAPE_FEATURES) + 2 * CANDIDATES  # facts that do not come from the encoder's map
DENSE = ("corridor_b", "mushrooms_dense", "nuts_and_dates", "ore_pellets")  # also label all
OTHERS = (
    *DENSE, "class5_small_objects", "kudzu_bugs", "mandarin_fruit", "peanut_field", "solar_panels",
    "aerial_buildings", "aerial_regions", "building_facade_more", "bottles", "breadboard_parts",
    "caltech_objects", "car_damage_via", "clothing_parts", "fire_trucks", "footpaths",
    "hydroponic_plants", "indian_food", "indonesian_food_plate", "medical_waste", "road_surface",
    "sea_drone_people", "seedling_roots", "strawberry", "tree_limbs",
)  # fmt: skip
HIDDEN, EPOCHS, BATCH, RATE = 32, 40, 2048, 2e-3
DECAY, DROPPED = 1.0, 0.5  # of weights; share of what the encoder saw that a step does not see
FOLDS = 4
LEASTS = np.arange(0.04, 0.4, 0.01)  # thresholds that are tried
KEPT = 0.91  # of the right masks among all found ones


@dataclass(frozen=True, eq=False)
class JudgedImage:
    """What was found in one photo.

    Attributes:
        mask_features: Features (n, F).
        ious: IoU with the M annotated masks (n, M).
        labels: 1 for an object, else 0 (n,).
        counts: Weight of each mask (n,).
        shared: Pairwise IoU (n, n).
        inside: Share of the smaller mask inside the other, pairwise (n, n).
        covers: Share of the image (n,).
        truths: Number of annotated masks M.
    """

    name: str
    mask_features: Floats
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

    def of_masks(
        self, logits: FloatArray, quality: FloatArray, chosen: BoolArray
    ) -> NDArray[np.float64]:
        """The places of their facts."""
        start = len(self.rows)
        self.rows += list(self.mask_features(logits, quality, chosen))
        return np.arange(start, len(self.rows), dtype=np.float64)


def looked_at(model: anymask.Model, image: UintImage, settings: Grid) -> tuple[list[Rle], Floats]:
    """The masks that adaptive mode finds, each once, and their facts."""
    runtime, spec = model.runtime, model.spec
    features = encode_image(runtime, image)
    view = CropView(
        (0, 0, *image.shape[1::-1]), features.image_hw, features.geometry, spec.mask_threshold
    )
    judge = Kept(features.geometry, spec.mask_threshold, features.features, None)
    sweep = open_sweep(
        runtime, features.encoder_output, features.geometry, settings.sweep_precision
    )
    clicks = settings.points(0).astype(np.float64) * features.image_hw[::-1]
    with ThreadPoolExecutor(1) as cutters:
        scan = ViewDecoder(sweep, runtime.family, view, settings, features, cutters, judge=judge)
        records = [one for one in search_view(scan, clicks, ProgressCounter()) if one.area]
    once = mask_nms([one.rle for one in records], [one.score for one in records], TWICE)
    kept = [records[index] for index in once]
    mask_features = [judge.rows[int(record.objectness or 0)] for record in kept]
    return [record.rle for record in kept], np.array(mask_features).reshape(len(kept), -1)


def judged(model: anymask.Model, name: str, sample: AnnotatedImage, settings: Grid) -> JudgedImage:
    """One photo of a set."""
    rles, mask_features = looked_at(model, sample.image(), settings)
    ious, counts = judge_proposals(rles, sample, name in (*COMPLETE, *DENSE))
    found = np.array([rle_area(rle) for rle in rles], np.float64)
    labels = (ious.max(axis=1, initial=0) >= SAME).astype(np.float64)
    shared = rle_iou(rles, rles).astype(np.float64)
    inside = rle_intersection(rles, rles) / np.maximum(np.minimum(found, found[:, None]), 1)
    covers = found / np.prod(sample.hw)
    return JudgedImage(
        name, mask_features, ious, labels, counts, shared, inside, covers, len(sample.rles)
    )


def in_turn(folder: Path, count: int) -> Iterator[tuple[str, AnnotatedImage]]:
    """At most `count` photos, of the sets in turn."""
    orders = dict[str, Any]()
    for name in (ROUND + OTHERS) * 1000:
        if name not in orders:
            samples = load_set(folder / name)[1]
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            orders[name] = samples, list(rng.permutation(len(samples)))
        samples, order = orders[name]
        if not count:
            return
        if order:
            yield name, samples[int(order.pop())]
            count -= 1


def images(
    name: str, folder: Path, count: int, mask_features: Path | None, part: tuple[int, int]
) -> Iterator[JudgedImage]:
    """What a bundled model finds in photos number a, a + b, ... of them, for a part (a, b).

    Args:
        mask_features: Cache folder.
    """
    model = anymask.load(name)
    expected = dict(zip(("score", "stability"), SEARCHED[name], strict=True))
    settings = grid_of(model.runtime.family, {"grid": SIDE, **expected})  # type: ignore[typeddict-item]
    for number, (kind, sample) in enumerate(in_turn(folder, count)):
        if number % part[1] != part[0]:
            continue
        path = None if mask_features is None else mask_features / f"{number:05d}.npz"
        one = None if path is None or not path.is_file() else opened(path)
        if one is None:
            one = judged(model, kind, sample, settings)
            if path is not None:
                saved(path, one)
        yield one


def learn(known: Sequence[JudgedImage]) -> ObjectnessWeights:
    """Two networks, for facts as they are."""
    mask_features = torch.from_numpy(
        np.concatenate([one.mask_features for one in known]).astype(np.float32)
    )
    labels = torch.from_numpy(np.concatenate([one.labels for one in known])).float()
    counts = [one.counts / max(len(one.counts), 1) ** 0.5 for one in known]
    weights = torch.from_numpy(np.concatenate(counts)).float()
    weights /= weights.mean()
    middle, spread = mask_features.mean(0), mask_features.std(0) + 1e-3
    scaled = (mask_features - middle) / spread
    networks = []
    for width in (SHAPES, mask_features.shape[1]):
        network = fit(scaled[:, :width], labels, weights)
        into, bias, out, level = (one.detach().double().numpy() for one in network.parameters())
        into = into.T / spread[:width, None].numpy()
        bias = bias - middle[:width].numpy() @ into
        networks.append(TanhNetwork(into, bias, out[0], float(level[0])))
    return ObjectnessWeights(networks, 0.0)


def fit(
    mask_features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.nn.Sequential:
    """Logistic loss on facts (n, f) of mean 0 and deviation 1."""
    torch.manual_seed(0)
    count, width = mask_features.shape
    network = torch.nn.Sequential(
        torch.nn.Linear(width, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1)
    )
    adam = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-count // BATCH)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(count).split(BATCH):
            part = mask_features[rows]
            seen = torch.nn.functional.dropout(part[:, SHAPES:], DROPPED)
            score = network(torch.cat([part[:, :SHAPES], seen], 1))[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                score, labels[rows], weights[rows]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
            pace.step()
    return network


def shown(one: JudgedImage, rank: Floats, least: float) -> list[int]:
    """Which masks would be shown, the best first: as `arrangement.arrange` chooses them."""
    order = np.argsort(-rank, kind="stable")
    good = order[rank[order] >= least]
    objects = set(apart(good[one.covers[good] <= SURROUNDING], one.inside, CONTAINED, rank))
    alone = [index for index in good if one.covers[index] > SURROUNDING or index in objects]
    return apart(alone, one.shared, ADAPTIVE_NMS)


def counted(one: JudgedImage, rank: Floats, least: float) -> tuple[int, int]:
    """How many of the masks that would be shown are right, and how many are shown."""
    kept = shown(one, rank, least)
    free = np.ones(one.truths, np.bool_)
    right = 0
    for index in kept:
        fit_ = np.where(free, one.ious[index], 0.0)
        if fit_.max(initial=0) >= SAME:
            free[fit_.argmax()] = False
            right += 1
    return right, len(kept)


def apart(
    order: Iterable[int], overlap: Floats, most: float, rank: Floats | None = None
) -> list[int]:
    """Those that overlap none of their betters by more, the best first; as `mask_nms`.

    Args:
        rank: (n,) A mask below `PART_OBJECTNESS` of the better rank is dropped. None: always.
    """
    kept: list[int] = []
    for index in order:
        close = [one for one in kept if overlap[index, one] > most]
        if not any(rank is None or rank[index] < PART_OBJECTNESS * rank[one] for one in close):
            kept.append(int(index))
    return kept


def held_out(known: Sequence[JudgedImage]) -> list[Floats]:
    """Each photo's objectness by weights that did not learn from its fold."""
    ranks: list[Floats] = [np.zeros(0)] * len(known)
    for fold in range(FOLDS):
        weights = learn([one for n, one in enumerate(known) if n % FOLDS != fold])
        for n, one in enumerate(known):
            if n % FOLDS == fold:
                ranks[n] = weights.probabilities(one.mask_features.astype(np.float64))
    return ranks


def check(
    known: Sequence[JudgedImage], before: list[Floats], ranks: list[Floats], least: float
) -> None:
    """Print recall and precision of each set, by the present thresholds and by the new ones."""
    for name in (*sorted({one.name for one in known}), "all"):
        some = [n for n, one in enumerate(known) if name in (one.name, "all")]
        truths = max(sum(known[n].truths for n in some), 1)
        figures: list[float] = []
        for rank, from_ in ((before, 0.01), (ranks, least)):
            right, count = np.sum([counted(known[n], rank[n], from_) for n in some], axis=0)
            figures += [right / truths, right / max(count, 1)]
        print(name, len(some), *(f"{figure:.3f}" for figure in figures), flush=True)


def saved(path: Path, one: JudgedImage) -> None:
    """Write what was found; facts in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {key: np.asarray(value) for key, value in vars(one).items()}
    narrow = {key: v.astype(np.float16) if v.ndim > 1 else v for key, v in rows.items()}
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **narrow)  # type: ignore[arg-type]
    partial.replace(path)


def opened(path: Path) -> JudgedImage:
    """Read it again."""
    with np.load(path) as rows:
        row = {one.name: rows[one.name] for one in fields(JudgedImage)}
    return JudgedImage(**(row | {"name": str(row["name"]), "truths": int(row["truths"])}))


def table_of(
    name: str, weights: ObjectnessWeights, least: float, weights_hash: str
) -> dict[str, Any]:
    """The table as the bundle holds it, four digits each."""
    rounded = np.vectorize(lambda number: float(f"{number:.4g}"))
    networks = [
        {key: rounded(value).tolist() for key, value in vars(one).items()}
        for one in weights.networks
    ]
    grid = dict(zip(("quality", "stability"), SEARCHED[name], strict=True))
    return {"weights": weights_hash, "least": round(least, 3), **grid, "networks": networks}


def main() -> None:
    """Look, learn, choose the threshold, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=SEARCHED, default=DEFAULT_VIDEO_MODEL)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--facts", type=Path, help="a folder that keeps what was found")
    parser.add_argument("--part", default="0/1", help="0/2: every second photo")
    parser.add_argument("--check", action="store_true", help="print what is won on other photos")
    parser.add_argument("--look-only", action="store_true", help="learn nothing yet")
    args = parser.parse_args()
    first, step = (int(number) for number in args.part.split("/"))
    known = list(images(args.model, args.data, args.images, args.mask_features, (first, step)))
    print(f"{len(known)} photos, {sum(len(one.labels) for one in known)} masks", flush=True)
    if args.look_only:
        return
    known = [one for one in known if len(one.labels)]
    ranks = held_out(known)
    # The threshold that comes nearest to keeping `KEPT` of the right masks.
    right = np.array(
        [
            sum(counted(one, rank, least)[0] for one, rank in zip(known, ranks, strict=True))
            for least in LEASTS
        ]
    )
    least = float(LEASTS[np.abs(right - KEPT * right.max()).argmin()])
    print(f"shown from {least:.2f} on")
    if args.check:
        # Of each mask its quality; 0 below what the model's family shows by itself.
        grid = anymask.load(args.model).runtime.family.grid
        lowest = grid.score, grid.stability
        kept = [
            (one.mask_features[:, 0] > lowest[0]) & (one.mask_features[:, 1] >= lowest[1])
            for one in known
        ]
        mask_features = zip(known, kept, strict=True)
        before = [np.where(shown, one.mask_features[:, 0], 0) for one, shown in mask_features]
        check(known, before, ranks, least)
    bundle = SHIPPED / args.model
    manifest = read_manifest(bundle)
    table = table_of(args.model, learn(known), least, manifest.weights_hash)
    write_tables(bundle, {**read_tables(bundle, manifest), "objectness": table})


if __name__ == "__main__":
    main()
