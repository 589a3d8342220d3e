"""`anymask finetune`: annotated photos of any format in, a tuned model and its report out."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli import add_options, need_torch, new_folder, read_options
from anymask.models.rules import DEFAULT_MODEL
from anymask.training.options import TuningOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("--data", type=Path, required=True,
        help="annotated images: any dataset that `anymask convert` reads")  # fmt: skip
    add("-o", "--output", type=new_folder, required=True, help="run folder")
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"default: {DEFAULT_MODEL}")
    add_options(parser, TuningOptions)


def run(args: argparse.Namespace) -> None:
    """Tune to the end, resuming what the run's folder holds. Raises as `anymask.finetune`."""
    need_torch()
    from anymask.training.finetuning import finetune

    options = read_options(args, TuningOptions)
    finetune(args.data, out=args.output, model=args.model, **options)
