"""`anymask train RECIPE`: a recipe and labelled photos in, a run's folder and a bundle out."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, make_room, write_whole
from anymask.cli import need_torch, new_folder
from anymask.training.commands import finetune
from anymask.training.options import refuse_fields
from anymask.training.run_folder import TrainingTeller, is_done, write_bundle

if TYPE_CHECKING:
    from anymask.training.recipe import Recipe

MB = 1_000_000
SUMMARY = "train an image model, or fine-tune one on your photos; resumes by itself"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add(
        "recipe",
        metavar="RECIPE",
        help="a TOML file, the name of a recipe in the package, or 'finetune' (annotated photos of "
        "any format, no recipe)",
    )
    add(
        "--data",
        type=Path,
        required=True,
        help="folder of training sets (each with masks.jsonl); of finetune: any file or folder "
        "that `anymask convert` reads",
    )
    add("-o", "--output", type=new_folder, help="folder of the run: checkpoints, log")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="RUN",
        help="begin with weights and optimiser of another run's folder, which is only read",
    )
    add("--json", type=Path, metavar="FILE", help="write the last row or finetune's result there")
    add(
        "--bundle",
        type=new_folder,
        metavar="DIR",
        help="when done, write the averaged weights there as an ONNX bundle",
    )
    add(
        "--tensorboard",
        action="store_true",
        help="write the log's rows also as TensorBoard's files, into events/ of the run's folder",
    )
    configure_elsewhere(parser)
    finetune.configure(parser)


def configure_elsewhere(parser: argparse.ArgumentParser) -> None:
    """Add what a training on another machine needs."""
    add = parser.add_argument
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 or mps: one process there")
    add(
        "--max-minutes",
        type=float,
        metavar="N",
        help="end with a checkpoint after so many minutes; the same command goes on, anywhere",
    )
    add(
        "--shards",
        type=new_folder,
        metavar="DIR",
        help="instead of training, write the recipe's sets there as tar shards",
    )
    add("--shard-mb", type=float, default=256.0, help="of --shards: size of each (default: 256)")
    add(
        "--parallel",
        choices=("ddp", "fsdp"),
        default="ddp",
        help="of several processes: each has all weights (ddp), or a part of them (fsdp)",
    )


def run(args: argparse.Namespace) -> None:
    """Train to the recipe's end. Raises ConfigError, DataError, MissingExtra, InputError."""
    need_torch()  # to name the extra before anything else starts
    check(args)
    if args.recipe == finetune.NAME:
        finetune.run(args)
        return
    refuse_fields(args)
    from anymask.training.recipe import find_recipe, read_recipe

    recipe = read_recipe(find_recipe(args.recipe))
    if args.shards is not None:
        write_recipe_shards(recipe, args)
        return
    train_here(recipe, args)
    if not is_done(args.output, recipe.steps):
        print(f"stopped; the checkpoint is in {args.output}, the same command goes on from it")
        return
    if args.bundle is not None:
        write_bundle(args.output, args.bundle)
    if args.json is not None:
        write_last_row(args.output, args.json)


def check(args: argparse.Namespace) -> None:
    """Raises InputError for options that cannot be meant."""
    if not args.data.exists():
        raise InputError(f"--data: there is no file or folder {str(args.data)!r}; check the path")
    for name in ("max_minutes", "shard_mb"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be more than 0, got {value:g}")
    if args.shards is None and args.output is None:
        raise InputError("-o FOLDER is needed: where checkpoints and the log of the run go")
    check_results(args)


def check_results(args: argparse.Namespace) -> None:
    """Raises InputError, OSError where what is written at the end could not be."""
    from anymask.training.export_folder import refuse_to_replace

    if args.bundle is not None:
        refuse_to_replace(args.bundle)
    if args.json is not None:
        make_room(args.json)


def train_here(recipe: Recipe, args: argparse.Namespace) -> None:
    """One sitting of the run."""
    from anymask.runtime import pick_device
    from anymask.training.loop import train
    from anymask.training.worker import TrainingRun

    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: wanted a folder of training sets, got a file")
    teller = TrainingTeller(args.output if args.tensorboard else None)
    train(
        recipe,
        TrainingRun(
            args.data,
            args.output,
            device=str(pick_device(args.device)),
            max_minutes=args.max_minutes,
            report=teller.row,
            source=args.source,
            told=teller.step,
            parallel=args.parallel,
        ),
    )


def write_recipe_shards(recipe: Recipe, args: argparse.Namespace) -> None:
    """The recipe's sets as shards, and a line that says how many pictures they hold."""
    from anymask.training.samples import training_sets
    from anymask.training.shards import write_shards

    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: wanted a folder of training sets, got a file")
    pictures = (one for _, samples in training_sets(recipe, args.data) for one in samples)
    count = write_shards(pictures, args.shards, int(args.shard_mb * MB))
    print(f"{args.shards}: {count} pictures in {len(list(args.shards.glob('*.tar')))} shards")


def write_last_row(folder: Path, target: Path) -> None:
    """The log's last line as a file of its own."""
    from anymask.training.checkpoint import LOG

    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    write_whole(target, f"{lines[-1]}\n")
