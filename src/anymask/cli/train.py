"""`anymask train RECIPE`: train a model on annotated images and write its bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import read_options
from anymask.cli.outputs import new_folder
from anymask.training.by_recipe import TrainOptions, train, write_recipe_shards
from anymask.training.options import Scenes, need_torch


def run(args: argparse.Namespace, scenes: Scenes | None = None) -> None:
    """Train by a recipe, with composed `scenes`, if any. Raises as `anymask.train`."""
    if args.shards is not None:
        write_recipe_shards(args.recipe, args.data, args.shards)
        return
    if args.output is None:
        raise InputError("The run folder is missing. Set it with -o FOLDER.")
    train(args.recipe, args.data, args.output, scenes=scenes, **read_options(args, TrainOptions))


# fmt: off
COMMAND = Command(run, (
    Argument("recipe", metavar="RECIPE", help="TOML config file, or the name of a built-in recipe"),
    Argument("--data", type=Path, required=True, reads=True,
        help="folder of training sets (each with a masks.jsonl file)"),
    Argument("-o --output", type=new_folder, help="run folder for checkpoints and the log"),
    Argument("--shards", type=new_folder, metavar="DIR",
        help="write the training sets as tar shards to this folder and exit, without training"),
    Settings(TrainOptions),
), needs=need_torch)
# fmt: on
