"""Fine-tuning: annotated photos of any format in, a tuned model and its report out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np

from anymask.base import AnymaskError, InputError, parse_json, write_json, write_whole
from anymask.cli import need_torch
from anymask.masks import ChannelMix
from anymask.models.rules import DEFAULT_MODEL
from anymask.training.held_out import (
    CLICKS,
    Measured,
    TuningOutcome,
    class_ious,
    difference,
    evenly,
    measure,
    model_of,
)
from anymask.training.options import (
    TuningOptions,
    check_end,
    check_options,
    check_parts,
    check_same_options,
    check_way,
    keep_options,
    named,
    with_fields,
    with_paths,
)
from anymask.training.tuned_weights import (
    WEIGHTS,
    licence_with_data,
    starting_module,
    write_weights,
)
from anymask.training.tuning_choice import TuningEnd, choose_end, state_at

if TYPE_CHECKING:
    from torch import nn

    from anymask.formats import AnnotatedImage
    from anymask.training.presets import Way
    from anymask.training.recipe import Recipe
    from anymask.training.tuning_data import DataReport

DATA, RESULT, PAGE, ADAPTER = "data", "result.json", "report.html", "adapter"
JUDGED_PHOTOS = 16  # while training
MEASURED_PHOTOS = 100  # before and after, of more that are held out
SHEET = "data.jpg"
MB = 1_000_000


class TuningSettings(TypedDict, total=False):
    """What `finetune` takes besides.

    weights      start from this file, not from the model's own
    way          "full", "decoder" (the encoder stays), "lora" (small adapters), "hq" (what SAM-HQ
                 adds to SAM)
    val          held-out pictures (default: a fifth of `data`)
    form         of `data` and `val` (default: recognised)
    images       the folder of their pictures
    pictures     to see (default: by how many there are)
    kind         of pictures: "microscopy" and "satellite" have no side up, "medical" are turned
                 never and prompted by boxes first (default: "photos")
    classes      "all" or "NAME,NAME": labels that it learns to tell apart
    channels     the pictures are (H, W, channels) of any type of numbers, 1 to 16, and no photos
    rgb          which of them are red, green and blue, counted from 1
    keep         the last K checkpoints beside last.pt
    accumulate   learn each step in so many parts, which takes less memory
    lora_rank    of the adapters of way="lora" (default: 8)
    lora_alpha   their scale is lora_alpha / lora_rank (default: 16)
    device       "cpu", "cuda", "cuda:1" or "mps"
    max_minutes  end with a checkpoint after so many minutes; the same call goes on
    bundle       a new folder for the tuned model as an ONNX bundle
    json         a file for what result.json says
    tensorboard  write the log for TensorBoard, too, into events/ of `out`
    """

    weights: str | Path | None
    way: Way
    val: str | Path | None
    form: str | None
    images: str | Path | None
    pictures: int | None
    kind: Literal["photos", "microscopy", "medical", "satellite"] | None
    classes: str | None
    channels: int | None
    rgb: tuple[int, int, int] | None
    keep: int | None
    accumulate: int | None
    lora_rank: int | None
    lora_alpha: float | None
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None
    tensorboard: bool


def finetune(
    data: str | Path,
    *,
    out: str | Path,
    model: str = DEFAULT_MODEL,
    **settings: Unpack[TuningSettings],
) -> Path:
    """Fine-tune a model on annotated pictures, and measure it before and after.

    The same call goes on with what the run's folder holds. It prints how far it is.

    data         a file or folder of annotations that `anymask.read` understands
    out          the run's folder: checkpoints, weights.safetensors, result.json, report.html
    model        a name of `anymask models list`, or a weights.safetensors of an earlier run

    Returns the path of the tuned weights, which `anymask.load` takes. After `max_minutes` the file
    is not there yet.

    Raises InputError for options that cannot be meant, DataError for broken annotations,
    ModelError, WeightsError, MissingExtra without torch.
    """
    given = with_paths(settings, ("weights", "val", "images", "bundle", "json"))
    options = TuningOptions(data=Path(data), output=Path(out), model=model, **given)
    need_torch()  # to name the extra before anything else starts
    check_end(options.data, options.max_minutes, options.bundle, options.json)
    check_options(options)
    _tune(options)
    return options.output / WEIGHTS


def _tune(options: TuningOptions) -> None:
    """Tune to the end, resuming what the run's folder holds. Raises as `finetune`."""
    from anymask.formats import load_set
    from anymask.training.loop import train
    from anymask.training.recipe import recipe_of
    from anymask.training.run_folder import TrainingTeller, check_one_process, is_done
    from anymask.training.samples import SetPictures
    from anymask.training.tuning_data import HELD_OUT, TRAIN, prepare
    from anymask.training.worker import TrainingRun

    check_one_process("anymask finetune")
    folder, device = Path(options.output), _device(options)
    variant, start = _checked_start(folder, options)
    report = prepare(_stream(options.data, options), _stream(options.val, options), folder / DATA)
    print("\n".join(report.lines()), flush=True)
    learned = load_set(folder / DATA / TRAIN)[1]
    held = evenly(load_set(folder / DATA / HELD_OUT)[1], MEASURED_PHOTOS)
    recipe = _kept_recipe(
        folder, options, lambda: _recipe(variant, start, options, report, learned)
    )
    SetPictures.of(recipe, folder / DATA)  # refuses what no training picture can show
    _show_data(folder, learned, recipe)
    before = _kept_before(folder, recipe, held)
    print(f"before: {_in_words(before.means())}", flush=True)
    teller = TrainingTeller(folder if options.tensorboard else None)
    sitting = TrainingRun(
        folder / DATA, folder, device=device, max_minutes=options.max_minutes,
        report=teller.row, told=teller.step, judge=_Judge(evenly(held, JUDGED_PHOTOS)),
    )  # fmt: skip
    train(recipe_of(dataclasses.asdict(recipe), "finetune"), sitting)
    if not is_done(folder, recipe.steps):
        print(f"stopped; the checkpoint is in {folder}, the same command goes on from it")
        return
    finish(folder, recipe, report, held, before, options.bundle)
    if options.json is not None:
        write_whole(options.json, (folder / RESULT).read_bytes())


