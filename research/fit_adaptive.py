"""Learn the table "adaptive" of the bundled model: training photos in, its bundle's table out.

    python research/fit_adaptive.py ../shared/data/train --images 75

`segment/everything/grid.py` asks some clicks of a grid and chooses the next ones by a small network
(`segment/everything/grid.py`). Here every click of each photo is answered once, which says what
each of them finds. Then adaptive mode is played with the weights so far, and at each of its states
the network learns which of the clicks that are left find a mask of exact mode's that is still
missing: logistic loss, the clicks of a photo counting for `PER_IMAGE` of them at most. After each
round the new weights lead to new states. It needs the extra `torch`; two minutes
a photo on one core.

`--check` prints, for photos that were left out, the share of exact mode's masks that adaptive mode
finds with the old and with the new weights.

Letters: N clicks, F facts, H hidden units.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import anymask
from anymask.base import FloatArray, UintImage
from anymask.formats import load_set
from anymask.masks import mask_nms, rle_iou
from anymask.models.rules import SHIPPED
from anymask.runtime import open_sweep, read_manifest
from anymask.runtime.manifest import read_tables
from anymask.segment import Grid, encode_image, grid_of
from anymask.segment.everything.filter import good_enough, make_record
from anymask.segment.everything.grid import CropView, Frontier, TanhNetwork, adaptive_table
from anymask.segment.everything.search import grid_prompts
from research.shared import write_tables

Floats = NDArray[np.float64]

HIDDEN, ROUNDS, STEPS, RATE, DECAY = 4, 3, 1500, 0.02, 1e-4
PER_IMAGE = 200.0  # clicks that one photo counts for
SAME = 0.8  # IoU from which a click's mask is one of exact mode's
BATCH = 64


@dataclass(frozen=True, eq=False)
class Answered:
    """One photo, of which every click was answered.

    Attributes:
        clicks: Clicks (N, 2) in pixels.
        maps: Feature maps of the encoder.
        planes: Candidates of each click: logits (m, m) and predicted IoU.
        finds: Which of the M masks of exact mode each click finds (N, M).
    """

    clicks: Floats
    view: CropView
    maps: list[FloatArray]
    planes: list[list[tuple[FloatArray, float]]]
    finds: NDArray[np.bool_]


def answer_all(model: anymask.Model, image: UintImage, settings: Grid) -> Answered:
    """Ask every click of a grid."""
    runtime = model.runtime
    features = encode_image(runtime, image)
    view = CropView(
        (0, 0, *image.shape[1::-1]),
        features.image_hw,
        features.geometry,
        runtime.spec.mask_threshold,
    )
    clicks = settings.points(0).astype(np.float64) * features.image_hw[::-1]
    sweep = open_sweep(runtime, features.encoder_output, features.geometry)
    expected = Frontier(clicks, view, settings, shipped(model))
    planes: list[list[tuple[FloatArray, float]]] = []
    records, owners = [], []
    for start in range(0, len(clicks), BATCH):
        part = clicks[start : start + BATCH]
        decoded = sweep.decode(grid_prompts(part, features.geometry, runtime.spec))
        good = good_enough(decoded.quality, settings)
        looked = good | expected.is_observable(decoded.quality)
        rows: list[list[tuple[FloatArray, float]]] = [[] for _ in part]
        for (row, mask), plane in zip(np.argwhere(looked), decoded.logits(looked), strict=True):
            quality = float(decoded.quality[row, mask])
            rows[row].append((plane.copy(), quality))
            if good[row, mask]:
                made = make_record(plane, quality, part[row], view, settings)
                records += made
                owners += [start + int(row)] * len(made)
        planes += rows
    kept = mask_nms([r.rle for r in records], [r.score for r in records], settings.box_nms_thresh)
    finds = np.zeros((len(clicks), len(kept)), np.bool_)
    if len(kept):
        shared = rle_iou([r.rle for r in records], [records[index].rle for index in kept]) >= SAME
        for owner, row in zip(owners, shared, strict=True):
            finds[owner] |= row
    maps = [one.values for one in features.maps]
    return Answered(clicks, view, maps, planes, finds)


def shipped(model: anymask.Model) -> TanhNetwork:
    """The weights that the model has now."""
    return TanhNetwork.of(adaptive_table(model.runtime.family))


def play(
    image: Answered, settings: Grid, weights: TanhNetwork
) -> Iterator[tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Adaptive mode on one photo: at each state the facts (N, F), which clicks are left, and which
    of them find something that is missing. The last state is followed by nothing."""
    frontier = Frontier(image.clicks, image.view, settings, weights, image.maps)
    missing = np.ones(image.finds.shape[1], np.bool_)
    left = np.ones(len(image.clicks), np.bool_)
    while len(chosen := frontier.next()):
        if not left.all():
            yield frontier.mask_features(), left.copy(), image.finds[:, missing].any(axis=1)
        left[chosen] = False
        for click in chosen.tolist():
            missing &= ~image.finds[click]
            for plane, quality in image.planes[click]:
                frontier.learn(frontier.observe(plane, quality, image.clicks[click]))


