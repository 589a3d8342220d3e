"""Fine-tuning on annotated images, with a report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from anymask import models
from anymask.base import AnymaskError, InputError, as_settings, claimed, write_json, write_whole
from anymask.formats import load_set, read
from anymask.runtime import pick_device
from anymask.runtime.open import stated_model
from anymask.training.channels import mix_of
from anymask.training.export_folder import export_beside
from anymask.training.finetune_recipe import RECIPE, check_start, options_to_recipe, stored_recipe
from anymask.training.frozen import FrozenOutputs
from anymask.training.held_out import (
    CLICKS,
    Measured,
    TuningEnd,
    TuningOutcome,
    choose_end,
    class_ious,
    difference,
    measure,
    measured_once,
    model_of,
    state_at,
    subsample,
)
from anymask.training.loop import TrainingRun, train_with_progress
from anymask.training.lora import save_adapters
from anymask.training.options import TuningOptions, check_end, need_torch
from anymask.training.recipe import Recipe
from anymask.training.reports import PAGE, RESULT, minutes_of, plan_in_words, write_page
from anymask.training.run_folder import (
    check_one_process,
    license_with_data,
    newest_state,
    tidy,
    write_module,
)
from anymask.training.samples import SetImages
from anymask.training.trainee import set_learning, starting_module
from anymask.training.tuning_data import (
    DATA,
    HELD_OUT,
    TRAIN,
    DataReport,
    check_terms,
    doubts,
    own_names,
    prepare,
    write_sheet,
)
from anymask.training.weights import WEIGHTS, write_weights

if TYPE_CHECKING:
    from torch import nn

    from anymask.formats import AnnotatedImage, Dataset
    from anymask.keywords import TuningSettings
    from anymask.segment import Model

PROJECT_FOLDER = ".anymask"  # in the folder of a project
ADAPTER_FOLDER, DATA_SHEET = "adapter", "data.jpg"  # in the run folder
INITIAL_METRICS = "before.json"  # metrics of the starting weights, in the run folder
JUDGED_IMAGES = 16  # held-out images that are evaluated during training
MEASURED_IMAGES = 100  # held-out images that are evaluated before and after training


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
        data: File or folder of annotations that `anymask.read` reads; with `method="memory"`, a
            folder of annotated clips.
        out: Folder for checkpoints, weights.safetensors, result.json and report.html.
        model: Name from `anymask models list`, or the folder or weights.safetensors of an earlier
            run. Default: the model that `weights` state, else the model that images are segmented
            with, "small" unless ANYMASK_MODEL names another one.
        settings: Fields of `anymask.training.TuningOptions`.

    Returns:
        Path of the weights for `anymask.load`. It does not exist if `max_minutes` ended the call.

    Raises:
        InputError: An option is invalid.
        DataError: The annotations are invalid.
        ModelError, WeightsError, MissingExtra: The model cannot be loaded, or PyTorch is missing.
    """
    chosen = model or stated_model(settings.get("weights"))
    options = as_settings(TuningOptions, settings, data=Path(data), output=Path(out), model=chosen)
    need_torch()
    check_end(options.data, options)
    check_one_process("anymask finetune")
    start = check_start(options)
    with claimed(options.output):
        if options.method == "memory":
            from anymask.training.memory_tuning import tune_memory

            tune_memory(options, start)
            return options.output / WEIGHTS
        run = prepare_data(options, start)
        folder, recipe, path = run.folder, run.recipe, run.folder / WEIGHTS
        judge = _Judge(subsample(run.held, JUDGED_IMAGES), recipe.learn == "no-prompt", run.frozen)
        sitting = TrainingRun(
            folder / DATA, folder, device=run.device, max_minutes=options.max_minutes, judge=judge,
            frozen=run.frozen,
        )  # fmt: skip
        if train_with_progress(recipe, sitting, print):
            checkpoint = newest_state(folder)
            assert checkpoint is not None  # the run has just finished
            ended = choose_end(folder, recipe, checkpoint[1], run.held, run.before, run.frozen)
            selected = SelectedCheckpoint(*ended, checkpoint[1])
            import anymask

            licence = license_with_data(recipe, run.data.licences())
            about = {"data": run.data.stated(), "figures": selected.figures(), "licence": licence}
            write_weights(path, selected.module, recipe, about)
            tuned = anymask.load(str(path), device="cpu", runtime="torch")
            if apart := difference(measure(tuned, run.held), selected.outcome.kept):
                raise AnymaskError(
                    f"{path} was written, but the loaded file predicts masks that differ "
                    f"from those of the trained model (IoU difference {apart:.2g}). Report this as "
                    f"a bug and attach {folder / RECIPE}."
                )
            if adapters_are_all(recipe) and not selected.outcome.started:
                module = models.build(recipe.model)
                set_learning(module, recipe)
                module.load_state_dict(state_at(selected.state, selected.end)["average"])
                save_adapters(module, folder / ADAPTER_FOLDER, recipe.model, recipe.lora_alpha)
            export_beside(path)
            if run.options.bundle is not None:
                write_module(selected.module, run.options.bundle, licence)
            report_gain(run, selected, tuned)
    return options.output / WEIGHTS


