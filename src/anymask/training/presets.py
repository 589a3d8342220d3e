"""Recipes of fine-tuning, by model, method and number of images.

Up to 50 images would be memorized: the backbone is frozen, and the layers after it are trained
slowly on a small pool of crops, whose feature maps are computed once (`frozen`). With more images
all weights are trained; thousands justify a run of hours. The learning rate decays to zero along a
cosine, and the best weights on held-out images are kept. The kind of images determines rotations
and the fraction of box prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from anymask import models
from anymask.base import InputError, list_settings
from anymask.runtime import about_weights, entry, named_weights
from anymask.training.options import Method, RunOptions, TuningOptions
from anymask.training.recipe import Learn, Recipe, RecipeStage


def named(word: str, weights: Path | None) -> tuple[str, str]:
    """Resolve a model to its variant and the path of its weights, "" for downloaded weights.

    Args:
        word: Name from `anymask models list`, or a weights.safetensors, a folder of adapters or the
            folder of a run.
        weights: Weights file for a model name.

    Raises:
        InputError: A file does not exist, or does not contain the name of its model.
        ModelError: The model is unknown.
        WeightsError: The weights are invalid.
    """
    if weights is None and Path(word).suffix == ".safetensors" and not Path(word).is_file():
        raise InputError(f"The weights file {word!r} does not exist. Check the path.")
    name, file = named_weights(word, weights)
    states_variant = weights is None and file is not None and Path(file).is_file()
    variant = name if states_variant else entry(name).variant
    return variant, "" if file is None else str(Path(file).absolute())


def variant_of(path: Path) -> str:
    """Return the model variant of a weights.safetensors or checkpoint.

    Raises:
        WeightsError: The file is invalid.
    """
    from anymask.training.run_folder import read_state  # needs torch

    about = about_weights(path)
    return str(read_state(path)["recipe"]["model"] if about is None else about["variant"])


# Trained part by method; other names are the same in a recipe.
LEARN: dict[Method, Learn] = {
    "full": "all", "decoder": "decoder", "head": "neck", "lora": "lora", "hq": "hq",
    "adapter": "adapter", "no-prompt": "no-prompt", "memory": "memory",
}  # fmt: skip
ADDED_LAYERS: tuple[Method, ...] = ("lora", "hq", "adapter", "no-prompt")  # the model is frozen
RUN_ONLY = {setting.name for setting in list_settings(RunOptions)} | {
    "val", "split", "format", "images",
}  # fmt: skip
OF_RECIPE = ("keep", "accumulate", "lora_rank", "lora_alpha")  # recipe fields of the same name


def run_options(options: TuningOptions) -> dict[str, Any]:
    """Return the options that affect training, except the data, as JSON values."""
    flags = {
        setting.option: getattr(options, setting.name)
        for setting in list_settings(TuningOptions)
        if setting.name not in RUN_ONLY
    }
    flags |= {"--model": options.model, "--rgb": options.rgb and list(options.rgb)}
    if options.weights is not None:
        return flags | {"--weights": str(options.weights.absolute())}
    return flags | {"--model": named(options.model, None)[1] or options.model}  # absolute if a file


def check_parts(variant: str, parts: int | None) -> None:
    """Raise InputError if the images of a step are not divisible by the number of parts."""
    images = tuning_stage(variant, 1, None).images
    if parts is not None and images % parts:
        whole = [str(n) for n in range(1, images + 1) if images % n == 0]
        raise InputError(
            f"Unsupported accumulate={parts}: a step of {variant} has {images} images, which "
            f"must be divisible by accumulate. Use one of: {', '.join(whole)}."
        )


def with_fields(recipe: Recipe, options: TuningOptions) -> Recipe:
    """Set recipe fields from options; use one worker if the step cannot be divided."""
    values = {
        name: getattr(options, name) for name in OF_RECIPE if getattr(options, name) is not None
    }
    recipe = replace(recipe, **values)
    shared = recipe.stages[0].images % (recipe.workers * recipe.accumulate) == 0
    return recipe if shared else replace(recipe, workers=1)


def check_method(variant: str, method: str) -> None:
    """Raise InputError if a method is unknown or not supported by the network.

    The network is built without allocating its weights.
    """
    import torch

    from anymask.training.trainee import unsupported_reason

    if method not in get_args(Method):
        raise InputError(f"Unknown method {method!r}. Use one of: {', '.join(get_args(Method))}.")
    learn = LEARN.get(method)  # type: ignore[call-overload]  # any text
    if learn is None:  # "auto" chooses a supported method
        return
    with torch.device("meta"):
        lacks = unsupported_reason(models.build(variant), learn)
    if lacks:
        raise InputError(f"Method {method!r} is not supported: {variant} {lacks}")


RATES: dict[Method, float] = {
    "full": 8e-4,
    "decoder": 8e-4,
    "head": 3e-4,
    **dict.fromkeys(ADDED_LAYERS, 1e-3),
    "memory": 5e-5,
}
LARGE_RATE = 1e-4  # maximum for models trained on a million images (MedSAM tunes SAM at this rate)
PATIENCE_EPOCHS = 4
BRIEF = 200  # images of a run up to which additional processes take longer to start than they save
AVERAGED = 0.1  # fraction of a run over which its weights are averaged
ONE_MEANING = 0.1  # fraction of nested masks up to which a click is unambiguous


# Common settings of all fine-tunings.
TUNING = Recipe(
    sets=("train",),
    backbone_rate=0.5,
    synthetic=0.0,
    boxes=0.4,
    balanced_steps=1,
    mask_loss="normalised",
    patience=PATIENCE_EPOCHS,
    at_scale=0.85,
)


# Fields of the recipe by kind of images.
IMAGE_KINDS: dict[str, dict[str, float]] = {
    "photos": {},
    "microscopy": {"turns": 0.5},  # no preferred orientation: all eight are equal
    "medical": {"turns": 0.0, "boxes": 0.7},  # fixed orientation; MedSAM uses box prompts
    "satellite": {"turns": 0.5},
}


@dataclass(frozen=True, kw_only=True)
class TuningSize:
    """Preset for datasets of up to a number of images."""

    images: int  # Maximum number of images
    views: int  # Crops of each image
    fewest: int  # Minimum number of crops in a run
    most: int  # Maximum number of crops in a run
    sides: tuple[int, ...]  # Crop sides in pixels, used in turn, for models that support any side
    judgements: int = 8  # Number of evaluations on held-out images
    turns: float = 0.25  # Probability of flipping upside down and of transposing


SIZES = (
    TuningSize(images=20, views=80, fewest=800, most=1_200, sides=(256,)),
    TuningSize(images=1_000, views=120, fewest=2_400, most=6_000, sides=(256, 256, 256, 384)),
    TuningSize(
        images=1 << 62, views=4, fewest=6_000, most=40_000, sides=(256, 256, 384, 512), turns=0.12
    ),
)


FEW_IMAGES = TuningSize(images=50, views=10, fewest=200, most=320, sides=(512,), judgements=5)
VIEWS = 4  # crops of each image in the pool
FEW_PATIENCE = 3


def chosen_method(options: TuningOptions, images: int) -> Method:
    """Return the requested method, or the default for a number of images."""
    if options.method != "auto":
        return options.method
    others = options.classes or options.channels
    return "head" if images <= FEW_IMAGES.images and not others else "full"


def tuning_size(images: int, method: str = "full") -> TuningSize:
    """Return the preset for a number of images."""
    if method == "head":
        return FEW_IMAGES
    return next(size for size in SIZES if images <= size.images)


def tuning_recipe(
    model: str,
    method: Method,
    images: int,
    *,
    init: str = "shipped",
    samples: int | None = None,
    nested: float = 0.0,
    kind: str = "photos",
) -> Recipe:
    """Create the recipe for fine-tuning a variant. Raises ModelError if it is unknown.

    Args:
        model: Model variant.
        method: Trained part, a key of `LEARN`.
        images: Number of training images.
        init: Weights file to start from, or "shipped".
        samples: Number of crops in the run. Defaults to a value that depends on `images`.
        nested: Fraction of the masks inside another one; near 0 a click is unambiguous.
        kind: Kind of images, a key of `IMAGE_KINDS`.
    """
    stage, size = tuning_stage(model, images, samples, method), tuning_size(images, method)
    small, brief = bool(models.spec(model).pad_multiple), stage.steps * stage.images <= BRIEF
    rate = RATES[method] if small or method in ADDED_LAYERS else min(RATES[method], LARGE_RATE)
    fields: dict[str, Any] = {
        "rate": rate,
        "turns": size.turns,
        "several": 1.0 if nested <= ONE_MEANING else 0.05,
        "workers": 1 if brief else 2,
        "prepare_ahead": not brief,
    }
    fields |= IMAGE_KINDS[kind]
    if method == "head":  # a small pool of crops would be memorized in a longer run
        fields |= {"views": VIEWS, "patience": FEW_PATIENCE, "at_scale": 0.0}
        fields["prepare_ahead"] = False
    recipe = replace(TUNING, model=model, init=init, **fields)
    return for_steps(recipe, method, stage, size, ema=0.9995)


def for_steps(
    recipe: Recipe, method: Method, stage: RecipeStage, size: TuningSize, ema: float
) -> Recipe:
    """Train a part in a single stage, with warm-up, evaluations and averages that fit its steps.

    Args:
        ema: Maximum decay of the averaged weights.
    """
    judging = max(1, stage.steps // size.judgements)
    return replace(
        recipe,
        learn=LEARN[method],
        stages=(stage,),
        warmup=max(1, stage.steps // 20),
        save_every=judging,
        judge_every=judging,
        ema=min(ema, max(0.8, 1 - 1 / max(1.0, AVERAGED * stage.steps))),
    )


def tuning_stage(
    model: str, image_files: int, samples: int | None, method: str = "full"
) -> RecipeStage:
    """Create the single stage of a fine-tuning, with sides that the model supports."""
    spec, size = models.spec(model), tuning_size(image_files, method)
    images = 4 if spec.pad_multiple and method != "head" else 2
    sides = size.sides if spec.pad_multiple else (spec.image_side,)
    crops = samples or min(size.most, max(size.fewest, size.views * image_files))
    steps = max(size.judgements, crops // images)
    return RecipeStage(steps=steps, side=sides[0], images=images, masks=6, cool=True, sides=sides)


MEMORY_STEPS = (100, 400)  # least and most steps of a run
MEMORY_VIEWS = 2  # steps for each annotated frame


def memory_recipe(
    model: str, frames: int, side: int, *, init: str = "shipped", steps: int | None = None
) -> Recipe:
    """Create the recipe for fine-tuning the memory of a video model.

    Args:
        model: Model variant.
        frames: Number of annotated training frames.
        side: Side of the training frames in pixels.
        init: Weights file to start from, or "shipped".
        steps: Number of steps, each with one window of a clip. Defaults to a value that depends
            on `frames`.
    """
    fewest, most = MEMORY_STEPS
    count = steps or min(most, max(fewest, MEMORY_VIEWS * frames))
    stage = RecipeStage(steps=count, side=side, images=1, masks=1, cool=True)
    return replace(
        for_steps(replace(TUNING, model=model, init=init), "memory", stage, FEW_IMAGES, ema=1.0),
        rate=RATES["memory"],
        mask_loss="focal",
        patience=FEW_PATIENCE,
        workers=1,
        prepare_ahead=False,
        decode_once=False,
        views=1,  # each frame is always encoded in the same way
    )
