"""`anymask distill`: train a student model to match a teacher on images."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import read_options
from anymask.cli.outputs import new_folder
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.training.options import DistillOptions, need_torch


def run(args: argparse.Namespace) -> None:
    """Distil, or resume the run in the folder. Raises as `anymask.distill`."""
    from anymask.training.distillation import distill

    distill(
        args.teacher, args.student, args.data, args.output, **read_options(args, DistillOptions)
    )


# fmt: off
COMMAND = Command(run, (
    Argument("--teacher", required=True, metavar="NAME",
        help="model name, or the weights.safetensors of a run"),
    Argument("--student", default=DEFAULT_VIDEO_MODEL, metavar="NAME",
        help=f"model to train (default: {DEFAULT_VIDEO_MODEL})"),
    Argument("--data", type=Path, required=True, reads=True,
        help="folder of training sets, tar shards or unlabeled images"),
    Argument("-o --output", type=new_folder, required=True, help="run folder"),
    Settings(DistillOptions),
), needs=need_torch)
# fmt: on