@dataclass(frozen=True)
class TuningRun:
    """A run whose data is prepared."""

    options: TuningOptions  # Options of the call
    recipe: Recipe  # Recipe of the training
    data: DataReport  # Report on the training data
    held: Sequence[AnnotatedImage]  # Held-out images that are evaluated before and after training
    before: Measured  # Metrics of the starting weights
    # Outputs of frozen layers, computed once; None if no layer is frozen
    frozen: FrozenOutputs | None
    device: str  # Device of the training

    @property
    def folder(self) -> Path:
        """Run folder."""
        return self.options.output


@dataclass(frozen=True)
class SelectedCheckpoint:
    """The checkpoint that is kept."""

    module: nn.Module  # Network with its weights
    outcome: TuningOutcome  # Metrics before and after training
    end: TuningEnd  # Origin of the weights
    state: dict[str, Any]  # Last checkpoint of the run

    def figures(self) -> dict[str, Any]:
        """Return the metrics and the origin as JSON values."""
        outcome = self.outcome
        figures: dict[str, Any] = {"clicks": CLICKS}
        if outcome.started:
            figures |= {"kept": "start", "trained": outcome.trained.means()}
        else:
            step = "best" if self.end.judged else "last"
            figures |= {"kept": "trained", "step": step, "share": self.end.share}
        return figures | {"before": outcome.before.means(), "after": outcome.kept.means()}


def prepare_data(options: TuningOptions, start: tuple[str, str]) -> TuningRun:
    """Write the data and the recipe to the run folder, and evaluate the starting weights.

    Raises InputError or DataError.

    Args:
        start: Model variant and its weights.
    """
    folder, device = options.output, str(pick_device(options.device))
    report = _prepared(options)
    print("\n".join(report.lines()), flush=True)
    learned = load_set(folder / DATA / TRAIN)[1]
    held = subsample(load_set(folder / DATA / HELD_OUT)[1], MEASURED_IMAGES)
    recipe = stored_recipe(options, lambda: options_to_recipe(options, start, report, learned))
    SetImages.of(recipe, folder / DATA)  # rejects masks that no training crop can show
    names = own_names(folder / DATA)
    for line in doubts(learned, names, recipe.channels):
        print(line, flush=True)
    write_sheet(folder / DATA_SHEET, learned, mix_of(recipe.channels), names)
    frozen = FrozenOutputs.of(recipe)
    if newest_state(folder) is None:
        minutes = minutes_of(recipe, folder / DATA, len(learned), device, frozen)
        print(plan_in_words(recipe, len(learned), len(held), minutes), flush=True)

    attach = frozen.attach if frozen is not None else lambda module: module
    before = measured_once(
        folder / INITIAL_METRICS,
        CLICKS,
        lambda: measure(model_of(attach(starting_module(folder, recipe))), held),
    )
    print(f"before: {_in_words(before)}", flush=True)
    return TuningRun(options, recipe, report, held, before, frozen, device)


