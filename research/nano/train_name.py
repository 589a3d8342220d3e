"""`python -m research.nano names`: labelled photos and a bundle in, its network of names out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, ProgressBar, write_json
from research.nano.added_network import open_places, tell_step, write_bundle_with

if TYPE_CHECKING:
    from research.nano.name_words import NameWords

NAME = "names"  # in place of a recipe
CLOSE_UPS, RESULT = "close-ups", "result.json"
USUAL_MINUTES = 60.0
USUAL_PICTURES = 500  # that proposals are asked for, about forty each
SIDE = 16  # clicks along a photo: more photos say more than more clicks
MOST, ALIKE = 96, 0.8  # proposals of a photo that are kept; IoU of two from which one is enough


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a training of names has."""
    group = parser.add_argument_group(
        f"a network of names (research.nano {NAME}; also --model: the folder of the bundle, "
        "--pictures: how many it is asked for proposals, --max-minutes, --bundle)"
    )
    group.add_argument(
        "--close-ups",
        type=Path,
        metavar="DIR",
        help="close-ups that an earlier run stored (its folder close-ups/), not taken again",
    )
    group.add_argument(
        "--text",
        type=Path,
        metavar="DIR",
        help="folder with names and CLIP embeddings of COCO and LVIS",
    )
    group.add_argument(
        "--backbone", type=Path, metavar="FILE", help="weights of MobileNetV2 (.npz) to begin with"
    )


def run(args: argparse.Namespace) -> None:
    """Gather close-ups, train on them, and write the bundle. Raises as `cli.train.run`."""
    from research.nano.name_judgement import judge_names
    from research.nano.name_maps import MapStore
    from research.nano.name_training import NameRecipe, train_names
    from research.nano.name_words import read_name_words

    source, folder = open_places(args, "close-ups", "names are learned")
    if args.text is None:
        raise InputError("--text FOLDER is needed: the names' text embeddings")
    words = read_name_words(args.text)
    store = MapStore(_looked_at(args, args.close_ups or _gathered(args, folder / CLOSE_UPS, words)))
    recipe = NameRecipe(minutes=args.max_minutes or USUAL_MINUTES)
    learned, done = train_names(store, words, folder, recipe, tell_step)
    if not done:
        print(f"stopped; the checkpoint is in {folder}, the same command goes on from it")
        return
    judged = judge_names(learned, store)
    write_json(folder / RESULT, judged.figures, indent=1)
    for what, figure in judged.figures.items():
        print(f"{what}: {figure:.3f}")
    if args.bundle is not None:
        from anymask.training import add_names, table_of

        said = words.words, words.also
        table = table_of(said, learned.vectors, learned.learned, judged.temperature)
        write_bundle_with(
            source, args.bundle, lambda bundle: add_names(bundle, learned.namer, table)
        )


def _gathered(args: argparse.Namespace, folder: Path, words: NameWords) -> Path:
    """Masks that people drew, and what the model proposes, stored."""
    import anymask
    from anymask.base import UintImage
    from anymask.masks import Mask, mask_nms
    from anymask.segment import encode_image, find_everything, grid_of
    from research.nano.name_samples import gather_close_ups

    model = anymask.load(args.model, weights=args.weights)
    grid = grid_of(model.runtime.family, {"grid": SIDE})

    def propose(image: UintImage) -> list[Mask]:
        found = find_everything(model.runtime, encode_image(model.runtime, image), grid)
        kept = mask_nms([one.rle for one in found], [one.rank for one in found], ALIKE)
        return [found[int(place)] for place in kept[:MOST]]

    pictures = args.pictures or USUAL_PICTURES
    with ProgressBar("photos") as bar:
        gather_close_ups(args.data, folder, words, propose, pictures, told=_teller(bar))
    return folder


def _looked_at(args: argparse.Namespace, folder: Path) -> Path:
    """The close-ups as the backbone sees them, stored."""
    from research.nano.name_maps import store_maps

    with ProgressBar("close-ups") as bar:
        store_maps(folder, args.backbone, told=_teller(bar))
    return folder


def _teller(bar: ProgressBar) -> Callable[[int, int], None]:
    """Tells a bar how many there are, too."""

    def tell(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    return tell
