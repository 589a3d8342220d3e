"""`python -m research.nano refiner`: labelled photos and a bundle in, its network of edges out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import ProgressBar, write_json
from research.nano.added_network import open_places, tell_step, write_bundle_with

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Prompt
    from anymask.segment import Prediction

NAME = "refiner"  # in place of a recipe
WINDOWS, RESULT = "windows", "result.json"
USUAL_MINUTES = 60.0
USUAL_IMAGES = 3000  # about four answers each


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a training of edges has."""
    group = parser.add_argument_group(
        f"a network of edges (research.nano {NAME}; also --model: the folder of the bundle, "
        "--samples: how many it answers for, --max-minutes, --bundle)"
    )
    group.add_argument(
        "--windows",
        type=Path,
        metavar="DIR",
        help="answers that an earlier run stored (its folder windows/), instead of asking again",
    )


def run(args: argparse.Namespace) -> None:
    """Gather answers, train on them, and write the bundle. Raises as `cli.train.run`."""
    from research.nano.edge_samples import WindowStore
    from research.nano.edge_training import EdgeRecipe, judge_edges, train_edges

    source, folder = open_places(args, "windows", "edges are refined")
    windows = args.windows or _gathered(args, folder / WINDOWS)
    stores = [WindowStore(windows)]
    recipe = EdgeRecipe(minutes=args.max_minutes or USUAL_MINUTES)
    refiner = train_edges(stores, folder, recipe, tell_step)
    judged = judge_edges(refiner, stores)
    write_json(folder / RESULT, [vars(one) for one in judged], indent=1)
    for one in judged:
        print(f"{one.kind}: {one.count} held-out answers, IoU {one.before:.3f} -> {one.after:.3f}")
    if args.bundle is not None:
        from research.nano.graphs import add_refiner

        write_bundle_with(source, args.bundle, lambda bundle: add_refiner(bundle, refiner))


def _gathered(args: argparse.Namespace, folder: Path) -> Path:
    """What the model answers for photos of the sets, stored."""
    import anymask
    from research.nano.edge_answers import gather_windows

    model = anymask.load(args.model, weights=args.weights)

    def see(image: UintImage) -> Callable[[Sequence[Prompt]], Sequence[Prediction]]:
        features = model.encode(image)
        return lambda prompts: model.segment(features, prompts=list(prompts))

    images = args.images or USUAL_IMAGES
    with ProgressBar("pictures", images) as progress:
        gather_windows(
            args.data, folder, see, images, on_progress=lambda done, _: progress.update(done)
        )
    return folder