def report_gain(run: TuningRun, selected: SelectedCheckpoint, tuned: Model) -> None:
    """Write result.json and report.html, and print the metrics before and after training."""
    folder, recipe, outcome = run.folder, run.recipe, selected.outcome
    kinds = class_ious(tuned, run.held) if recipe.classes else {}
    write_page(folder, tuned, run.held, outcome, run.data, recipe, kinds)
    result = {"weights": WEIGHTS, **selected.figures()} | ({"class_ious": kinds} if kinds else {})
    write_json(folder / RESULT, {**result, "data": run.data.stated()}, indent=1)
    for name, iou in kinds.items():
        print(f"class {name}: IoU on held-out images {'-' if iou is None else iou}")
    lines = [
        f"after:  {_in_words(outcome.trained)}", outcome.verdict(),
        "" if outcome.started else selected.end.describe(), tidy(folder),
        f"wrote {folder / WEIGHTS}", f"wrote {folder / PAGE}",
    ]  # fmt: skip
    print("\n".join(filter(None, lines)))
    if run.options.json is not None:
        write_whole(run.options.json, (folder / RESULT).read_bytes())


def _prepared(options: TuningOptions) -> DataReport:
    """Write the training and the validation split to the run folder, and return their report.

    Raises like `_opened`, and InputError if the dataset has other splits, but none for training.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = _opened(options.data, options, Path(scratch) / "data")
        learned = data.of_role("train") if options.split is None else data.part(options.split)
        held = data.of_role("val")
        if learned is None and (data.of_role("test") or (held and len(data.splits) > 1)):
            raise InputError(
                f"{options.data} has no split train, only {', '.join(data.splits)}. Set split to "
                "one."
            )
        source, held = learned or data, held if learned else None
        if options.val is not None:
            held = _opened(options.val, options, Path(scratch) / "val")
            held = held.of_role("val") or held
        report = prepare(source, held, options.output / DATA)
    if not options.accept_terms:
        check_terms(report)
    return report


def _opened(path: Path, options: TuningOptions, scratch: Path) -> Dataset:
    """Read the annotated images of a dataset, or of a project, whose accepted masks are exported
    below `scratch`. Raises DataError, InputError or MissingExtra."""
    if options.format is not None or not (path / PROJECT_FOLDER).is_dir():
        return read(
            path, options.format, options.images, on_bad=options.on_bad, crowd=options.crowd,
            mask_values=options.mask_values,
        )  # fmt: skip
    from anymask import Project

    project, exported = Project(path), scratch / path.resolve().name
    try:
        project.export(exported, "set", only="labeled", images=True)
    finally:
        project.close()
    return read(exported)


@dataclass(frozen=True)
class _Judge:
    """Mean IoU over the clicks on some held-out images, or over the classes if only these are
    trained. Must be picklable for worker processes."""

    images: Sequence[AnnotatedImage]
    by_classes: bool = False
    frozen: FrozenOutputs | None = None

    def __call__(self, module: nn.Module) -> float:
        if self.by_classes:
            ious = class_ious(model_of(module), self.images).values()
            score = float(np.mean([iou for iou in ious if iou is not None] or [0.0]))
            print(f"held-out images: mean IoU over the classes {score:.3f}", flush=True)
            return score
        known = module if self.frozen is None else self.frozen.attach(module)
        score = float(measure(model_of(known), self.images).ious.mean())
        print(f"held-out images: mean IoU over {CLICKS} clicks {score:.3f}", flush=True)
        return score


def adapters_are_all(recipe: Recipe) -> bool:
    """Return whether the trained weights consist of adapters for the model's released weights.

    This is not the case if the run started from other weights, or mixes channels.
    """
    return recipe.learn == "lora" and recipe.init == "shipped" and not recipe.channels


def _in_words(measured: Measured) -> str:
    shown = ", ".join(f"{value:.3f}" for value in measured.means())
    counts = " / ".join(map(str, range(1, CLICKS + 1)))
    return f"mean IoU on held-out masks after {counts} clicks: {shown}"
