"""`anymask distil`: a teacher and pictures in, a student that answers like it out."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.extras import need_torch
from anymask.cli.output_names import new_folder
from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import InputError

if TYPE_CHECKING:
    from anymask.training.recipe import Recipe

SUMMARY = "teach a small model what a larger one answers, on photos with or without masks"
WEIGHTS = "weights.safetensors"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("--teacher", required=True, action="append", metavar="NAME", help="a name of `anymask "
        "models list`, or a weights.safetensors of `anymask train`; several of the student's own "
        "kind: their mean answer is learned")  # fmt: skip
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
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 or mps")
    add("--max-minutes", type=float, metavar="N", help="end with a checkpoint after N minutes")
    add("--bundle", type=new_folder, metavar="DIR", help="when done, write an ONNX bundle there")


def run(args: argparse.Namespace) -> None:
    """Distil to the end, resuming what the run's folder holds.

    Raises ConfigError, DataError, InputError, ModelError, WeightsError, MissingExtra.
    """
    need_torch()
    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: wanted a folder of sets, shards or pictures")
    if args.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {args.pictures}")
    from anymask.cli.run_folder import TrainingTeller, is_done
    from anymask.runtimes.devices import pick_device
    from anymask.training.loop import train
    from anymask.training.worker import TrainingRun

    recipe, teller = recipe_of_options(args), TrainingTeller()
    sitting = TrainingRun(
        args.data, args.output, device=str(pick_device(args.device)),
        max_minutes=args.max_minutes, report=teller.row, told=teller.step,
    )  # fmt: skip
    train(recipe, sitting)
    if not is_done(args.output, recipe.steps):
        print(f"stopped; the checkpoint is in {args.output}, the same command goes on from it")
        return
    finish(args, recipe)


def finish(args: argparse.Namespace, recipe: Recipe) -> None:
    """Write the student's weights, and its bundle where one is wanted."""
    from anymask.cli.run_folder import licence_of_run, write_bundle
    from anymask.training.checkpoint import newest_state
    from anymask.training.result import write_result
    from anymask.training.trainee import trained_module

    found = newest_state(args.output)
    assert found is not None  # the run has just ended
    about = {
        "licence": f"{licence_of_run(recipe)}; and that of your data",
        "data": {"folder": args.data.name},
        "recipe": asdict(recipe),
        "figures": {},
    }
    write_result(args.output / WEIGHTS, trained_module(found[1]), recipe.model, about)
    if args.bundle is not None:
        write_bundle(args.output, args.bundle)
    print(args.output / WEIGHTS)


def recipe_of_options(args: argparse.Namespace) -> Recipe:
    """The recipe of a distillation. Raises ModelError, WeightsError."""
    from anymask import models
    from anymask.training.presets import BRIEF
    from anymask.training.recipe import Recipe, RecipeStage
    from anymask.training.shards import is_sharded

    student, start = named(args.student, args.weights)
    spec = models.spec(student)
    side = args.side or (384 if spec.pad_multiple else spec.image_side)
    images = 4
    steps = max(1, args.pictures // images)
    return Recipe(
        model=student,
        init=start or "shipped",
        stages=(RecipeStage(steps=steps, side=side, images=images, masks=6, cool=True),),
        rate=3e-4,
        warmup=max(1, steps // 20),
        balanced_steps=1,
        mask_loss="normalised",
        ema=0.998 if steps > 2_000 else 0.95,
        decode_once=not is_sharded(args.data),
        save_every=max(1, steps // 20),
        workers=1 if args.pictures <= BRIEF else 2,
        prepare_ahead=args.pictures > BRIEF,
        **task_of_options(args, student),
    )


def task_of_options(args: argparse.Namespace, student: str) -> dict[str, Any]:
    """What the student learns from one teacher, or from several of its own kind.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask import models

    if len(args.teacher) == 1:
        teacher, weights = named(args.teacher[0], args.teacher_weights)
        models.spec(teacher)
        return {
            "task": "distil", "teacher": teacher, "teacher_weights": weights, "synthetic": 0.0,
        }  # fmt: skip
    if args.teacher_weights is not None:
        raise InputError("--teacher-weights belongs to one teacher; give the files as teachers")
    files = []
    for word in args.teacher:
        teacher, weights = named(word, None)
        if teacher != student:
            raise InputError(
                f"--teacher {word} is {teacher}: several teachers must be of the student's kind, "
                f"{student}; give one teacher of another kind alone"
            )
        files.append(weights or "shipped")
    return {"task": "ensemble", "teachers": tuple(files), "synthetic": 0.35}


def named(word: str, weights: Path | None) -> tuple[str, str]:
    """A model's variant and the file of its weights, "" for those in the store.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask.weights import entry
    from anymask.weights.formats import about_weights

    if weights is None and Path(word).is_file():
        about = about_weights(Path(word))
        if about is None:
            raise InputError(
                f"{word} does not say of which network it is; give the network's name, and the "
                "file by --teacher-weights or --weights"
            )
        return str(about["variant"]), str(Path(word).absolute())
    variant = word if word == DEFAULT_MODEL else entry(word).variant
    return variant, "" if weights is None else str(weights.absolute())
