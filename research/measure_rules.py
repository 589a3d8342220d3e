"""What each rule of the bundled models' answers is worth (`masks/answer.py`):

    python -m research.measure_rules ../shared/data/eval --model small

Of the suite's group `dev` and of `berkeley` and `grabcut` at most `--limit` masks a set, three a
photo, each clicked three times and boxed as `anymask evaluate` does it, on embeddings: with all
rules, without each one, and without any. Without the learned order the network's own number orders
a lone click's masks; without agreement it chooses the mask of a clear prompt, too; without the
second look a box is asked once; with all parts, what is small or not under the click stays.
Printed: one click, its best mask, three clicks, box.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import anymask
from anymask.base import FloatArray, Floats
from anymask.evaluation import box_scores, click_rounds
from anymask.evaluation.selection import EvalSettings
from anymask.masks import Decode, Geometry, ModelPrompts, Multimask, Ranking
from anymask.masks.answer import is_single_click
from anymask.models.rules import NanoFamily
from research.paper.suite import read_suite
from research.shared import iterate_images

WITHOUT = {
    "all rules": (),
    "no learned order": ("order",),
    "no agreement": ("agreement",),
    "boxes asked once": ("twice",),
    "all parts": ("parts",),
    "none": ("order", "agreement", "twice", "parts"),
}
PAIR = ("berkeley", "grabcut")
MOST = 3  # masks of a photo


@dataclass(frozen=True)
class Plainer(NanoFamily):
    """The family without some of its rules."""

    without: tuple[str, ...] = ()

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Any]:
        if "order" in self.without:
            ranking = "own"
        clear = not any(is_single_click(prompts))
        if "twice" in self.without and clear:
            first = decode(prompts)
            decode = lambda _: first  # noqa: E731
        if "agreement" in self.without and clear:
            original = decode
            decode = lambda given: best_alone(*original(given))  # noqa: E731
        if "parts" not in self.without:
            return super().answer(decode, prompts, place, multimask, ranking)
        with patch("anymask.masks.answer.without_parts", lambda logits, *_: logits):
            return super().answer(decode, prompts, place, multimask, ranking)


def best_alone(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N, T, m, m), (N, T) -> the same, of each prompt the best mask in all places."""
    rows = np.arange(len(logits))
    best = quality.argmax(axis=1)
    return (
        np.repeat(logits[rows, best][:, None], logits.shape[1], axis=1),
        np.repeat(quality[rows, best][:, None], quality.shape[1], axis=1),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of the sets")
    parser.add_argument("--model", choices=("nano", "small"), default="small")
    parser.add_argument("--limit", type=int, default=24, help="masks of a set")
    args = parser.parse_args()
    model = anymask.load(args.model)
    family = model.runtime.family
    assert isinstance(family, NanoFamily)
    plainer = Plainer(**{one.name: getattr(family, one.name) for one in fields(family)})
    found: dict[str, dict[str, list[Floats]]] = {name: {} for name in WITHOUT}
    suite = read_suite("zero-shot")
    expected = [one for one in suite.sets if "dev" in one.plan.groups or one.plan.name in PAIR]
    settings = EvalSettings(limit=args.limit, per_image=MOST)
    for one in (place.open(args.data) for place in expected):
        for image in iterate_images(model, one, settings):
            features, truths = model.encode(image.image), image.truths()
            for name, rules in WITHOUT.items():
                model.runtime.family = replace(plainer, without=rules)  # type: ignore[misc]
                clicks = click_rounds(model, features, truths, settings.clicks)
                boxes = box_scores(model, features, truths)
                rows = np.stack(
                    [clicks.ious[:, 0], clicks.oracle, clicks.ious[:, -1], boxes], axis=1
                )
                found[name].setdefault(one.plan.name, []).append(rows)
    print("| rules | 12 sets: one click, best, three, box | berkeley and grabcut |\n|---|---|---|")
    for name, sets in found.items():
        means = {place: np.concatenate(rows).mean(axis=0) for place, rows in sets.items()}
        pair = [means.pop(place) for place in PAIR]
        print(f"| {name} | {in_words([*means.values()])} | {in_words(pair)} |")


def in_words(means: list[Floats]) -> str:
    """Their mean, as the tables have it."""
    return ", ".join(f"{value:.3f}"[1:] for value in np.mean(means, axis=0))


if __name__ == "__main__":
    main()
