"""Knowledge distillation: train a student model to match a teacher.

The images of the split val are held out, or without such a split part of the images, chosen by a
hash of their keys: SET/NAME in a folder of sets, SHARD/NUMBER in a folder of shards. The student is
evaluated on their masks. If they have none, the teacher predicts masks from clicks at random
positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from anymask import models
from anymask.base import (
    InputError,
    as_settings,
    claimed,
    json_bytes,
    parse_json,
    write_json,
    write_whole,
)
from anymask.evaluation import page
from anymask.formats import located
from anymask.masks import Mask, Masks, mask_to_rle, rle_to_string, string_to_rle
from anymask.runtime import channels_of_weights, pick_device
from anymask.training.export_folder import export_beside
from anymask.training.held_out import measure, measure_boxes, model_of, subsample
from anymask.training.loop import TrainingRun, train_with_progress
from anymask.training.options import (
    OPTIONS,
    DistillOptions,
    check_end,
    need_torch,
    refuse_other_options,
)
from anymask.training.presets import BRIEF, named
from anymask.training.recipe import Recipe, RecipeStage
from anymask.training.reports import PAGE, RESULT, curve, gain_table, worst_answers
from anymask.training.run_folder import (
    check_one_process,
    license_with_data,
    newest_state,
    tidy,
    write_bundle,
)
from anymask.training.samples import key_of, training_sets
from anymask.training.shards import ShardImages, index_shards, is_sharded
from anymask.training.step import Teacher
from anymask.training.trainee import starting_module, trained_module
from anymask.training.weights import WEIGHTS, write_weights

if TYPE_CHECKING:
    from anymask.base import Floats
    from anymask.formats import AnnotatedImage
    from anymask.keywords import DistillSettings
    from anymask.segment import Model
    from anymask.training.held_out import Measured

INITIAL_METRICS = "before.json"  # in the run folder
HELD_SHARE, MAX_HELD_OUT = 0.2, 50  # held-out fraction of the images, and maximum number
ASKED_IMAGES = 24  # images that the teacher predicts: large teachers take seconds for each
CLICKS_A_IMAGE = 5


def distill(
    teacher: str,
    student: str,
    data: str | Path,
    out: str | Path,
    **settings: Unpack[DistillSettings],
) -> Path:
    """Train a small model to imitate a larger one. Repeat the call to resume.

    Args:
        teacher: Teacher: a name from `anymask models list`, or the weights.safetensors of a run.
        student: Student: a name from `anymask models list`, or the weights.safetensors of a run.
        data: Folder of datasets, of tar shards, or of images without masks.
        out: Folder for checkpoints, weights.safetensors, result.json and report.html.
        settings: Fields of `anymask.training.DistillOptions`.

    Returns:
        Path of the student's weights for `anymask.load`. It does not exist yet if `max_minutes`
        ended the call.

    Raises:
        ConfigError, DataError, InputError: The options or data are invalid.
        ModelError, WeightsError, MissingExtra: A model cannot be loaded, or PyTorch is missing.
    """
    need_torch()
    options = as_settings(
        DistillOptions,
        settings,
        teacher=teacher,
        student=student,
        data=Path(data),
        output=Path(out),
    )
    if not options.data.is_dir():
        raise InputError(
            f"The data {options.data} is not a folder. Pass a folder of sets, shards or images."
        )
    check_end(options.data, options)
    check_one_process("anymask distill")
    recipe = recipe_of_options(options)
    with claimed(options.output):
        folder = options.output
        device = str(pick_device(options.device))
        begin(options)
        held = load_held_out_part(recipe, options.data, folder, device, options.held_out)
        if held is not None:
            print(f"before: {describe(held, held.before)}", flush=True)
        elif options.held_out == 0:
            print("No report was written: no images are held out.")
        else:
            print(
                "No report was written: the data has fewer than two images, or this run has "
                "already trained on all of them."
            )
        sitting = TrainingRun(
            options.data, folder, device=device, max_minutes=options.max_minutes,
            held_out=frozenset(held.keys if held else ()),
        )  # fmt: skip
        if train_with_progress(recipe, sitting, print):
            finish(options, recipe, held)
    return options.output / WEIGHTS


def recipe_of_options(options: DistillOptions) -> Recipe:
    """Create the recipe of a distillation. Raises InputError, ModelError or WeightsError."""
    student, start = named(options.student, options.weights)
    teacher, weights = named(options.teacher, options.teacher_weights)
    models.spec(teacher)
    for role, file in (("student", start), ("teacher", weights)):
        if Path(file).is_file() and (channels := channels_of_weights(Path(file))) is not None:
            raise InputError(
                f"The {role} weights {file} take {channels.count} channels. Use weights for RGB."
            )
    spec, images = models.spec(student), 4
    side = options.side or (384 if spec.pad_multiple else spec.image_side)
    steps = max(1, options.samples // images)
    return Recipe(
        model=student,
        init=start or "shipped",
        task="distil",
        teacher=teacher,
        teacher_weights=weights,
        stages=(RecipeStage(steps=steps, side=side, images=images, masks=6, cool=True),),
        rate=3e-4,
        warmup=max(1, steps // 20),
        synthetic=0.0,
        balanced_steps=1,
        mask_loss="normalised",
        ema=0.998 if steps > 2_000 else 0.95,
        decode_once=not is_sharded(options.data),
        save_every=max(1, steps // 20),
        workers=1 if options.samples <= BRIEF else 2,
        prepare_ahead=options.samples > BRIEF,
    )


def begin(options: DistillOptions) -> None:
    """Store the options that affect training, or compare them with those of an existing run.

    A run without a checkpoint restarts with the new options. Raises InputError.
    """
    files = {"--teacher-weights": options.teacher_weights, "--weights": options.weights}
    now: dict[str, Any] = {
        "--teacher": named(options.teacher, None)[1] or options.teacher,  # absolute if a file
        "--student": named(options.student, None)[1] or options.student,
        "--samples": options.samples,
        "--side": options.side,
        **{name: None if path is None else str(path.absolute()) for name, path in files.items()},
        "--held-out": options.held_out,
    }
    if newest_state(options.output) is not None:
        refuse_other_options(options.output, now)
        return
    path = options.output / OPTIONS
    if path.is_file() and path.read_bytes() != json_bytes(now, indent=1):
        (options.output / INITIAL_METRICS).unlink(missing_ok=True)  # predictions of another teacher
    write_json(path, now, indent=1)


Figures = dict[str, float]  # mean IoU by prompt type: one_click, three_clicks, box


@dataclass(frozen=True)
class HeldOutPart:
    """Held-out images that a student is evaluated on."""

    keys: tuple[str, ...]  # Keys of the images that are excluded from training
    images: list[AnnotatedImage]  # Evaluated images, with their own masks or the teacher's
    against: str  # "masks" or "teacher": source of the masks
    before: Figures  # Metrics of the student before training

    @property
    def masks(self) -> str:
        """Description of the metric."""
        if self.against == "teacher":
            return "mean IoU against the teacher's masks"
        return "mean IoU on held-out masks"


def choose_held_out(keys: Iterable[str], count: int | None = None) -> tuple[str, ...]:
    """Choose held-out images, leaving at least one for training; () if there are fewer than two.

    Args:
        count: Number of images. Defaults to a fifth, but at most `MAX_HELD_OUT`.
    """
    known = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    expected = min(MAX_HELD_OUT, max(1, round(HELD_SHARE * len(known)))) if count is None else count
    return tuple(known[: min(expected, len(known) - 1)]) if len(known) > 1 else ()


def known_keys(recipe: Recipe, data: Path, index: Path) -> list[str]:
    """Return the keys of the images for validation, else of all training images.

    Raises ConfigError or DataError.

    Args:
        index: Run folder, where the index of shards is written.
    """
    if is_sharded(data):
        index.mkdir(parents=True, exist_ok=True)
        index_shards(data, index)
        return ShardImages.open(data, index, recipe.seed).keys()
    sets = training_sets(recipe, data, "val") or training_sets(recipe, data)
    return [key_of(info, image) for info, some in sets for image in some]


def load_held_out_images(
    recipe: Recipe, data: Path, index: Path, keys: Collection[str]
) -> list[AnnotatedImage]:
    """Load the images of some keys, in the order of the data. Raises ConfigError or DataError."""
    if is_sharded(data):
        index_shards(data, index)
        shards = ShardImages.open(data, index, recipe.seed)
        return [shards.of_key(key) for key in sorted(keys)]
    sets = training_sets(recipe, data, "val") or training_sets(recipe, data)
    return [image for info, some in sets for image in some if key_of(info, image) in keys]


def load_held_out_part(
    recipe: Recipe, data: Path, folder: Path, device: str, count: int | None = None
) -> HeldOutPart | None:
    """Load or create the held-out part and the student's initial metrics, stored in `folder`.

    Returns None if nothing is held out, for example with a single image. Raises ConfigError,
    DataError, InputError, ModelError or WeightsError.

    Args:
        count: Number of held-out images of a new run. Defaults to that of `choose_held_out`.
    """
    path, before, predicted = folder / INITIAL_METRICS, None, list[list[str]]()
    if path.is_file():
        keys, predicted, before = read_kept(path)
    else:
        if count is None and not is_sharded(data) and training_sets(recipe, data, "val"):
            count = MAX_HELD_OUT
        keys = choose_held_out(known_keys(recipe, data, folder), count)
        if not keys or newest_state(folder) is not None:
            return None
    images = load_held_out_images(recipe, data, folder, frozenset(keys))
    if len(images) < len(keys):
        raise InputError(
            f"{folder} was created with other data: {len(keys) - len(images)} of its "
            f"{len(keys)} held-out images are missing from the data that was given. Use the "
            "same data, or choose another run folder."
        )
    labeled = [image for image in images if image.rles]
    if not labeled:
        images = subsample(images, ASKED_IMAGES)
        predicted = predicted or teacher_masks(recipe, images, device)
        with located(path):
            labeled = [
                replace(
                    image, masks=Masks([Mask(rle=string_to_rle(rle, image.hw)) for rle in rles])
                )
                for image, rles in zip(images, predicted, strict=True)
                if rles
            ]
        if not labeled:
            return None
    if before is None:
        before = score(model_of(starting_module(folder, recipe)), labeled)[0]
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"keys": keys, "teacher": predicted, "before": before})
    return HeldOutPart(keys, labeled, "teacher" if predicted else "masks", before)


def read_kept(path: Path) -> tuple[tuple[str, ...], list[list[str]], Figures]:
    """Read keys, predicted masks and initial metrics of a run. Raises DataError if corrupted."""
    with located(path):
        kept = parse_json(path.read_bytes(), path)
        before = {word: float(value) for word, value in kept["before"].items()}
        return tuple(map(str, kept["keys"])), [[*map(str, row)] for row in kept["teacher"]], before


def teacher_masks(recipe: Recipe, images: Sequence[AnnotatedImage], device: str) -> list[list[str]]:
    """Predict masks with the teacher from clicks at random positions of each image.

    Returns COCO compressed RLE strings, without empty masks and duplicates.
    """
    model = model_of(Teacher.open(recipe).module, device)
    predicted = []
    for number, image in enumerate(images):
        features = model.encode(image.model_input(model.spec.channels))
        rng = np.random.default_rng([recipe.seed, number])
        height, width = image.hw
        places = (rng.random((CLICKS_A_IMAGE, 2)) * (width, height)).round(1).tolist()
        answers = [model.segment(features, points=[point]).masks[0] for point in places]
        rles = (rle_to_string(mask_to_rle(mask)) for mask in answers if mask.any())
        predicted.append(list(dict.fromkeys(rles)))
    return predicted


def score(model: Model, images: Sequence[AnnotatedImage]) -> tuple[Figures, Measured]:
    """Return the mean IoU by prompt type, and the IoU of each mask after each click."""
    measured = measure(model, images)
    ious: dict[str, Floats] = {"one_click": measured.ious[:, 0]}
    if measured.ious.shape[1] > 2:
        ious["three_clicks"] = measured.ious[:, 2]
    if "box" in model.spec.accepts:
        ious["box"] = measure_boxes(model, images)
    return {word: round(float(values.mean()), 4) for word, values in ious.items()}, measured


def describe(part: HeldOutPart, figures: Figures) -> str:
    """Format metrics as one line."""
    shown = ", ".join(f"{word.replace('_', ' ')} {value:.3f}" for word, value in figures.items())
    return f"{part.masks} on {len(part.images)} held-out images: {shown}"


def finish(options: DistillOptions, recipe: Recipe, held: HeldOutPart | None) -> None:
    """Write the student's weights, the report, and a bundle if requested."""
    folder, checkpoint = options.output, newest_state(options.output)
    assert checkpoint is not None  # the run has just finished
    student = trained_module(checkpoint[1])
    figures = {} if held is None else write_report(folder, recipe, model_of(student), held)
    data = {"folder": options.data.name}
    about = {"licence": license_with_data(recipe), "data": data, "figures": figures}
    write_weights(folder / WEIGHTS, student, recipe, about)
    if figures:
        write_json(folder / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    if figures and options.json is not None:
        write_whole(options.json, (folder / RESULT).read_bytes())
    export_beside(folder / WEIGHTS)
    if options.bundle is not None:
        write_bundle(folder, options.bundle)
    print(tidy(folder))
    print("\n".join(f"wrote {folder / name}" for name in (WEIGHTS, *((PAGE,) if figures else ()))))


def write_report(folder: Path, recipe: Recipe, model: Model, part: HeldOutPart) -> dict[str, Any]:
    """Evaluate the trained student, write the report page and return the metrics."""
    after, measured = score(model, part.images)
    figures = {
        "against": part.against, "held_photos": len(part.images), "masks": len(measured.ious),
        "before": part.before, "after": after,
    }  # fmt: skip
    columns = [word.replace("_", " ") for word in after]
    before = [part.before.get(word, np.nan) for word in after]
    table = gain_table(part.masks, columns, before, [*after.values()])
    summary = f"{len(measured.ious)} masks on {len(part.images)} held-out images"
    about = (
        f"{recipe.model} distilled from {Path(recipe.teacher_weights or recipe.teacher).name}, "
        f"{recipe.steps} steps at {recipe.stages[0].side} pixels"
    )
    sections = [
        page.section("Before and after", table, page.note(summary)),
        curve(folder, "last_iou", "IoU of the last prediction with the training target"),
        worst_answers(model, part.images, measured, [image.name for image in part.images]),
    ]
    write_whole(folder / PAGE, page.html_page("Distillation", about, sections))
    print(f"after:  {describe(part, after)}", flush=True)
    return figures
