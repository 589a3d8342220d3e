"""`anymask distil`: a teacher and pictures in, a student that answers like it out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import InputError, json_bytes, write_json, write_whole
from anymask.cli import need_torch, new_folder
from anymask.models.rules import DEFAULT_MODEL
from anymask.training.commands.train import check_results
from anymask.training.options import OPTIONS, named, refuse_other_options
from anymask.training.tuned_weights import WEIGHTS, licence_with_data, write_weights

if TYPE_CHECKING:
    from anymask.training.recipe import Recipe
    from anymask.training.reports import HeldPart, Scores

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
    """Distil to the end, resuming what the run's folder holds.

    Raises ConfigError, DataError, InputError, ModelError, WeightsError, MissingExtra.
    """
    need_torch()
    check(args)
    from anymask.runtime import pick_device
    from anymask.training.loop import train
    from anymask.training.reports import held_part, in_words
    from anymask.training.run_folder import TrainingTeller, check_one_process, is_done
    from anymask.training.worker import TrainingRun

    check_one_process("anymask distil")
    recipe, teller = recipe_of_options(args), TrainingTeller()
    device = str(pick_device(args.device))
    begin(args)
    held = held_part(recipe, args.data, args.output, device, args.held_out)
    if held is None:
        print(
            "no report: no picture is held out"
            if args.held_out == 0
            else "no report: nothing can be held out of fewer than two pictures, or of a run that "
            "has learned from all of them"
        )
    else:
        print(f"before: {in_words(*held)}", flush=True)
    sitting = TrainingRun(
        args.data, args.output, device=device, max_minutes=args.max_minutes, report=teller.row,
        told=teller.step, held_out=frozenset(() if held is None else held[0].keys),
    )  # fmt: skip
    train(recipe, sitting)
    if not is_done(args.output, recipe.steps):
        print(f"stopped; the checkpoint is in {args.output}, the same command goes on from it")
        return
    finish(args, recipe, held)


def check(args: argparse.Namespace) -> None:
    """Raises InputError for options that cannot be meant."""
    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: wanted a folder of sets, shards or pictures")
    if args.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {args.pictures}")
    if args.held_out is not None and args.held_out < 0:
        raise InputError(f"--held-out must be at least 0, got {args.held_out}")
    check_results(args)


def begin(args: argparse.Namespace) -> None:
    """Keep the options that decide what is learned, or compare them with those of the run.

    A run that has learned nothing yet begins anew with others. Raises InputError.
    """
    from anymask.training.checkpoint import newest_state
    from anymask.training.reports import BEFORE

    now: dict[str, Any] = {"--teacher": _word(args.teacher)}
    now |= {"--student": _word(args.student), "--pictures": args.pictures, "--side": args.side}
    files = {"--teacher-weights": args.teacher_weights, "--weights": args.weights}
    now |= {name: None if path is None else str(path.absolute()) for name, path in files.items()}
    now["--held-out"] = args.held_out
    if newest_state(args.output) is not None:
        refuse_other_options(args.output, now)  # runs of earlier versions do not say theirs
        return
    path = args.output / OPTIONS
    if path.is_file() and path.read_bytes() != json_bytes(now, indent=1):
        (args.output / BEFORE).unlink(missing_ok=True)  # what another teacher said
    write_json(path, now, indent=1)


def _word(name: str) -> str:
    """A model's name, or its file from any folder."""
    return named(name, None)[1] or name


def finish(args: argparse.Namespace, recipe: Recipe, held: tuple[HeldPart, Scores] | None) -> None:
    """Write the student's weights, the report, and the bundle where one is wanted."""
    from anymask.training.checkpoint import newest_state
    from anymask.training.held_out import model_of
    from anymask.training.reports import PAGE, RESULT, write_report
    from anymask.training.run_folder import write_bundle
    from anymask.training.trainee import trained_module

    found = newest_state(args.output)
    assert found is not None  # the run has just ended
    student = trained_module(found[1])
    figures: dict[str, Any] = {}
    if held is not None:
        figures = write_report(args.output, recipe, model_of(student), *held)
    data = {"folder": args.data.name}
    about = {"licence": licence_with_data(recipe), "data": data, "figures": figures}
    write_weights(args.output / WEIGHTS, student, recipe, about)
    if figures:
        write_json(args.output / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    if figures and args.json is not None:
        write_whole(args.json, (args.output / RESULT).read_bytes())
    if args.bundle is not None:
        write_bundle(args.output, args.bundle)
    print("  ".join(str(args.output / one) for one in (WEIGHTS, *((PAGE,) if figures else ()))))


def recipe_of_options(args: argparse.Namespace) -> Recipe:
    """The recipe of a distillation. Raises ModelError, WeightsError."""
    from anymask import models
    from anymask.training.presets import BRIEF
    from anymask.training.recipe import Recipe, RecipeStage
    from anymask.training.shards import is_sharded

    student, start = named(args.student, args.weights)
    _check_photos("--student", start)
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
    """What the student learns from its teacher.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask import models

    teacher, weights = named(args.teacher, args.teacher_weights)
    models.spec(teacher)
    _check_photos("--teacher", weights)
    return {
        "task": "distil", "teacher": teacher, "teacher_weights": weights, "synthetic": 0.0,
    }  # fmt: skip


def _check_photos(option: str, weights: str) -> None:
    """Raises InputError for weights of pictures that are no photos; "" is a model's own."""
    from anymask.runtime import channels_of_weights

    channels = channels_of_weights(Path(weights)) if Path(weights).is_file() else None
    if channels is not None:
        raise InputError(
            f"{option} {weights} was tuned on pictures of {channels.count} channels, and is asked "
            "about photos here; give weights of photos"
        )
