"""`anymask distil`: a teacher and pictures in, a student that answers like it out."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli import need_torch, new_folder
from anymask.models.rules import DEFAULT_MODEL

SUMMARY = "teach a small model what a larger one answers, on photos with or without masks"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("--teacher", required=True, metavar="NAME", help="a name of `anymask "
        "models list`, or a weights.safetensors of `anymask train`")  # fmt: skip
    add("--teacher-weights", type=Path, metavar="FILE", help="its weights (default: the store's)")
    add("--student", default=DEFAULT_MODEL, metavar="NAME", help=f"default: {DEFAULT_MODEL}")
    add("--weights", type=Path, metavar="FILE", help="of the student (default: its own)")
    add(
        "--data",
        type=Path,
        required=True,
        help="a folder of training sets, of tar shards, or of pictures without masks",
    )
    add("-o", "--output", type=new_folder, required=True, help="folder of the run")
    add("--pictures", type=int, default=40_000, metavar="N", help="to see (default: 40000)")
    add(
        "--side",
        type=int,
        metavar="S",
        help="of the pictures, if any will do (default: 384)",
    )
    add("--held-out", type=int, metavar="N", help="pictures that the report is measured on, and "
        "that are not learned from; 0: learn from all, without a report (default: a fifth, 50 at "
        "most)")  # fmt: skip
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 or mps")
    add("--max-minutes", type=float, metavar="N", help="end with a checkpoint after N minutes")
    add("--bundle", type=new_folder, metavar="DIR", help="when done, write an ONNX bundle there")
    add("--json", type=Path, metavar="FILE", help="write what result.json says there, too")


def run(args: argparse.Namespace) -> None:
    """Distil to the end, resuming what the run's folder holds. Raises as `anymask.distil`."""
    need_torch()
    from anymask.training.distillation import distil

    distil(
        args.teacher, args.student, args.data, args.output,
        teacher_weights=args.teacher_weights, weights=args.weights, pictures=args.pictures,
        side=args.side, held_out=args.held_out, device=args.device,
        max_minutes=args.max_minutes, bundle=args.bundle, json=args.json,
    )  # fmt: skip
