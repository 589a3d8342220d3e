"""From the options of a fine-tuning to its recipe, which the run folder keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, parse_json, write_json
from anymask.formats import read_class_list
from anymask.runtime import channels_of_weights
from anymask.training.channels import starting_mix
from anymask.training.classes import class_names
from anymask.training.options import OPTIONS, TuningOptions, refuse_other_options
from anymask.training.presets import (
    LEARN,
    check_method,
    check_parts,
    chosen_method,
    named,
    run_options,
    tuning_recipe,
    with_fields,
)
from anymask.training.recipe import Recipe, recipe_of
from anymask.training.trainee import starting_module

if TYPE_CHECKING:
    from anymask.formats import AnnotatedImage
    from anymask.training.tuning_data import DataReport

RECIPE = "recipe.json"  # in the run folder


def check_start(options: TuningOptions) -> tuple[str, str]:
    """Return model name and starting weights: a file, a folder of adapters, or "shipped".

    The weights are opened once before the data is read. Raises InputError, ModelError or
    WeightsError.
    """
    variant, file = named(options.model, options.weights)
    start = file or "shipped"
    check_method(variant, options.method)
    check_parts(variant, options.accumulate)
    if (options.output / RECIPE).is_file():
        refuse_other_options(options.output, run_options(options))
    else:
        learn = "all" if options.method == "auto" else LEARN[options.method]
        starting_module(options.output, Recipe(model=variant, init=start, learn=learn))
    return variant, start


def stored_recipe(options: TuningOptions, made: Callable[[], Recipe]) -> Recipe:
    """Return the stored recipe of a run, or store a new one; later options cannot change it.

    Raises ConfigError for a corrupted file.
    """
    path = options.output / RECIPE
    if not path.is_file():
        recipe = made()
        options.output.mkdir(parents=True, exist_ok=True)
        write_json(options.output / OPTIONS, run_options(options), indent=1)
        write_json(path, asdict(recipe), indent=1)
    return recipe_of(parse_json(path.read_bytes(), path), str(path))


def options_to_recipe(
    options: TuningOptions,
    start: tuple[str, str],
    report: DataReport,
    images: Sequence[AnnotatedImage],
) -> Recipe:
    """Convert options to a recipe, by the number and contents of the training images.

    Raises InputError if the classes or channels do not fit the images or the weights.

    Args:
        start: Model variant and its weights, as `check_start` returns them.
        report: Report on the training data.
        images: Training images.
    """
    variant, weights = start
    recipe = tuning_recipe(
        variant, chosen_method(options, report.photos), report.photos, init=weights,
        samples=options.samples, nested=report.nested, kind=options.kind,
    )  # fmt: skip
    asks = options.classes or ("all" if options.method == "no-prompt" else None)
    if asks is not None:
        labels = [mask.label or "" for image in images for mask in image.objects]
        recipe = replace(recipe, classes=class_names(labels, parse_classes(asks), report.classes))
    mix = None if weights == "shipped" else channels_of_weights(Path(weights))
    if mix is not None and options.channels not in (None, mix.count):
        raise InputError(
            f"{weights} was fine-tuned on images with {mix.count} channels, but "
            f"channels={options.channels} was given. Omit channels, or start from other weights."
        )
    if mix is None and options.channels is not None:
        paths = [image.source for image in images if isinstance(image.source, Path)]
        mix = starting_mix(paths, options.channels, options.rgb)
    if mix is not None:
        recipe = replace(recipe, channels=asdict(mix))
    return with_fields(recipe, options)


def parse_classes(asks: str) -> list[str] | None:
    """Parse `--classes`: names, or a .txt file with one name a line. None for "all".

    Raises InputError or DataError.
    """
    if asks == "all":
        return None
    listed = Path(asks).suffix.lower() == ".txt"
    return [*read_class_list(asks)] if listed else [word.strip() for word in asks.split(",")]
