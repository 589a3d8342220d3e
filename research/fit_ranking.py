"""Learn the tables "ranking" and "expected" of `masks/answer.py` from training photos:

    python research/fit_ranking.py ../shared/data/train --model nano
    python research/fit_ranking.py ../shared/data/train --model nano --scores

Each mask of a photo is clicked in its middle, as it is and twice cut, turned, blurred and tinted,
since nano knows the photos as they are. Four masks answer, each cut to the part under the click,
whose facts and whose IoU with the truth are kept. Gradient ascent makes the IoU of the first mask
as large as it gets, where each mask comes first as likely as its worth says (a softmax). Everyday
photos weigh the most (`NATURAL`). Then the table "expected" is learned: a logistic fit of the IoU
of first masks on the mean logit of the network's own numbers and on the logit of the worth.
`--scores` learns it alone, for the ranking as it is, from one look at fewer photos.

`--check` then learns without the photos of a kind, for each kind of `KINDS` in turn, and prints of
those: clicks, mean IoU of the network's own first mask, of ours, of its best, and what share of
that gap is closed. It needs the extra `torch`; a quarter of an hour on one core.

Letters: N clicks, T masks of the decoder, F facts.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit

import anymask
from anymask.base import BoolArray, UintImage
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import OPENCV, Prompt, center_click, logits_to_masks, mask_iou, rle_to_mask
from anymask.masks.answer import (
    CHOICE_FEATURES,
    MIN_NUMBER,
    RankingWeights,
    clicked_cell,
    expected_ious,
    mask_features,
    probabilities,
    rank_masks,
    without_parts,
)
from anymask.models.rules import DEFAULT_VIDEO_MODEL, SHIPPED, group_prompts, shipped_tables
from anymask.segment import encode_image
from research.shared import write_tables

Arrays = NDArray[Any]

LOOKS = 3  # at each photo: as it is, and distorted
IMAGES, MASKS = 40, 4  # of a set that is not of everyday photos
MAX_MASKS = 10  # of an everyday photo
LEAST = 64  # pixels of a mask that counts
NATURAL = {
    "coco_instances": 3.0,
    "coco_panoptic": 3.0,
    "dog_cat": 1.5,
    "coco_person": 1.0,
    "building_facade": 1.0,
    "street_building": 1.0,
    "fruit3": 0.5,
    "pigs": 0.5,
    "mandarin_fruit": 0.3,
}
OTHER = 0.15
KINDS = (
    ("coco_instances",),
    ("coco_panoptic",),
    ("coco_person", "infant_heads", "clothing_parts"),
    ("building_facade", "street_building"),
    ("dog_cat", "pigs"),
)
HIDDEN, STEPS, BATCH, RATE = 8, 3000, 1500, 0.02
SOFT = 0.1  # of worth, in the softmax that says which mask comes first
DECAY = 3e-5


@dataclass(frozen=True, eq=False)
class Answers:
    """What N clicks were answered with.

    Attributes:
        found: Features of the candidates (N, T, F).
        shared: Pairwise IoU of the candidates (N, T, T).
        ious: IoU with the ground truth (N, T).
        names: Names of the datasets (N,).
        looks: Augmented view of each click, 0 for the unchanged image (N,).
    """

    found: Arrays
    shared: Arrays
    ious: Arrays
    names: Arrays
    looks: Arrays

    def __getitem__(self, some: Arrays) -> Answers:
        return Answers(*(values[some] for values in vars(self).values()))


def answers_of(folder: Path, name: str, fewer: bool) -> Iterator[Answers]:
    """Those of each set in a folder that weights in the package may learn from."""
    model = anymask.load(name)
    looks, images = (1, (40, 6)) if fewer else (LOOKS, (None, IMAGES))
    for place in sorted(folder.iterdir()):
        info, samples = load_set(place)
        if info.ships is False:
            continue
        rng = np.random.default_rng(zlib.crc32(place.name.encode()))
        natural = place.name in NATURAL
        chosen = rng.permutation(len(samples))[: images[not natural]]
        rows = [
            (*row, place.name, look)
            for n in chosen
            for look in range(looks)
            for row in ask(model, samples[n], MAX_MASKS if natural else MASKS, look, rng)
        ]
        print(place.name, len(rows), flush=True)
        yield Answers(*(np.array(column) for column in zip(*rows, strict=True)))


def ask(
    model: anymask.Model, sample: AnnotatedImage, most: int, look: int, rng: np.random.Generator
) -> Iterator[tuple[Arrays, Arrays, Arrays]]:
    """Facts, overlaps and IoU of the answers to a click on each of at most `most` masks."""
    image, truths, ignore = opened(sample, most, rng)
    if look:
        image, (*truths, ignore) = distorted(image, [*truths, ignore], rng)
    truths = [truth for truth in truths if truth.sum() >= LEAST]
    runtime, spec = model.runtime, model.spec
    embedding = encode_image(runtime, image)
    prompts = [Prompt.of(points=[center_click(truth)]) for truth in truths]
    for places, batch in group_prompts(prompts, embedding.geometry, spec, 16):
        decoded = runtime.decode(embedding.encoder_output, batch)
        for n, coords, logits, quality in zip(places, batch.coords, *decoded, strict=True):
            counted = truths[n] & ~ignore
            cells = [clicked_cell(coords[0], embedding.geometry, spec)]
            logits = without_parts(logits, cells, np.inf, spec.mask_threshold, OPENCV)
            masks = logits_to_masks(logits, embedding.geometry, spec.mask_threshold) & ~ignore
            found = mask_features(quality, logits, coords[0], embedding.geometry, spec, OPENCV)
            yield *found, mask_iou(masks, counted[None])[:, 0]


def opened(
    sample: AnnotatedImage, most: int, rng: np.random.Generator
) -> tuple[UintImage, list[BoolArray], BoolArray]:
    """A photo, some of its masks, and the pixels that do not count."""
    image = sample.image()
    truths = [rle_to_mask(sample.rles[n]) for n in rng.permutation(len(sample.rles))[:most]]
    empty = np.zeros(image.shape[:2], np.bool_)
    return image, truths, empty if sample.ignore is None else rle_to_mask(sample.ignore)


def distorted(
    image: UintImage, masks: list[BoolArray], rng: np.random.Generator
) -> tuple[UintImage, list[BoolArray]]:
    """Another look at a photo: a part of it, turned, perhaps mirrored, blurred, tinted, noisy."""
    height, width = (int(n * rng.uniform(0.6, 1) ** 0.5) for n in image.shape[:2])
    y, x = (
        rng.integers(0, old - new + 1)
        for old, new in zip(image.shape, (height, width), strict=False)
    )
    angle, mirrored = rng.uniform(-12, 12), rng.random() < 0.5
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1 + abs(angle) / 60)

    def moved(plane: Arrays, how: int) -> Arrays:
        part = np.ascontiguousarray(plane[y : y + height, x : x + width])
        turned = cv2.warpAffine(
            part, turn, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT
        )
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    seen = moved(image, cv2.INTER_LINEAR).astype(np.float32) / 255
    seen = seen ** rng.uniform(0.7, 1.5, 3).astype(np.float32)
    share = rng.uniform(0.6, 1.0)
    small = cv2.resize(seen, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    seen = cv2.resize(small, (width, height))
    seen = seen + rng.normal(0, rng.uniform(0, 0.04), seen.shape)
    return (
        (seen.clip(0, 1) * 255).astype(np.uint8),
        [moved(mask.view(np.uint8), cv2.INTER_NEAREST) > 0 for mask in masks],
    )


class Network(torch.nn.Module):
    """Facts (N, T, F) and overlaps (N, T, T) -> worth (N, T)."""

    def __init__(self) -> None:
        super().__init__()
        count = len(CHOICE_FEATURES)
        self.direct = torch.nn.Parameter(torch.zeros(count))
        self.hidden = torch.nn.Linear(2 * count, HIDDEN)
        self.out = torch.nn.Parameter(torch.zeros(HIDDEN))

    def forward(self, found: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        both = torch.cat([found, found.mean(1, keepdim=True).expand_as(found)], -1)
        score = found @ self.direct + torch.tanh(self.hidden(both)) @ self.out
        return (shared @ torch.softmax(score, 1)[..., None])[..., 0]


def learn(answers: Answers) -> dict[str, Any]:
    """The weights, as `RankingWeights` names them."""
    middle, spread = (f(answers.found, axis=(0, 1)) for f in (np.mean, np.std))
    found, shared, ious = (
        torch.tensor(values, dtype=torch.float32)
        for values in ((answers.found - middle) / spread, answers.shared, answers.ious)
    )
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    weights = torch.tensor(weights_of(answers.names), dtype=torch.float32)
    for _ in range(STEPS):
        some = torch.randint(len(found), (BATCH,))
        first = torch.softmax(network(found[some], shared[some]) / SOFT, 1)
        won = (weights[some] * (first * ious[some]).sum(1)).mean()
        loss = DECAY * sum((values**2).sum() for values in network.parameters()) - won
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    return unscaled(network, middle, spread)


def weights_of(names: Arrays) -> Arrays:  # (N,)
    """Of each click: a set weighs what it is worth, whatever its size; 1 on the mean."""
    kinds, place, counts = np.unique(names, return_inverse=True, return_counts=True)
    weights = (np.array([NATURAL.get(kind, OTHER) for kind in kinds]) / counts)[place]
    return weights / weights.mean()


def unscaled(network: Network, middle: Arrays, spread: Arrays) -> dict[str, Any]:
    """The weights for facts as they are, in four digits."""
    values = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    own, mean = np.split(values["hidden.weight"].T, 2)
    weights = {
        "direct": values["direct"] / spread,
        "own": own / spread[:, None],
        "mean": mean / spread[:, None],
        "bias": values["hidden.bias"] - (middle / spread) @ (own + mean),
        "out": values["out"],
    }
    return {
        name: np.vectorize(lambda number: float(f"{number:.4g}"))(table).tolist()
        for name, table in weights.items()
    }


def check(answers: Answers) -> None:
    """Print what the order wins on each kind of photos that it did not learn from."""
    for kind in KINDS:
        held = np.isin(answers.names, kind)
        weights = RankingWeights.of(learn(answers[~held]))
        for name in kind:
            one = answers[(answers.names == name) & (answers.looks == 0)]
            firsts = [
                rank_masks(probabilities(found, weights), shared)[0]
                for found, shared in zip(one.found, one.shared, strict=True)
            ]
            rows = np.arange(len(firsts))
            own, first = (one.ious[rows, n] for n in (one.found[..., 0].argmax(1), firsts))
            three = np.argsort(-one.found[..., 0], axis=1, kind="stable")[:, :3]
            best = np.take_along_axis(one.ious, three, 1).max(1)
            gap = (first.mean() - own.mean()) / (best.mean() - own.mean())
            figures = f"{own.mean():.3f} {first.mean():.3f} {best.mean():.3f} {gap:.3f}"
            print(f"{name} {len(one.ious)} {figures}", flush=True)


def main() -> None:
    """Learn, write, and perhaps check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("--model", default=DEFAULT_VIDEO_MODEL, help="of the package")
    parser.add_argument("--scores", action="store_true", help='learn only the table "expected"')
    parser.add_argument("--check", action="store_true", help="print what is won on other photos")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sets = (vars(one).values() for one in answers_of(args.data, args.model, args.scores))
    answers = Answers(*(np.concatenate(column) for column in zip(*sets, strict=True)))
    tables = dict(shipped_tables(args.model))
    if not args.scores:
        tables["ranking"] = learn(answers)
    # The fit of `expected_iou`, by the first mask of each click; every set counts alike.
    weights = RankingWeights.of(tables["ranking"])
    known, ious = np.ones((3, len(answers.ious))), np.empty(len(answers.ious))
    for n, (found, shared) in enumerate(zip(answers.found, answers.shared, strict=True)):
        shown = rank_masks(likely := probabilities(found, weights), shared)[:3]
        chance = np.append(expected_ious(likely, shared).max(), found[shown, 0])
        logits = logit(chance.clip(MIN_NUMBER, 1 - MIN_NUMBER))
        known[:2, n], ious[n] = (logits[1:].mean(), logits[0]), answers.ious[n, shown[0]]
    _, names, counts = np.unique(answers.names, return_inverse=True, return_counts=True)
    found = minimize(  # the cross-entropy
        lambda line: (np.logaddexp(0, line @ known) - ious * (line @ known)) @ (1 / counts[names]),
        np.zeros(3),
        tol=1e-8,
    )
    tables["expected"] = dict(
        zip(("quality", "worth", "shift"), found.x.round(4).tolist(), strict=True)
    )
    write_tables(SHIPPED / args.model, tables)
    if args.check:
        check(answers)


if __name__ == "__main__":
    main()
