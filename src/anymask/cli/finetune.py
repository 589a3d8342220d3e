"""`anymask finetune`: fine-tune a model on annotated images of any format, and report."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import read_options
from anymask.cli.outputs import new_folder
from anymask.models.rules import DEFAULT_IMAGE_MODEL, MODEL_VARIABLE
from anymask.training.options import TuningOptions, need_torch


def run(args: argparse.Namespace) -> None:
    """Fine-tune, or resume the run in the folder. Raises as `anymask.finetune`."""
    from anymask.training.finetuning import finetune

    finetune(args.data, out=args.output, model=args.model, **read_options(args, TuningOptions))


# fmt: off
COMMAND = Command(run, (
    Argument("--data", type=Path, required=True, reads=True,
        help="annotated images, in any format that `anymask convert` reads"),
    Argument("-o --output", type=new_folder, required=True, help="run folder"),
    Argument("--model", metavar="NAME",
        help=f"model name, or the folder of an earlier run (default: {DEFAULT_IMAGE_MODEL}, or the "
             f"value of {MODEL_VARIABLE})"),
    Settings(TuningOptions, omit=("keep",), common=(
        "method", "val", "split", "images", "samples", "kind", "classes",
    )),
), needs=need_torch)
# fmt: on
