"""`anymask plan DIR`: estimate annotation time and cost from the timings of a project."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import write_json
from anymask.cli import need_engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="project with accepted masks")
    parser.add_argument(
        "--images", metavar="N", type=int, required=True, help="number of images to label"
    )
    parser.add_argument(
        "--rate",
        metavar="MONEY",
        type=float,
        default=0.0,
        help="hourly cost of an annotator (default: 0)",
    )
    parser.add_argument(
        "--masks-per-image",
        metavar="M",
        type=float,
        help=("masks per image (default: the average of each stage)"),
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the plan to this file")


def run(args: argparse.Namespace) -> None:
    """Print the estimate of each measured stage. Raises InputError, StoreError."""
    need_engine()
    from anymask.studio.figures import plan
    from anymask.studio.project import Project

    figures = Project(args.folder).figures()
    costs = plan(figures, args.images, args.rate, args.masks_per_image)
    print(
        f"Estimate for {args.images} images, based on the timings of the project {figures.name!r}:"
    )
    for cost in costs:
        money = f" {cost.money:,.0f} at {args.rate:g} per hour" if args.rate else ""
        print(
            f"  {cost.way:<26} {cost.masks:>9,} masks  {cost.seconds_a_mask:>6.1f} s each  "
            f"{cost.hours:>8,.1f} hours{money}"
        )
    if args.json:
        rows = [vars(cost) for cost in costs]
        write_json(args.json, {"images": args.images, "rate": args.rate, "ways": rows})
