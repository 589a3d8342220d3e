"""Fine-tuning on annotated images, with a report."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from anymask.base import (
    AnymaskError,
    InputError,
    check_types,
    claimed,
    parse_json,
    write_json,
    write_whole,
)
from anymask.cli import need_torch
from anymask.evaluation import html_page, html_table, note, section
from anymask.formats import load_set, read, read_class_list
from anymask.models.rules import default_model
from anymask.runtime import channels_of_weights, pick_device
from anymask.training.channels import mix_of, starting_mix
from anymask.training.classes import class_names
from anymask.training.export_folder import export_beside
from anymask.training.frozen import FrozenOutputs
from anymask.training.held_out import (
    CLICKS,
    Measured,
    TuningOutcome,
    choose_end,
    class_ious,
    difference,
    evenly,
    measure,
    model_of,
    state_at,
)
from anymask.training.loop import TrainingRun, train
from anymask.training.lora import save_adapters
from anymask.training.options import (
    OPTIONS,
    TuningOptions,
    TuningSettings,
    as_options,
    check_end,
    refuse_other_options,
)
from anymask.training.presets import (
    LEARN,
    asked,
    check_method,
    check_parts,
    chosen_method,
    named,
    tuning_recipe,
    with_fields,
)
from anymask.training.recipe import Recipe, recipe_of
from anymask.training.reports import (
    PAGE,
    RESULT,
    curve,
    gain_table,
    minutes_of,
    plan_in_words,
    worst_answers,
)
from anymask.training.run_folder import (
    TrainingTeller,
    check_one_process,
    is_done,
    licence_with_data,
    newest_state,
    tidy,
    write_module,
)
from anymask.training.samples import SetPictures
from anymask.training.trainee import set_learning, starting_module
from anymask.training.tuning_data import (
    HELD_OUT,
    TRAIN,
    DataReport,
    doubts,
    own_names,
    prepare,
    write_sheet,
)
from anymask.training.weights import WEIGHTS, write_weights

if TYPE_CHECKING:
    from torch import nn

    from anymask.formats import AnnotatedImage, Dataset
    from anymask.segment import Model

PROJECT = ".anymask"  # in the folder of a project
DATA, ADAPTER, SHEET, RECIPE = "data", "adapter", "data.jpg", "recipe.json"  # in the run folder
JUDGED_PHOTOS = 16  # held-out images that are evaluated during training
MEASURED_PHOTOS = 100  # held-out images that are evaluated before and after training


@check_types
def finetune(
    data: str | Path,
    *,
    out: str | Path,
    model: str | None = None,
    **settings: Unpack[TuningSettings],
) -> Path:
    """Fine-tune a model on annotated images, and evaluate it before and after.

    Prints the progress. Repeat the call to resume an interrupted run.

    Args:
        data: File or folder of annotations that `anymask.read` reads.
        out: Folder for checkpoints, weights.safetensors, result.json and report.html.
        model: Name from `anymask models list`, or the folder or weights.safetensors of an earlier
            run. Default: the model that images are segmented with, "small" unless ANYMASK_MODEL
            names another one.
        settings: Fields of `anymask.training.TuningOptions`.

    Returns:
        Path of the weights for `anymask.load`. It does not exist if `max_minutes` ended the call.

    Raises:
        InputError: An option is invalid.
        DataError: The annotations are invalid.
        ModelError, WeightsError, MissingExtra: The model cannot be loaded, or PyTorch is missing.
    """
    chosen = model or default_model(settings.get("weights"))
    options = as_options(TuningOptions, settings, data=Path(data), output=Path(out), model=chosen)
    need_torch()
    check_end(options.data, options)
    check_one_process("anymask finetune")
    variant, start = _checked_start(options)
    with claimed(options.output):
        _tune(options, variant, start)
    return options.output / WEIGHTS


def _tune(options: TuningOptions, variant: str, start: str) -> None:
    """Prepare the data, train, evaluate and write the results, as far as the time limit allows."""
    folder, device = options.output, str(pick_device(options.device))

    # Training data.
    report = _prepared(options)
    print("\n".join(report.lines()), flush=True)
    learned = load_set(folder / DATA / TRAIN)[1]
    held = evenly(load_set(folder / DATA / HELD_OUT)[1], MEASURED_PHOTOS)
    recipe = _kept_recipe(variant, start, options, report, learned)
    SetPictures.of(recipe, folder / DATA)  # rejects masks that no training crop can show
    names = own_names(folder / DATA)
    for line in doubts(learned, names, recipe.channels):
        print(line, flush=True)
    write_sheet(folder / SHEET, learned, mix_of(recipe.channels), names)

    frozen = FrozenOutputs.of(recipe)
    if newest_state(folder) is None:
        minutes = minutes_of(recipe, folder / DATA, len(learned), device, frozen)
        print(plan_in_words(recipe, len(learned), len(held), minutes), flush=True)
    before = _kept_before(folder, recipe, held, frozen)
    print(f"before: {_in_words(before)}", flush=True)
    teller = TrainingTeller(folder if options.tensorboard else None)
    sitting = TrainingRun(
        folder / DATA, folder, device=device, max_minutes=options.max_minutes,
        report=teller.row, told=teller.step,
        judge=_Judge(evenly(held, JUDGED_PHOTOS), recipe.learn == "no-prompt", frozen),
        frozen=frozen,
    )  # fmt: skip
    train(recipe, sitting)
    if not is_done(folder, recipe.steps):
        print(f"Stopped. The checkpoint is in {folder}. Run the same command to resume.")
        return
    finish(folder, recipe, report, held, before, options.bundle, frozen)
    if options.json is not None:
        write_whole(options.json, (folder / RESULT).read_bytes())


def _prepared(options: TuningOptions) -> DataReport:
    """Write the data to the run folder and return its report. Raises like `_opened`."""
    with tempfile.TemporaryDirectory() as scratch:
        source = _opened(options.data, options, Path(scratch) / "data")
        held = None
        if options.val is not None:
            held = _opened(options.val, options, Path(scratch) / "val")
        return prepare(source, held, options.output / DATA)


def _opened(path: Path, options: TuningOptions, scratch: Path) -> Dataset:
    """Read the annotated images of a dataset, or of a project, whose accepted masks are exported
    below `scratch`. Raises DataError, InputError or MissingExtra."""
    if options.form is not None or not (path / PROJECT).is_dir():
        return read(
            path, options.form, options.images, on_bad=options.on_bad, crowd=options.crowd,
            mask_values=options.mask_values,
        )  # fmt: skip
    from anymask import Project

    project, exported = Project(path), scratch / path.resolve().name
    try:
        project.export(exported, "set", only="labelled", images=True)
    finally:
        project.close()
    return read(exported)


def _checked_start(options: TuningOptions) -> tuple[str, str]:
    """Return model name and starting weights: a file, a folder of adapters, or "shipped".

    The weights are opened once before the data is read. Raises InputError, ModelError or
    WeightsError.
    """
    variant, start = named(options.model, options.weights)
    start = start or "shipped"
    check_method(variant, options.method)
    check_parts(variant, options.accumulate)
    if (options.output / RECIPE).is_file():
        refuse_other_options(options.output, asked(options))
    else:
        learn = "all" if options.method == "auto" else LEARN[options.method]
        recipe = Recipe(model=variant, init=start, learn=learn)
        starting_module(options.output, recipe)
    return variant, start


def wanted_classes(asks: str) -> list[str] | None:
    """Parse `--classes`: names, or a .txt file with one name a line. None for "all".

    Raises InputError or DataError.
    """
    if asks == "all":
        return None
    if Path(asks).suffix.lower() == ".txt":
        return [*read_class_list(asks)]
    return [word.strip() for word in asks.split(",")]


def _kept_recipe(
    variant: str,
    start: str,
    options: TuningOptions,
    report: DataReport,
    photos: Sequence[AnnotatedImage],
) -> Recipe:
    """Return the stored recipe of a run, or create it; other options cannot change it later.

    Raises InputError.

    Args:
        start: A file, a folder of adapters, or "shipped".
        photos: Training images.
    """
    path = options.output / RECIPE
    if path.is_file():
        return recipe_of(parse_json(path.read_bytes(), path), str(path))
    recipe = tuning_recipe(
        variant, chosen_method(options, report.photos), report.photos, init=start,
        pictures=options.pictures, nested=report.nested, kind=options.kind,
    )  # fmt: skip
    asks = options.classes or ("all" if options.method == "no-prompt" else None)
    if asks is not None:
        labels = [one.label or "" for photo in photos for one in photo.objects]
        names = class_names(labels, wanted_classes(asks), report.classes)
        recipe = dataclasses.replace(recipe, classes=names)
    mix = None if start == "shipped" else channels_of_weights(Path(start))
    if mix is not None and options.channels not in (None, mix.count):
        raise InputError(
            f"{start} was fine-tuned on images with {mix.count} channels, but "
            f"channels={options.channels} was given. Omit channels, or start from other weights."
        )
    if mix is None and options.channels is not None:
        paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
        mix = starting_mix(paths, options.channels, options.rgb)
    if mix is not None:
        recipe = dataclasses.replace(recipe, channels=dataclasses.asdict(mix))
    options.output.mkdir(parents=True, exist_ok=True)
    made = dataclasses.asdict(with_fields(recipe, options))
    write_json(options.output / OPTIONS, asked(options), indent=1)
    write_json(path, made, indent=1)
    return recipe_of(parse_json(path.read_bytes(), path), str(path))


def _kept_before(
    folder: Path, recipe: Recipe, held: Sequence[AnnotatedImage], frozen: FrozenOutputs | None
) -> Measured:
    """Return the metrics of the starting weights, computed once."""
    path = folder / "before.json"
    if not path.is_file():
        start = starting_module(folder, recipe)
        measured = measure(model_of(start if frozen is None else frozen.attach(start)), held)
        write_json(path, {"ious": measured.ious.tolist(), "places": measured.places})
    kept = parse_json(path.read_bytes(), path)
    return Measured(np.array(kept["ious"]), [(int(a), int(b)) for a, b in kept["places"]])


@dataclass(frozen=True)
class _Judge:
    """Mean IoU over the clicks on some held-out images, or over the classes if only these are
    trained. Must be picklable for worker processes."""

    photos: Sequence[AnnotatedImage]
    by_classes: bool = False
    frozen: FrozenOutputs | None = None

    def __call__(self, module: nn.Module) -> float:
        if self.by_classes:
            ious = class_ious(model_of(module), self.photos).values()
            score = float(np.mean([iou for iou in ious if iou is not None] or [0.0]))
            print(f"held-out images: mean IoU over the classes {score:.3f}", flush=True)
            return score
        known = module if self.frozen is None else self.frozen.attach(module)
        score = float(measure(model_of(known), self.photos).ious.mean())
        print(f"held-out images: mean IoU over {CLICKS} clicks {score:.3f}", flush=True)
        return score


def finish(
    folder: Path,
    recipe: Recipe,
    report: DataReport,
    held: Sequence[AnnotatedImage],
    before: Measured,
    bundle: Path | None,
    frozen: FrozenOutputs | None = None,
) -> None:
    """Write weights, verify that the reloaded file gives the same metrics, then write reports."""
    import anymask

    found = newest_state(folder)
    assert found is not None  # the run has just finished
    module, outcome, end = choose_end(folder, recipe, found[1], held, before, frozen)
    figures: dict[str, Any] = {"clicks": CLICKS, "kept": "start" if outcome.started else "trained"}
    if not outcome.started:
        figures |= {"step": "best" if end.judged else "last", "share": end.share}
    figures |= {"before": outcome.before.means(), "after": outcome.kept.means()}
    figures |= {"trained": outcome.trained.means()} if outcome.started else {}
    data, licence = report.stated(), licence_with_data(recipe, report.licences())
    about = {"data": data, "figures": figures, "licence": licence}
    write_weights(folder / WEIGHTS, module, recipe, about)
    again = anymask.load(str(folder / WEIGHTS), device="cpu", runtime="torch")
    apart = difference(measure(again, held), outcome.kept)
    if apart:
        raise AnymaskError(
            f"{folder / WEIGHTS} was written, but the loaded file predicts masks that differ "
            f"from those of the trained model (IoU difference {apart:.2g}). Report this as a "
            f"bug and attach {folder / RECIPE}."
        )
    kinds = class_ious(again, held) if recipe.classes else {}
    if adapters_are_all(recipe) and not outcome.started:
        _write_adapters(folder, recipe, state_at(found[1], end))
    write_page(folder, again, held, outcome, report, recipe, kinds)
    export_beside(folder / WEIGHTS)
    if bundle is not None:
        write_module(module, bundle, licence)
    figures |= {"class_ious": kinds} if kinds else {}
    write_json(folder / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    told = [
        f"class {name}: IoU on held-out images {'-' if k is None else k}"
        for name, k in kinds.items()
    ]
    told += [f"after:  {_in_words(outcome.trained)}"]
    told += [outcome.verdict(), "" if outcome.started else end.in_words()]
    told += [tidy(folder), f"{folder / WEIGHTS}  {folder / PAGE}"]
    print("\n".join(line for line in told if line))


def adapters_are_all(recipe: Recipe) -> bool:
    """Return whether the trained weights consist of adapters for the model's released weights.

    This is not the case if the run started from other weights, or mixes channels.
    """
    return recipe.learn == "lora" and recipe.init == "shipped" and not recipe.channels


def _write_adapters(folder: Path, recipe: Recipe, state: dict[str, Any]) -> None:
    from anymask import models

    module = models.build(recipe.model)
    set_learning(module, recipe)
    module.load_state_dict(state["average"])
    save_adapters(module, folder / ADAPTER, recipe.model, recipe.lora_alpha)


def write_page(
    folder: Path,
    model: Model,
    held: Sequence[AnnotatedImage],
    outcome: TuningOutcome,
    report: DataReport,
    recipe: Recipe,
    kinds: Mapping[str, float | None],
) -> None:
    """Write the report as an HTML page.

    Args:
        model: Model with the written weights.
        held: Held-out images.
        outcome: Metrics before and after training.
        kinds: IoU of each trained class.
    """
    before, after = outcome.before, outcome.trained
    counts = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, after.ious.shape[1] + 1)]
    table = gain_table("mean IoU on held-out masks", counts, before.means(), after.means())
    told = [outcome.verdict(), f"{len(after.places)} masks on {len(held)} held-out images"]
    rows = [[name, "-" if iou is None else f"{iou:.3f}"] for name, iou in kinds.items()]
    names = own_names(folder / DATA)
    shown = [names.get(photo.name, photo.name) for photo in held]
    parts = [
        section("Before and after", table, *(note(line) for line in told if line)),
        section("Classes", html_table(["class", "IoU on held-out images"], rows, [1]))
        if rows
        else "",
        curve(folder, "held_out", "mean IoU on held-out masks, averaged over the clicks"),
        worst_answers(model, held, outcome.kept, shown),
        section("Data", *(note(line) for line in report.lines())),
    ]
    stage = recipe.stages[0]
    about = f"{recipe.model}, learn = {recipe.learn}, {stage.steps} steps at {stage.side} pixels"
    write_whole(folder / PAGE, html_page("Fine-tuning", about, [one for one in parts if one]))


def _in_words(measured: Measured) -> str:
    shown = ", ".join(f"{value:.3f}" for value in measured.means())
    counts = " / ".join(map(str, range(1, CLICKS + 1)))
    return f"mean IoU on held-out masks after {counts} clicks: {shown}"
