"""`anymask distil`: train a student model to match a teacher on images."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli import add_options, need_torch, new_folder, read_options
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.training.options import DistilOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add(
        "--teacher",
        required=True,
        metavar="NAME",
        help="model name, or the weights.safetensors of a run",
    )
    add(
        "--student",
        default=DEFAULT_VIDEO_MODEL,
        metavar="NAME",
        help=f"model to train (default: {DEFAULT_VIDEO_MODEL})",
    )
    add("--data", type=Path, required=True,
        help="folder of training sets, tar shards or unlabeled images")  # fmt: skip
    add("-o", "--output", type=new_folder, required=True, help="run folder")
    add_options(parser, DistilOptions)


def run(args: argparse.Namespace) -> None:
    """Distil, or resume the run in the folder. Raises as `anymask.distil`."""
    need_torch()
    from anymask.training.distillation import distil

    options = read_options(args, DistilOptions)
    distil(args.teacher, args.student, args.data, args.output, **options)
