"""`anymask train RECIPE`: a recipe and labelled photos in, a run's folder and a bundle out."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError
from anymask.cli import need_torch, new_folder

SUMMARY = "train an image model by a recipe; resumes by itself"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a TOML file, or the name of a recipe in the package")
    add("--data", type=Path, required=True,
        help="folder of training sets (each with masks.jsonl)")  # fmt: skip
    add("-o", "--output", type=new_folder, help="folder of the run: checkpoints, log")
    add("--from", dest="source", type=Path, metavar="RUN", help="begin with weights and optimiser "
        "of another run's folder, which is only read")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write the log's last row there")
    add("--bundle", type=new_folder, metavar="DIR",
        help="when done, write the averaged weights there as an ONNX bundle")  # fmt: skip
    add("--tensorboard", action="store_true", help="write the log's rows also as TensorBoard's "
        "files, into events/ of the run's folder")  # fmt: skip
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 or mps: one process there")
    add("--max-minutes", type=float, metavar="N", help="end with a checkpoint after so many "
        "minutes; the same command goes on, anywhere")  # fmt: skip
    add("--shards", type=new_folder, metavar="DIR",
        help="instead of training, write the recipe's sets there as tar shards")  # fmt: skip
    add("--shard-mb", type=float, default=256.0, help="of --shards: size of each (default: 256)")
    add("--parallel", choices=("ddp", "fsdp"), default="ddp", help="of several processes: each has "
        "all weights (ddp), or a part of them (fsdp)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Train to the recipe's end. Raises as `anymask.train`."""
    need_torch()  # to name the extra before anything else starts
    from anymask.training.by_recipe import train, write_recipe_shards

    if args.shards is not None:
        write_recipe_shards(args.recipe, args.data, args.shards, args.shard_mb)
        return
    if args.output is None:
        raise InputError("-o FOLDER is needed: where checkpoints and the log of the run go")
    train(
        args.recipe, args.data, args.output, source=args.source, device=args.device,
        max_minutes=args.max_minutes, parallel=args.parallel, bundle=args.bundle, json=args.json,
        tensorboard=args.tensorboard,
    )  # fmt: skip
