"""`python -m research.nano memory`: labelled photos and a bundle in, its network of memory out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, ProgressBar, write_json
from research.nano.added_network import open_places, tell_step, write_bundle_with

if TYPE_CHECKING:
    from anymask.segment import Model

NAME = "memory"  # in place of a recipe
CLIPS, RESULT = "clips", "result.json"
USUAL_MINUTES = 60.0
USUAL_CLIPS = 1000  # some 13 questions each, 6 MB


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a training of memory has."""
    group = parser.add_argument_group(
        f"a network of memory (research.nano {NAME}; also --model: the folder of the bundle, "
        "--samples: how many clips are made, --max-minutes, --bundle)"
    )
    group.add_argument(
        "--clips",
        type=Path,
        metavar="DIR",
        help="clips that an earlier run made (its folder clips/), instead of making them again",
    )


def run(args: argparse.Namespace) -> None:
    """Make clips, train on them, and write the bundle. Raises as `cli.train.run`."""
    from research.nano.memory_samples import ClipStore
    from research.nano.memory_training import MemoryRecipe, judge_memory, train_memory

    source, folder = open_places(args, "clips", "a network of memory is trained")
    store = ClipStore(args.clips or _made(args, folder / CLIPS))
    recipe = MemoryRecipe(minutes=args.max_minutes or USUAL_MINUTES)
    reader, done = train_memory(store, folder, recipe, tell_step)
    if not done:
        print(f"stopped; the checkpoint is in {folder}, the same command goes on from it")
        return
    judged = judge_memory(reader, store)
    write_json(folder / RESULT, [vars(one) for one in judged], indent=1)
    for one in judged:
        print(f"{one.kind}: {one.count} held-out, {one.rule:.3f} -> {one.network:.3f}")
    if args.bundle is not None:
        from research.nano.graphs import add_memory

        write_bundle_with(source, args.bundle, lambda bundle: add_memory(bundle, reader))


def _made(args: argparse.Namespace, folder: Path) -> Path:
    """Clips whose objects the model has followed by rule."""
    import anymask
    from research.nano.memory_samples import gather_clips
    from research.nano.rehearsal import RuleReader, rehearse

    model = anymask.load(args.model, weights=args.weights)
    check_maps(model)
    clips = args.images or USUAL_CLIPS
    with ProgressBar("clips", clips) as progress:
        gather_clips(
            args.data,
            folder,
            lambda frames, masks: rehearse(model, RuleReader().read_memory, frames, masks),
            range(clips),
            on_progress=lambda done, _: progress.update(done),
        )
    return folder


def check_maps(model: Model) -> None:
    """Raises InputError for a model whose maps the network cannot read."""
    import numpy as np

    from anymask.models.rules import FINE_CELLS
    from anymask.track.matching import GRID

    features, expected = (
        model.encode(np.zeros((64, 64, 3), np.uint8)),
        [GRID, 2 * GRID, FINE_CELLS * GRID],
    )
    sides = [one.values.shape[-1] for one in features.maps]
    if sides != expected or model.spec.mask_side != expected[-1]:
        raise InputError(
            f"--model {model.name}: wanted an encoder with maps of {expected} cells a side and "
            "masks "
            f"of {expected[-1]}, got {sides} and {model.spec.mask_side}; take another"
        )
