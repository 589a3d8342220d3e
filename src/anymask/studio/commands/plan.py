"""`anymask plan DIR`: estimate annotation time and cost from the timings of a project."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import write_json
from anymask.cli import Argument, Command
from anymask.studio.options import need_engine


def run(args: argparse.Namespace) -> None:
    """Print the estimate of each measured stage. Raises InputError, StoreError."""
    from anymask.studio.figures import plan
    from anymask.studio.project import Project

    project = Project(args.folder)
    figures = project.figures()
    costs = plan(
        figures, args.images, args.rate, args.masks_per_image, machine_rate=args.machine_rate,
        settings=project.settings,
    )  # fmt: skip
    paid = args.rate or args.machine_rate
    print(
        f"Estimate for {args.images} images, based on the timings of the project {figures.name!r}:"
    )
    for cost in costs:
        money = f" {cost.money:,.0f} at {args.rate:g} per hour" if paid else ""
        if cost.machine_hours is not None:
            also = f" and {args.machine_rate:g} for the computer" if args.machine_rate else ""
            money += f"{also}, {cost.machine_hours:,.1f} hours of the computer"
        print(
            f"  {cost.way:<26} {cost.masks:>9,} masks  {cost.seconds_a_mask:>6.1f} s each  "
            f"{cost.hours:>8,.1f} hours{money}"
        )
    if args.json:
        rows = [vars(cost) for cost in costs]
        write_json(args.json, {"images": args.images, "rate": args.rate, "ways": rows})


# fmt: off
COMMAND = Command(run, (
    Argument("folder", metavar="DIR", type=Path, reads=True,
        help="project with accepted masks"),
    Argument("--images", metavar="N", type=int, required=True, help="number of images to label"),
    Argument("--rate", metavar="MONEY", type=float, default=0.0,
        help="hourly cost of an annotator (default: 0)"),
    Argument("--machine-rate", metavar="MONEY", type=float, default=0.0,
        help="hourly cost of the computer that proposes masks (default: 0)"),
    Argument("--masks-per-image", metavar="M", type=float,
        help="masks per image (default: the average of each stage)"),
    Argument("--json", metavar="FILE", type=Path, help="write the plan to this file"),
), needs=need_engine)
# fmt: on
