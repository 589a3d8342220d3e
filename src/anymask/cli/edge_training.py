"""`anymask train refiner`: labelled photos and a bundle in, its network of edges out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.primitives.errors import InputError
from anymask.primitives.progress import ProgressBar
from anymask.primitives.storage import write_json

if TYPE_CHECKING:
    from anymask.models.edge_refiner import EdgeRefiner
    from anymask.primitives.candidates import Candidates
    from anymask.primitives.prompts import Prompt
    from anymask.primitives.types import UintImage

NAME = "refiner"  # in place of a recipe
WINDOWS, RESULT = "windows", "result.json"
USUAL_MINUTES = 60.0
USUAL_PICTURES = 3000  # about four answers each


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a training of edges has."""
    group = parser.add_argument_group(
        f"a network of edges (anymask train {NAME}; also --model: the folder of the bundle, "
        "--pictures: how many it answers for, --max-minutes, --bundle)"
    )
    group.add_argument(
        "--windows",
        type=Path,
        metavar="DIR",
        help="answers that an earlier run stored (its folder windows/), instead of asking again",
    )


def run(args: argparse.Namespace) -> None:
    """Gather answers, train on them, and write the bundle. Raises as `cli.train.run`."""
    from anymask.runtimes.open import find_bundle
    from anymask.training.edge_samples import WindowStore
    from anymask.training.edge_training import EdgeRecipe, judge_edges, train_edges

    folder: Path = args.output
    if folder is None:
        raise InputError("-o FOLDER is needed: where windows, weights and the result go")
    source = find_bundle(args.model, args.weights)
    if source is None:
        raise InputError(
            f"--model {args.model}: edges are refined for exported models; "
            f"run: anymask export {args.model} -o FOLDER, then give --model FOLDER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    windows = args.windows or _gathered(args, folder / WINDOWS)
    stores = [WindowStore(windows)]
    recipe = EdgeRecipe(minutes=args.max_minutes or USUAL_MINUTES)
    refiner = train_edges(stores, folder, recipe, _tell)
    judged = judge_edges(refiner, stores)
    write_json(folder / RESULT, [vars(one) for one in judged], indent=1)
    for one in judged:
        print(f"{one.kind}: {one.count} held-out answers, IoU {one.before:.3f} -> {one.after:.3f}")
    if args.bundle is not None:
        _write_bundle(source, args.bundle, refiner)


def _gathered(args: argparse.Namespace, folder: Path) -> Path:
    """What the model answers for photos of the sets, stored."""
    import anymask
    from anymask.training.edge_answers import gather_windows

    model = anymask.load(args.model, weights=args.weights)

    def see(image: UintImage) -> Callable[[Sequence[Prompt]], Sequence[Candidates]]:
        seen = model.embed(image)
        return lambda prompts: model.segment(seen, prompts=list(prompts))

    pictures = args.pictures or USUAL_PICTURES
    with ProgressBar("pictures", pictures) as progress:
        gather_windows(args.data, folder, see, pictures, told=lambda done, _: progress.update(done))
    return folder


def _tell(row: dict[str, float]) -> None:
    print(f"step {row['step']:.0f}  {row['minutes']:.1f} min  loss {row['loss']:.4f}", flush=True)


def _write_bundle(source: Path, target: Path, refiner: EdgeRefiner) -> None:
    """A copy of the bundle (or itself) with the network of edges."""
    from anymask.export.edge_graph import add_refiner
    from anymask.export.folder import copy_bundle

    if target.resolve() != source.resolve():
        copy_bundle(source, target)
    add_refiner(target, refiner)