def _show_data(folder: Path, learned: Sequence[AnnotatedImage], recipe: Recipe) -> None:
    """Say what is doubtful about the data, and draw some of them."""
    from anymask.training.channels import mix_of
    from anymask.training.tuning_choice import doubts, write_sheet
    from anymask.training.tuning_data import own_names

    names = own_names(folder / DATA)
    for line in doubts(learned, names, recipe.channels):
        print(line, flush=True)
    write_sheet(folder / SHEET, learned, mix_of(recipe.channels), names)


def _checked_start(folder: Path, options: TuningOptions) -> tuple[str, str]:
    """The network that is tuned, and what it starts from: a file, a folder of adapters, "shipped".

    It is opened once before the data are read. Raises InputError, ModelError, WeightsError.
    """
    from anymask.training.presets import LEARN
    from anymask.training.recipe import Recipe

    variant, file = named(options.model, options.weights)
    check_way(variant, options.way)
    check_parts(variant, options.accumulate)
    check_same_options(folder, options)
    start = file or "shipped"
    if not (folder / "recipe.json").is_file():
        starting_module(folder, Recipe(model=variant, init=start, learn=LEARN[options.way]))
    return variant, start


def _stream(place: Path | None, options: TuningOptions) -> Any:
    from anymask.formats import read

    return None if place is None else read(place, options.form, options.images)


def _device(options: TuningOptions) -> str:
    from anymask.runtime import pick_device

    return str(pick_device(options.device))


def _recipe(
    variant: str,
    start: str,
    options: TuningOptions,
    report: DataReport,
    photos: Sequence[AnnotatedImage],
) -> Recipe:
    from anymask.training.presets import tuning_recipe

    recipe = tuning_recipe(
        variant, options.way, report.photos, init=start, pictures=options.pictures,
        nested=report.nested, kind=options.kind or "photos",
    )  # fmt: skip
    mix = _channels(start, options, photos)
    if mix is not None:
        recipe = dataclasses.replace(recipe, channels=dataclasses.asdict(mix))
    return with_fields(
        dataclasses.replace(recipe, classes=_classes(options.classes, photos)), options
    )


def _classes(words: str | None, photos: Sequence[AnnotatedImage]) -> tuple[str, ...]:
    """The labels that are told apart. Raises InputError."""
    from anymask.training.classes import class_names

    if words is None:
        return ()
    wanted = None if words == "all" else [word.strip() for word in words.split(",")]
    return class_names([one.label or "" for photo in photos for one in photo.objects], wanted)


def _channels(
    start: str, options: TuningOptions, photos: Sequence[AnnotatedImage]
) -> ChannelMix | None:
    """How pictures of other channels are seen at first: as the weights say, or as new.

    Raises InputError.
    """
    from anymask.runtime import channels_of_weights
    from anymask.training.channels import starting_mix

    stated = None if start == "shipped" else channels_of_weights(Path(start))
    if stated is not None and options.channels in (None, stated.count):
        return stated
    if stated is not None:
        raise InputError(
            f"{start} was tuned on pictures of {stated.count} channels, got --channels "
            f"{options.channels}; leave it out, or start from other weights"
        )
    if options.channels is None:
        return None
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    return starting_mix(paths, options.channels, options.rgb)