def share_found(image: Answered, settings: Grid, weights: TanhNetwork) -> float:
    """The part of exact mode's masks that adaptive mode finds; 1 where there are none."""
    frontier = Frontier(image.clicks, image.view, settings, weights, image.maps)
    found = np.zeros(image.finds.shape[1], np.bool_)
    while len(chosen := frontier.next()):
        for click in chosen.tolist():
            found |= image.finds[click]
            for plane, quality in image.planes[click]:
                frontier.learn(frontier.observe(plane, quality, image.clicks[click]))
    return float(found.mean()) if len(found) else 1.0


def learn(states: list[tuple[Floats, Floats, Floats]], start: TanhNetwork) -> TanhNetwork:
    """Facts (n, F), labels (n,) and weights (n,) of many clicks -> the network that tells them."""
    facts, labels, counts = (
        torch.from_numpy(np.concatenate(column)).float() for column in zip(*states, strict=True)
    )
    values = [torch.tensor(v, dtype=torch.float32) for v in (start.into, start.bias, start.out)]
    into, bias, out = (value.requires_grad_() for value in values)
    level = torch.zeros((), requires_grad=True)  # of all clicks alike: it orders nothing
    optimizer = torch.optim.Adam([into, bias, out, level], RATE)
    for _ in range(STEPS):
        score = torch.tanh(facts @ into + bias) @ out + level
        loss = (
            torch.nn.functional.binary_cross_entropy_with_logits(
                score, labels, weight=counts, reduction="sum"
            )
            / counts.sum()
        )
        loss = loss + DECAY * sum((value**2).sum() for value in (into, out))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return TanhNetwork(*(v.detach().numpy().astype(np.float64) for v in (into, bias, out)))


def fit(images: list[Answered], settings: Grid, start: TanhNetwork) -> TanhNetwork:
    """Rounds of playing and learning."""
    weights = start
    states: list[tuple[Floats, Floats, Floats]] = []
    for number in range(ROUNDS):
        for image in images:
            seen = list(play(image, settings, weights))
            total = max(1, sum(int(left.sum()) for _, left, _ in seen))
            each = min(1.0, PER_IMAGE / total)
            states += [
                (facts[left], finds[left].astype(np.float64), np.full(int(left.sum()), each))
                for facts, left, finds in seen
            ]
        weights = learn(states, weights)
        shares = [share_found(image, settings, weights) for image in images]
        print(f"round {number + 1}: finds {100 * np.mean(shares):.1f} % of exact's masks")
    return weights


def table_of(weights: TanhNetwork) -> dict[str, Any]:
    """The table as the bundle holds it, four digits each."""
    return {
        name: np.vectorize(lambda x: float(f"{x:.4g}"))(values).tolist()
        for name, values in vars(weights).items()
        if name != "level"  # the order of clicks does not depend on it
    }


def images_of(folder: Path, count: int, seed: int) -> Iterator[UintImage]:
    """Photos of all sets that ship, one set after the other."""
    rng = np.random.default_rng(seed)
    sets = [
        load_set(place) for place in sorted(folder.iterdir()) if (place / "masks.jsonl").is_file()
    ]
    usable = [samples for info, samples in sets if info.ships is not False]
    for number in range(count):
        samples = usable[number % len(usable)]
        yield samples[int(rng.integers(len(samples)))].image()


def main() -> None:
    """Learn, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=75)
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument(
        "--check", type=int, default=0, metavar="N", help="photos that are left out"
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("-o", "--output", type=Path, help="a bundle (default: the package's own)")
    args = parser.parse_args()
    model = anymask.load(args.model)
    settings = grid_of(model.runtime.family, {"grid": args.grid})
    answered = [answer_all(model, p, settings) for p in images_of(args.data, args.images, seed=1)]
    old = shipped(model)
    new = fit(answered, settings, old)
    for image in images_of(args.data, args.check, seed=2):
        one = answer_all(model, image, settings)
        before, after = (share_found(one, settings, weights) for weights in (old, new))
        print(f"left out: {100 * before:.1f} -> {100 * after:.1f} %")
    bundle = args.output or SHIPPED / model.spec.family
    tables = read_tables(bundle, read_manifest(bundle))
    write_tables(bundle, {**tables, "adaptive": table_of(new)})  # and their hash


if __name__ == "__main__":
    main()
