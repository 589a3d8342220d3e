"""Fine-tuning of a video model's memory on annotated clips, with a report (`method="memory"`).

Windows of the clips are trained at a smaller side than the model's, because the time of memory
attention grows with the fourth power of the side. Candidates are compared by J & F of tracking at
this side. The best one is kept if it is no worse than the start at the model's side as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from anymask import models
from anymask.base import InputError, list_settings, parse_json, write_json, write_whole
from anymask.evaluation import follow_given, open_clips, page
from anymask.formats import Clip, located
from anymask.models.video_model import VideoModel
from anymask.runtime import pick_device
from anymask.track import VideoSession, open_session
from anymask.training.clips import (
    MIN_FRAMES,
    WINDOW_FRAMES,
    annotated_part,
    clips_hash,
    draw_window,
    frame_spec,
    training_clips,
    usable_parts,
    validation_clips,
)
from anymask.training.export_folder import export, export_beside
from anymask.training.finetune_recipe import stored_recipe
from anymask.training.frozen import FrozenOutputs
from anymask.training.held_out import (
    Measured,
    TuningEnd,
    ends_of,
    gained,
    measured_once,
    model_of,
    network_at,
)
from anymask.training.interaction import Draws
from anymask.training.loop import TrainingRun, train_with_progress
from anymask.training.options import TuningOptions
from anymask.training.presets import memory_recipe
from anymask.training.recipe import Recipe
from anymask.training.reports import PAGE, RESULT, curve, gain_table, seconds_of_steps
from anymask.training.run_folder import license_with_data, newest_state, tidy
from anymask.training.step import build_step
from anymask.training.trainee import build_trainee, learning_mode, starting_module
from anymask.training.weights import WEIGHTS, write_weights

MAX_FRAME_SIDE = 512  # of training frames, if the model's is larger
CLIPS, CLIP_FRAMES = 4, 12  # evaluated clips, and annotated frames of each
FEW_CLIPS = 5  # number of clips from which a fifth is held out
CLIPS_FILE = "clips.json"  # in the run folder
SUPPORTED = {
    "data", "output", "model", "weights", "method", "val", "samples", "side", "keep", "device",
    "max_minutes", "bundle", "json", "accept_terms",
}  # fmt: skip


@dataclass(frozen=True)
class ClipScorer:
    """J and F of tracking from the first masks; callable for the training loop."""

    clips: Sequence[Clip]  # Evaluated clips
    side: int  # Input side of the model in pixels
    frozen: FrozenOutputs  # Cache of encoded frames

    def measure(self, module: nn.Module) -> Measured:
        """Return J and F (N, 2) of each object, and its (clip, object) numbers."""
        model = model_of(self.frozen.attach(cast(VideoModel, module).resized(self.side)))

        def follow(clip: Clip) -> VideoSession:
            return open_session(model, list(clip.frames), tracker="memory")

        scores, places = [], []
        for number, clip in enumerate(self.clips):
            for object_scores in follow_given(clip, follow):
                scores.append((object_scores.scores.j.mean, object_scores.scores.f.mean))
                places.append((number, object_scores.number))
        return Measured(np.array(scores), places)

    def baseline(self, path: Path, recipe: Recipe) -> Measured:
        """Return the metrics before training, which are kept in a file of the run folder."""
        return measured_once(path, 2, lambda: self.measure(starting_module(path.parent, recipe)))

    def __call__(self, module: nn.Module) -> float:
        score = float(self.measure(module).ious.mean())
        print(f"evaluated clips: J & F {score:.3f}", flush=True)
        return score


@dataclass(frozen=True)
class ClipRun:
    """A run whose data is prepared."""

    options: TuningOptions  # Options of the call
    recipe: Recipe  # Recipe of the training
    about: dict[str, Any]  # Description of the data, as JSON values
    held_out: frozenset[str]  # Names of training clips that are only evaluated
    scorer: ClipScorer  # Evaluation at the side of the training
    before: Measured  # Metrics of the starting weights


def tune_memory(options: TuningOptions, start: tuple[str, str]) -> None:
    """Fine-tune the memory of a video model, or resume the run in the folder.

    Args:
        options: Options of the call.
        start: Model variant and its weights.

    Raises:
        InputError: An option is not supported, or the data differs from that of the run.
        DataError: The clips are invalid.
    """
    run = prepare_clips(options, start)
    sitting = TrainingRun(
        options.data, options.output, device=str(pick_device(options.device)),
        max_minutes=options.max_minutes, judge=run.scorer, held_out=run.held_out,
        frozen=run.scorer.frozen,
    )  # fmt: skip
    if train_with_progress(run.recipe, sitting, print):
        write_best(run)


def prepare_clips(options: TuningOptions, start: tuple[str, str]) -> ClipRun:
    """Split the clips, store the recipe, and evaluate the starting weights. Raises as
    `tune_memory`."""
    for setting in list_settings(TuningOptions):
        default = TuningOptions.__dataclass_fields__[setting.name].default
        if setting.name not in SUPPORTED and getattr(options, setting.name) != default:
            raise InputError(
                f"Option {setting.option} is not supported with method='memory'. Omit it."
            )
    folder, (variant, weights) = options.output, start
    skipped: list[str] = []
    clips = training_clips(options.data, skipped)
    opened = open_clips(options.val) if options.val else validation_clips(options.data)
    held, names = held_out_clips(clips, opened, skipped)
    if few := ", ".join(skipped):
        print(f"Skipped {len(skipped)} clips with fewer than {MIN_FRAMES} annotated frames: {few}")
    learned = [clip for clip in clips if clip.name not in names]
    frames = sum(len(clip.frames) for clip in learned)
    side = training_side(variant, options.side)

    def made() -> Recipe:
        recipe = memory_recipe(variant, frames, side, init=weights, steps=options.samples)
        return recipe if options.keep is None else replace(recipe, keep=options.keep)

    about = {
        "clips": len(learned), "frames": frames, "evaluated": [clip.name for clip in held],
        "held_out": bool(names or opened), "sha256": clips_hash([*clips, *held]),
    }  # fmt: skip
    check_same(folder / CLIPS_FILE, about)
    recipe = stored_recipe(options, made)
    write_json(folder / CLIPS_FILE, about, indent=1)
    evaluated = [annotated_part(clip, CLIP_FRAMES) for clip in held[:CLIPS]]
    scorer = ClipScorer(evaluated, recipe.stages[0].side, FrozenOutputs(recipe.learn))
    print(described(about), flush=True)
    if newest_state(folder) is None:
        minutes = minutes_of(recipe, folder, learned, scorer.frozen)
        print(
            f"Plan: fine-tune the memory and the mask decoder of {variant} for at most "
            f"{recipe.steps} steps of {WINDOW_FRAMES} frames at {scorer.side} pixels, about "
            f"{max(1, round(minutes))} min on a CPU, in addition to the evaluations.",
            flush=True,
        )
    before = scorer.baseline(folder / "before.json", recipe)
    print(f"before: {describe(before, scorer.side)}", flush=True)
    return ClipRun(options, recipe, about, names, scorer, before)


def training_side(variant: str, requested: int | None) -> int:
    """Return the side of the training frames. Raises InputError if the model does not support it.

    A memory of few tokens (EdgeTAM) is trained at the model's side, because their positions do not
    scale with the side.
    """
    with torch.device("meta"):
        config = cast(VideoModel, models.build(variant)).config
    own = models.spec(variant).image_side
    side = requested or (own if config.perceiver is not None else min(own, MAX_FRAME_SIDE))
    step = 64 if config.perceiver is None else max(64, 16 * config.perceiver.side)
    if side % step or side > own:
        raise InputError(
            f"{variant} does not support side={side}. Use a multiple of {step} up to {own}."
        )
    return side


def held_out_clips(
    clips: Sequence[Clip], val: Sequence[Clip], skipped: list[str] | None = None
) -> tuple[list[Clip], frozenset[str]]:
    """Return the evaluated clips, and the names of those that are excluded from training.

    Without `val`, a fifth of the clips is held out, which depends on their content only. Fewer than
    `FEW_CLIPS` clips are trained and evaluated.
    """
    by_hash = {clips_hash([clip]): clip for clip in clips}
    if val:
        held = usable_parts(val, skipped)
        known = {clips_hash([clip]) for clip in held}
        return held, frozenset(clip.name for key, clip in by_hash.items() if key in known)
    if len(by_hash) < FEW_CLIPS:
        return [*clips], frozenset()
    chosen = [by_hash[key] for key in sorted(by_hash)[: len(by_hash) // FEW_CLIPS]]
    return chosen, frozenset(clip.name for clip in chosen)


def check_same(path: Path, about: dict[str, Any]) -> None:
    """Raise InputError if the run was created with other clips."""
    with located(path):
        other = path.is_file() and parse_json(path.read_bytes(), path)["sha256"] != about["sha256"]
    if other:
        raise InputError(
            f"{path.parent} was created with other clips or masks. Choose another run folder."
        )


def described(about: dict[str, Any]) -> str:
    """Describe the data in a sentence."""
    kind = "held-out clips" if about["held_out"] else "of the training clips"
    return (
        f"Training clips: {about['clips']}, annotated frames: {about['frames']}. Evaluated on "
        f"{min(CLIPS, len(about['evaluated']))} {kind}, at most {CLIP_FRAMES} frames each"
    )


def minutes_of(recipe: Recipe, folder: Path, clips: Sequence[Clip], frozen: FrozenOutputs) -> float:
    """Estimate the duration of all steps on one core by timing a window with and without
    encoding."""
    model = learning_mode(build_trainee(recipe, folder), recipe)
    step = build_step(frozen.attach(model), recipe)
    spec = frame_spec(models.spec(recipe.model), recipe.stages[0].side)
    batch = draw_window(clips, spec, np.random.default_rng(recipe.seed))
    draws = Draws(recipe.seed, 0, range(1))
    first, later = seconds_of_steps(lambda: step(batch, 0.0, draws).loss, 2, one_core=True)
    frames = min(sum(len(clip.frames) for clip in clips), recipe.steps * WINDOW_FRAMES)
    return (recipe.steps * later + max(0.0, first - later) / WINDOW_FRAMES * frames) / 60


@dataclass(frozen=True)
class ClipOutcome:
    """Metrics of the start and of the written weights at the model's side."""

    before: Measured  # Metrics of the starting weights
    after: Measured  # Metrics of the written weights
    end: TuningEnd | None  # Origin of the written weights, None for the start
    side: int  # Side in pixels

    def figures(self) -> dict[str, Any]:
        """Return the metrics and the origin as JSON values."""
        figures: dict[str, Any] = {"kept": "start" if self.end is None else "trained"}
        if self.end is not None:
            figures |= {"step": "best" if self.end.judged else "last", "share": self.end.share}
        measures = {"before": table_row(self.before), "after": table_row(self.after)}
        return figures | {"side": self.side, "columns": ["J&F", "J", "F"]} | measures

    def verdict(self) -> str:
        """Describe which weights are written."""
        if self.end is not None:
            return self.end.describe()
        return (
            "No improvement: J & F of the trained weights is no higher than before. The starting "
            "weights were kept. Annotate more clips, or increase --samples."
        )


