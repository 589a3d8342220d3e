"""`anymask finetune`: annotated photos of any format in, a tuned model and its report out."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli import need_torch, new_folder
from anymask.jobs import parse_bands
from anymask.models.rules import DEFAULT_MODEL

SUMMARY = "fine-tune a model on your annotated photos, and measure what it gained"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("--data", type=Path, required=True,
        help="annotated photos: any file or folder that `anymask convert` reads")  # fmt: skip
    add("-o", "--output", type=new_folder, required=True, help="folder of the run")
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"default: {DEFAULT_MODEL}")
    add("--weights", type=Path, metavar="FILE", help="start from these, not from the model's own")
    add("--way", default="full", metavar="WAY", help="full (default), decoder (the encoder stays), "
        "lora (small adapters), hq (what SAM-HQ adds to SAM)")  # fmt: skip
    add("--val", type=Path, metavar="DATA", help="held-out photos (default: a fifth of --data)")
    add("--format", metavar="NAME", help="of --data and --val (default: recognised)")
    add("--images", type=Path, metavar="DIR", help="where the pictures of --data and --val lie")
    add("--pictures", type=int, metavar="N", help="pictures to see (default: by photos)")

    add = parser.add_argument_group("the pictures").add_argument
    add("--kind", choices=("photos", "microscopy", "medical", "satellite"), metavar="KIND",
        help="of pictures: photos (default), microscopy or satellite (no side is up), medical "
        "(turned never, prompted by boxes first)")  # fmt: skip
    add("--classes", metavar="all|NAME,NAME", help="learn to tell these labels apart, too: a class "
        "for each mask, and label maps without prompts (anymask segment --semantic)")  # fmt: skip
    add("--channels", type=int, metavar="C", help="the pictures are no photos: learn from all of "
        "their C channels, 1 to 16, of any type of numbers")  # fmt: skip
    add("--rgb", type=parse_bands, metavar="N,N,N", help="which of --channels are red, green and "
        "blue, counted from 1 (default: those that the pictures call so; else the mean of all is "
        "seen first, as grey)")  # fmt: skip

    add = parser.add_argument_group("the run").add_argument
    add("--keep", type=int, metavar="K", help="keep the last K checkpoints, beside last.pt")
    add("--accumulate", type=int, metavar="N",
        help="learn each step in N parts one after the other, which takes less memory")  # fmt: skip
    add("--lora-rank", type=int, metavar="R", help="of the adapters of --way lora (default: 8)")
    add("--lora-alpha", type=float, metavar="X",
        help="of --way lora: the adapters' scale is X / R (default: 16)")  # fmt: skip
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 or mps")
    add("--max-minutes", type=float, metavar="N", help="end with a checkpoint after N minutes; "
        "the same command goes on")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write what result.json says there, too")
    add("--bundle", type=new_folder, metavar="DIR", help="when done, write an ONNX bundle there")
    add("--tensorboard", action="store_true", help="write the log's rows as TensorBoard's files, "
        "too, into events/ of the run's folder")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Tune to the end, resuming what the run's folder holds. Raises as `anymask.finetune`."""
    need_torch()
    from anymask.training.finetuning import finetune

    finetune(
        args.data, out=args.output, model=args.model, weights=args.weights, way=args.way,
        val=args.val, form=args.format, images=args.images, pictures=args.pictures,
        kind=args.kind, classes=args.classes, channels=args.channels, rgb=args.rgb,
        keep=args.keep, accumulate=args.accumulate, lora_rank=args.lora_rank,
        lora_alpha=args.lora_alpha, device=args.device, max_minutes=args.max_minutes,
        bundle=args.bundle, json=args.json, tensorboard=args.tensorboard,
    )  # fmt: skip
