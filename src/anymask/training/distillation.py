"""Distillation: a teacher and pictures in, a student that answers like it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from anymask.base import InputError, json_bytes, write_json, write_whole
from anymask.cli import need_torch
from anymask.training.options import OPTIONS, check_results, named, refuse_other_options, with_paths
from anymask.training.tuned_weights import WEIGHTS, licence_with_data, write_weights

if TYPE_CHECKING:
    from anymask.training.recipe import Recipe
    from anymask.training.reports import HeldPart, Scores


@dataclass(frozen=True, kw_only=True)
class DistilOptions:
    """What a distillation is asked for; `anymask.distil` says what each means."""

    teacher: str
    student: str
    data: Path
    output: Path
    teacher_weights: Path | None = None
    weights: Path | None = None
    pictures: int = 40_000
    side: int | None = None
    held_out: int | None = None
    device: str = "cpu"
    max_minutes: float | None = None
    bundle: Path | None = None
    json: Path | None = None


class DistilSettings(TypedDict, total=False):
    """What `distil` takes besides.

    teacher_weights  a file, in place of those of the store
    weights          of the student, in place of its own
    pictures         to see
    side             of the pictures in pixels, where the student takes any (384)
    held_out         pictures that the report is measured on, and that are not learned from; 0: no
                     report (default: a fifth, 50 at most)
    device           "cpu", "cuda", "cuda:1" or "mps"
    max_minutes      end with a checkpoint after so many minutes
    bundle           a new folder for the student as an ONNX bundle
    json             a file for what result.json says
    """

    teacher_weights: str | Path | None
    weights: str | Path | None
    pictures: int
    side: int | None
    held_out: int | None
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None


def distil(
    teacher: str,
    student: str,
    data: str | Path,
    out: str | Path,
    **settings: Unpack[DistilSettings],
) -> Path:
    """Teach a small model what a larger one answers; the same call goes on with the run's folder.

    teacher          a name of `anymask models list`, or a weights.safetensors of a run
    student          as well
    data             a folder of training sets, of tar shards, or of pictures without masks
    out              the run's folder: checkpoints, weights.safetensors, result.json, report.html

    Returns the path of the student's weights, which `anymask.load` takes. After `max_minutes` the
    file is not there yet.

    Raises ConfigError, DataError, InputError, ModelError, WeightsError, MissingExtra.
    """
    need_torch()
    given = with_paths(settings, ("teacher_weights", "weights", "bundle", "json"))
    options = DistilOptions(
        teacher=teacher, student=student, data=Path(data), output=Path(out), **given
    )
    check(options)
    _distil(options)
    return options.output / WEIGHTS


def _distil(options: DistilOptions) -> None:
    """Distil to the end, resuming what the run's folder holds. Raises as `distil`."""
    from anymask.runtime import pick_device
    from anymask.training.loop import train
    from anymask.training.reports import held_part, in_words
    from anymask.training.run_folder import TrainingTeller, check_one_process, is_done
    from anymask.training.worker import TrainingRun

    check_one_process("anymask distil")
    recipe, teller = recipe_of_options(options), TrainingTeller()
    device = str(pick_device(options.device))
    begin(options)
    held = held_part(recipe, options.data, options.output, device, options.held_out)
    if held is None:
        print(
            "no report: no picture is held out"
            if options.held_out == 0
            else "no report: nothing can be held out of fewer than two pictures, or of a run that "
            "has learned from all of them"
        )
    else:
        print(f"before: {in_words(*held)}", flush=True)
    sitting = TrainingRun(
        options.data, options.output, device=device, max_minutes=options.max_minutes,
        report=teller.row,
        told=teller.step, held_out=frozenset(() if held is None else held[0].keys),
    )  # fmt: skip
    train(recipe, sitting)
    if not is_done(options.output, recipe.steps):
        print(f"stopped; the checkpoint is in {options.output}, the same command goes on from it")
        return
    finish(options, recipe, held)