def write_best(run: ClipRun) -> None:
    """Select the weights, and write them with the report, result.json and exported models."""
    folder, path = run.options.output, run.options.output / WEIGHTS
    module, outcome = select_weights(run)
    figures = outcome.figures()
    about = {"data": run.about, "figures": figures, "licence": license_with_data(run.recipe)}
    write_weights(path, module, run.recipe, about)
    write_json(folder / RESULT, {"weights": WEIGHTS, **figures, "data": run.about}, indent=1)
    write_report(run, outcome)
    export_beside(path, video=True)
    if run.options.bundle is not None:
        export(path, run.options.bundle, video=True)
    if run.options.json is not None:
        write_whole(run.options.json, (folder / RESULT).read_bytes())
    print(f"after: {describe(outcome.after, outcome.side)}")
    print(f"{outcome.verdict()}\n{tidy(folder)}\nwrote {path}\nwrote {folder / PAGE}")


def select_weights(run: ClipRun) -> tuple[nn.Module, ClipOutcome]:
    """Return the best candidate, or the start if none is better, and its metrics."""
    folder, recipe = run.options.output, run.recipe
    newest = newest_state(folder)
    assert newest is not None  # the run has just finished
    best, chosen = run.before, None
    for end in ends_of(recipe, newest[1]):  # one network at a time, to limit memory
        measured = run.scorer.measure(network_at(folder, recipe, newest[1], end))
        if gained(best, measured):
            best, chosen = measured, end
    side, before = models.spec(recipe.model).image_side, run.before
    if side != run.scorer.side:
        scorer = replace(run.scorer, side=side)
        before = scorer.baseline(folder / f"before_{side}.json", recipe)
        if chosen is not None:
            best = scorer.measure(network_at(folder, recipe, newest[1], chosen))
            chosen = chosen if gained(before, best) else None
    if chosen is None:
        return starting_module(folder, recipe), ClipOutcome(before, before, None, side)
    return network_at(folder, recipe, newest[1], chosen), ClipOutcome(before, best, chosen, side)


def write_report(run: ClipRun, outcome: ClipOutcome) -> None:
    """Write the report as an HTML page."""
    stage = run.recipe.stages[0]
    table = gain_table(
        f"tracking at {outcome.side} pixels", ("J & F", "J", "F"), table_row(outcome.before),
        table_row(outcome.after),
    )  # fmt: skip
    parts = [
        page.section("Before and after", table, page.note(outcome.verdict())),
        curve(run.options.output, "held_out", f"J & F of the evaluated clips, {stage.side} pixels"),
        page.section("Data", page.note(described(run.about))),
    ]
    about = f"{run.recipe.model}, memory, {stage.steps} steps at {stage.side} pixels"
    write_whole(run.options.output / PAGE, page.html_page("Fine-tuning on clips", about, parts))


def table_row(measured: Measured) -> list[float]:
    """Return J & F, J and F."""
    j, f = measured.means()
    return [round((j + f) / 2, 4), j, f]


def describe(measured: Measured, side: int) -> str:
    """Describe J & F in a line."""
    both, j, f = table_row(measured)
    return f"J & F {both:.3f} (J {j:.3f}, F {f:.3f}) at {side} pixels"
