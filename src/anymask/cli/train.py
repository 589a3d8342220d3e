"""`anymask train RECIPE`: train `nano` from a recipe, resuming what the run's folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anymask.cli.extras import need_torch
from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import InputError

SUMMARY = "train the bundled model's architecture from a recipe; resumes by itself"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("recipe", type=Path, help=f"TOML file, e.g. recipes/{DEFAULT_MODEL}.toml")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of training sets (each with masks.jsonl)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder of the run: checkpoints, log"
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="when done, write the averaged weights there as an ONNX bundle",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the last log row there")


def run(args: argparse.Namespace) -> None:
    """Train to the recipe's end. Raises ConfigError, DataError, MissingExtra, InputError."""
    need_torch()  # to name the extra before anything else starts
    from anymask.training.loop import train
    from anymask.training.recipe import read_recipe

    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: wanted a folder of training sets, found none there")
    recipe = read_recipe(args.recipe)
    train(recipe, args.data, args.output, print_row)
    if not is_done(args.output, recipe.steps):
        print(f"stopped; the checkpoint is in {args.output}, the same command goes on from it")
        return
    if args.bundle is not None:
        write_bundle(args.output, args.bundle)
    if args.json is not None:
        write_last_row(args.output, args.json)


def is_done(folder: Path, steps: int) -> bool:
    """Whether the run's checkpoint is the recipe's last step."""
    from anymask.training.checkpoint import newest_state

    found = newest_state(folder)
    return found is not None and int(found[1]["progress"]["step"]) >= steps


def print_row(row: dict[str, Any]) -> None:
    """One line of progress."""
    left = (row["steps"] - row["step"]) * row["images"] / max(1, row["step"])
    minutes = left / max(row["images_a_second"], 1e-6) / 60
    print(
        f"step {row['step']}/{row['steps']}  loss {row['loss']:.3f}  "
        f"iou first {row['first_iou']:.3f} last {row['last_iou']:.3f}  "
        f"{row['images_a_second']:.1f} images/s  about {minutes:.0f} min left",
        flush=True,
    )


def write_bundle(folder: Path, target: Path) -> None:
    """The run's averaged weights as an ONNX bundle, 16 bits a weight."""
    from anymask.export.graphs import export_bundle
    from anymask.export.halves import round_to_half
    from anymask.training.checkpoint import newest_state, tensors_hash
    from anymask.training.loop import bare_model

    found = newest_state(folder)
    if found is None:
        raise InputError(f"{folder}: holds no checkpoint; train first, or give the run's folder")
    state = found[1]
    model = bare_model(state["recipe"]["model"])
    model.load_state_dict(state["average"])
    round_to_half(model)
    export_bundle(
        model.eval(),
        model.spec,
        target,
        licence="Apache-2.0",
        weights_hash=tensors_hash(model.state_dict()),
        half=True,
    )


def write_last_row(folder: Path, target: Path) -> None:
    """The log's last line as a file of its own."""
    from anymask.training.checkpoint import LOG

    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    target.write_text(f"{lines[-1]}\n", encoding="utf-8")