def check(options: DistilOptions) -> None:
    """Raises InputError for options that cannot be meant."""
    if not options.data.is_dir():
        raise InputError(f"--data {options.data}: wanted a folder of sets, shards or pictures")
    if options.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {options.pictures}")
    if options.held_out is not None and options.held_out < 0:
        raise InputError(f"--held-out must be at least 0, got {options.held_out}")
    check_results(options.bundle, options.json)


def begin(options: DistilOptions) -> None:
    """Keep the options that decide what is learned, or compare them with those of the run.

    A run that has learned nothing yet begins anew with others. Raises InputError.
    """
    from anymask.training.checkpoint import newest_state
    from anymask.training.reports import BEFORE

    now: dict[str, Any] = {"--teacher": _word(options.teacher)}
    now |= {
        "--student": _word(options.student),
        "--pictures": options.pictures,
        "--side": options.side,
    }
    files = {"--teacher-weights": options.teacher_weights, "--weights": options.weights}
    now |= {name: None if path is None else str(path.absolute()) for name, path in files.items()}
    now["--held-out"] = options.held_out
    if newest_state(options.output) is not None:
        refuse_other_options(options.output, now)  # runs of earlier versions do not say theirs
        return
    path = options.output / OPTIONS
    if path.is_file() and path.read_bytes() != json_bytes(now, indent=1):
        (options.output / BEFORE).unlink(missing_ok=True)  # what another teacher said
    write_json(path, now, indent=1)


def _word(name: str) -> str:
    """A model's name, or its file from any folder."""
    return named(name, None)[1] or name


def finish(options: DistilOptions, recipe: Recipe, held: tuple[HeldPart, Scores] | None) -> None:
    """Write the student's weights, the report, and the bundle where one is wanted."""
    from anymask.training.checkpoint import newest_state
    from anymask.training.held_out import model_of
    from anymask.training.reports import PAGE, RESULT, write_report
    from anymask.training.run_folder import write_bundle
    from anymask.training.trainee import trained_module

    found = newest_state(options.output)
    assert found is not None  # the run has just ended
    student = trained_module(found[1])
    figures: dict[str, Any] = {}
    if held is not None:
        figures = write_report(options.output, recipe, model_of(student), *held)
    data = {"folder": options.data.name}
    about = {"licence": licence_with_data(recipe), "data": data, "figures": figures}
    write_weights(options.output / WEIGHTS, student, recipe, about)
    if figures:
        write_json(options.output / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    if figures and options.json is not None:
        write_whole(options.json, (options.output / RESULT).read_bytes())
    if options.bundle is not None:
        write_bundle(options.output, options.bundle)
    print("  ".join(str(options.output / one) for one in (WEIGHTS, *((PAGE,) if figures else ()))))


def recipe_of_options(options: DistilOptions) -> Recipe:
    """The recipe of a distillation. Raises ModelError, WeightsError."""
    from anymask import models
    from anymask.training.presets import BRIEF
    from anymask.training.recipe import Recipe, RecipeStage
    from anymask.training.shards import is_sharded

    student, start = named(options.student, options.weights)
    _check_photos("--student", start)
    spec = models.spec(student)
    side = options.side or (384 if spec.pad_multiple else spec.image_side)
    images = 4
    steps = max(1, options.pictures // images)
    return Recipe(
        model=student,
        init=start or "shipped",
        stages=(RecipeStage(steps=steps, side=side, images=images, masks=6, cool=True),),
        rate=3e-4,
        warmup=max(1, steps // 20),
        balanced_steps=1,
        mask_loss="normalised",
        ema=0.998 if steps > 2_000 else 0.95,
        decode_once=not is_sharded(options.data),
        save_every=max(1, steps // 20),
        workers=1 if options.pictures <= BRIEF else 2,
        prepare_ahead=options.pictures > BRIEF,
        **task_of_options(options, student),
    )


def task_of_options(options: DistilOptions, student: str) -> dict[str, Any]:
    """What the student learns from its teacher.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask import models

    teacher, weights = named(options.teacher, options.teacher_weights)
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