def _kept_recipe(folder: Path, options: TuningOptions, make: Callable[[], Recipe]) -> Recipe:
    """The recipe that the run began with, so that another option cannot change it midway."""
    from anymask.training.recipe import recipe_of

    path = folder / "recipe.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        keep_options(folder, options)
        write_json(path, dataclasses.asdict(made), indent=1)
    return recipe_of(parse_json(path.read_bytes(), path), str(path))


def _kept_before(folder: Path, recipe: Recipe, held: Sequence[AnnotatedImage]) -> Measured:
    """What the model could before, measured once."""
    path = folder / "before.json"
    if not path.is_file():
        measured = measure(model_of(starting_module(folder, recipe)), held)
        write_json(path, {"ious": measured.ious.tolist(), "places": measured.places})
    kept = parse_json(path.read_bytes(), path)
    return Measured(np.array(kept["ious"]), [(int(a), int(b)) for a, b in kept["places"]])


@dataclass(frozen=True)
class _Judge:
    """The mean IoU over the clicks on some held-out photos; it travels to the workers."""

    photos: Sequence[AnnotatedImage]

    def __call__(self, module: nn.Module) -> float:
        measured = measure(model_of(module), self.photos)
        score = float(measured.ious.mean())
        print(f"held out: mean IoU over {CLICKS} clicks {score:.3f}", flush=True)
        return score


def finish(
    folder: Path,
    recipe: Recipe,
    report: DataReport,
    held: Sequence[AnnotatedImage],
    before: Measured,
    bundle: Path | None,
) -> None:
    """Write weights, check that they answer as measured once reloaded, then report and bundle."""
    import anymask
    from anymask.training.checkpoint import newest_state
    from anymask.training.reports import write_page
    from anymask.training.run_folder import write_module

    found = newest_state(folder)
    assert found is not None  # the run has just ended
    module, outcome, end = choose_end(folder, recipe, found[1], held, before)
    figures = _figures(outcome, end)
    data, licence = report.stated(), licence_with_data(recipe, report.licences())
    about = {"data": data, "figures": figures, "licence": licence}
    write_weights(folder / WEIGHTS, module, recipe, about)
    again = anymask.load(str(folder / WEIGHTS), device="cpu")
    _compare(measure(again, held), outcome.kept, folder)
    kinds = class_ious(again, held) if recipe.classes else {}
    if adapters_are_all(recipe) and not outcome.started:
        _write_adapters(folder, recipe, state_at(found[1], end))
    write_page(folder / PAGE, again, held, outcome, report, recipe, kinds)
    if bundle is not None:
        write_module(module, bundle, licence)
    figures |= {"class_ious": kinds} if kinds else {}
    write_json(folder / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    told = [f"class {name}: held-out IoU {'-' if k is None else k}" for name, k in kinds.items()]
    told += [f"after:  {_in_words(outcome.trained.means())}"]
    told += [outcome.verdict(), "" if outcome.started else end.in_words()]
    print("\n".join(line for line in [*told, f"{folder / WEIGHTS}  {folder / PAGE}"] if line))


def _figures(outcome: TuningOutcome, end: TuningEnd) -> dict[str, Any]:
    """Of `result.json`: "after" is of the weights that are written."""
    figures: dict[str, Any] = {"clicks": CLICKS, "kept": "start" if outcome.started else "trained"}
    if not outcome.started:
        figures |= {"step": "best" if end.judged else "last", "share": end.share}
    figures |= {"before": outcome.before.means(), "after": outcome.kept.means()}
    return figures | ({"trained": outcome.trained.means()} if outcome.started else {})


def _compare(again: Measured, after: Measured, folder: Path) -> None:
    """Raises AnymaskError where the reloaded model does not answer as the trained one."""
    apart = difference(again, after)
    if apart:
        raise AnymaskError(
            f"{folder / WEIGHTS}: the reloaded model answers otherwise (IoU differs by "
            f"{apart:.2g}); please report this, with {folder / 'recipe.json'}"
        )


def adapters_are_all(recipe: Recipe) -> bool:
    """Whether adapters, merged into the model's own weights, are what a run has learned.

    They are not where it started from other weights, or where channels are mixed before them.
    """
    return recipe.learn == "lora" and recipe.init == "shipped" and not recipe.channels


def _write_adapters(folder: Path, recipe: Recipe, state: dict[str, Any]) -> None:
    from anymask import models
    from anymask.training.lora import save_adapters
    from anymask.training.trainee import set_learning

    module = models.build(recipe.model)
    set_learning(module, recipe)
    module.load_state_dict(state["average"])
    save_adapters(module, folder / ADAPTER, recipe.model, recipe.lora_alpha)


def _in_words(means: list[float]) -> str:
    shown = ", ".join(f"{value:.3f}" for value in means)
    counts = " / ".join(map(str, range(1, CLICKS + 1)))
    return f"mean IoU of held-out masks after {counts} clicks {shown}"
