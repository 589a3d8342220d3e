"""The recipe of a fine-tuning by model, method and photos.

What decides a recipe is how many photos there are. Up to 50 would be learned by heart: the backbone
stays as it is, and what is behind it learns slowly from a small pool of pictures, whose maps are
computed once (`frozen`). More train all weights; thousands are worth a run of hours. The rate falls
to nothing along a cosine, and the best weights on held-out photos are kept. What kind of pictures
they are says which way is up, and how they are prompted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from anymask import models
from anymask.base import InputError, list_settings
from anymask.runtime import about_weights, adapter_folder, base_of, entry, run_weights
from anymask.training.options import Method, RunOptions, TuningOptions
from anymask.training.recipe import Learn, Recipe, RecipeStage


def named(word: str, weights: Path | None) -> tuple[str, str]:
    """A model's variant and the file of its weights, "" for those in the store.

    Raises InputError, ModelError, WeightsError.

    Args:
        word: A name of `anymask models list`, or a weights.safetensors, a folder of adapters or
            the folder of a run.
        weights: Of a model that was named.
    """
    if weights is None and (inside := run_weights(word)) is not None:
        word = str(inside)
    adapters = adapter_folder(word) if weights is None else None
    if adapters is not None:
        return entry(base_of(adapters)).variant, str(adapters.absolute())
    if weights is None and Path(word).suffix == ".safetensors" and not Path(word).is_file():
        raise InputError(f"The weights file {word!r} does not exist. Check the path.")
    if weights is None and Path(word).is_file():
        about = about_weights(Path(word))
        if about is None:
            raise InputError(
                f"{word!r} does not contain the name of its model. Pass the model name, and "
                "this file as its weights."
            )
        return str(about["variant"]), str(Path(word).absolute())
    return entry(word).variant, "" if weights is None else str(weights.absolute())


def variant_of(path: Path) -> str:
    """The network that a weights.safetensors or a run's checkpoint is of. Raises WeightsError."""
    from anymask.training.run_folder import read_state  # needs torch

    about = about_weights(path)
    return str(read_state(path)["recipe"]["model"] if about is None else about["variant"])


# What learns; the other ways are called alike in a recipe.
LEARN: dict[Method, Learn] = {
    "full": "all", "decoder": "decoder", "head": "neck", "lora": "lora", "hq": "hq",
    "adapter": "adapter", "no-prompt": "no-prompt",
}  # fmt: skip
ADDED: tuple[Method, ...] = ("lora", "hq", "adapter", "no-prompt")  # the model's own weights stay
BESIDE = {one.name for one in list_settings(RunOptions)} | {"val", "form", "images"}
OF_RECIPE = ("keep", "accumulate", "lora_rank", "lora_alpha")  # fields of a recipe, named alike


def asked(options: TuningOptions) -> dict[str, Any]:
    """The options that decide what is learned, beside the data, as JSON holds them."""
    declared = list_settings(TuningOptions)
    told = {one.option: getattr(options, one.name) for one in declared if one.name not in BESIDE}
    told |= {"--model": options.model, "--rgb": options.rgb and list(options.rgb)}
    if options.weights is not None:
        return told | {"--weights": str(options.weights.absolute())}
    return told | {"--model": named(options.model, None)[1] or options.model}  # from any folder


def check_parts(variant: str, parts: int | None) -> None:
    """Raises InputError for a number of parts that the pictures of a step cannot be cut into."""
    images = tuning_stage(variant, 1, None).images
    if parts is not None and images % parts:
        whole = [str(n) for n in range(1, images + 1) if images % n == 0]
        raise InputError(
            f"Unsupported accumulate={parts}: a step of {variant} has {images} images, which "
            f"must be divisible by accumulate. Use one of: {', '.join(whole)}."
        )


def with_fields(recipe: Recipe, options: TuningOptions) -> Recipe:
    """The recipe with what was given of its fields; one process where two cannot share a step."""
    given = {
        name: getattr(options, name) for name in OF_RECIPE if getattr(options, name) is not None
    }
    recipe = replace(recipe, **given)
    shared = recipe.stages[0].images % (recipe.workers * recipe.accumulate) == 0
    return recipe if shared else replace(recipe, workers=1)


def check_method(variant: str, method: str) -> None:
    """Raises InputError for a method that there is not, or by which the network cannot learn.

    Nothing is allocated for it: the network is built without numbers.
    """
    import torch

    from anymask.training.trainee import what_lacks

    if method not in get_args(Method):
        raise InputError(f"Unknown method {method!r}. Use one of: {', '.join(get_args(Method))}.")
    learn = LEARN.get(method)  # type: ignore[call-overload]  # any text
    if learn is None:  # "auto" takes what there is
        return
    with torch.device("meta"):
        lacks = what_lacks(models.build(variant), learn)
    if lacks:
        raise InputError(f"Method {method!r} is not supported: {variant} {lacks}")


RATES: dict[Method, float] = {
    "full": 8e-4,
    "decoder": 8e-4,
    "head": 3e-4,
    **dict.fromkeys(ADDED, 1e-3),
}
LARGE_RATE = 1e-4  # at most, of models that saw a million photos (MedSAM tunes SAM at this rate)
PATIENCE = 4
BRIEF = 200  # pictures of a run for which processes of its own take longer to start than to help
AVERAGED = 0.1  # part of a run over which its weights are averaged
ONE_MEANING = 0.1  # part of the masks that lie inside others, up to which a click means one thing


# What all fine-tunings have in common.
TUNING = Recipe(
    sets=("train",),
    backbone_rate=0.5,
    synthetic=0.0,
    boxes=0.4,
    balanced_steps=1,
    mask_loss="normalised",
    patience=PATIENCE,
    at_scale=0.85,
)


@dataclass(frozen=True, kw_only=True)
class PictureKind:
    """What holds for pictures of a kind.

    Attributes:
        turns: Part of them that is turned upside down, and by a quarter; None: by the number of
            photos.
        boxes: Part of the first prompts that are boxes.
    """

    turns: float | None = None
    boxes: float = TUNING.boxes


KINDS = {
    "photos": PictureKind(),
    "microscopy": PictureKind(turns=0.5),  # no side is up: all eight ways to lie are alike
    "medical": PictureKind(turns=0.0, boxes=0.7),  # bodies lie as they lie; MedSAM asks by boxes
    "satellite": PictureKind(turns=0.5),
}


@dataclass(frozen=True, kw_only=True)
class TuningSize:
    """A run for sets of up to so many photos.

    Attributes:
        photos: That it is meant for, at most.
        views: How often each photo is seen.
        fewest: Pictures of the run at least.
        most: Pictures of the run at most.
        sides: Pixels, in turn, of models that see pictures of any side.
        judgements: Measurements on held-out photos.
        turns: Part of the pictures that are turned upside down, and by a quarter.
    """

    photos: int
    views: int
    fewest: int
    most: int
    sides: tuple[int, ...]
    judgements: int = 8
    turns: float = 0.25


SIZES = (
    TuningSize(photos=20, views=80, fewest=800, most=1_200, sides=(256,)),
    TuningSize(photos=1_000, views=120, fewest=2_400, most=6_000, sides=(256, 256, 256, 384)),
    TuningSize(
        photos=1 << 62, views=4, fewest=6_000, most=40_000, sides=(256, 256, 384, 512), turns=0.12
    ),
)


FEW_PHOTOS = TuningSize(photos=50, views=10, fewest=200, most=320, sides=(512,), judgements=5)
VIEWS = 4  # pictures of each of few photos
FEW_PATIENCE = 3


def chosen_method(options: TuningOptions, photos: int) -> Method:
    """The method that was asked for, or the one that suits a number of photos."""
    if options.method != "auto":
        return options.method
    others = options.classes or options.channels
    return "head" if photos <= FEW_PHOTOS.photos and not others else "full"


def tuning_size(photos: int, method: str = "full") -> TuningSize:
    """The preset of a number of photos."""
    if method == "head":
        return FEW_PHOTOS
    return next(size for size in SIZES if photos <= size.photos)


def tuning_recipe(
    model: str,
    method: str,
    photos: int,
    *,
    init: str = "shipped",
    pictures: int | None = None,
    nested: float = 0.0,
    kind: str = "photos",
) -> Recipe:
    """The recipe of a fine-tuning of a variant. Raises InputError, ModelError.

    Args:
        method: What learns, see `LEARN`.
        photos: That are learned from.
        init: File of weights to start from, or "shipped".
        pictures: That the run sees, each photo many times; None: by `photos`.
        nested: Part of the masks that lie inside another one: near 0 a click means one thing.
        kind: Of pictures, see `KINDS`.
    """
    if method not in LEARN:
        raise InputError(f"Unknown method {method!r}. Use one of: {', '.join(LEARN)}.")
    if kind not in KINDS:
        raise InputError(f"Unknown kind {kind!r}. Use one of: {', '.join(KINDS)}.")
    lying = KINDS[kind]
    few = method == "head"
    stage, size = tuning_stage(model, photos, pictures, method), tuning_size(photos, method)
    steps, brief = stage.steps, stage.steps * stage.images <= BRIEF
    judging = max(1, steps // size.judgements)
    return replace(
        TUNING,
        model=model,
        init=init,
        save_every=judging,
        judge_every=judging,
        learn=LEARN[method],
        stages=(stage,),
        rate=tuning_rate(model, method),
        warmup=max(1, steps // 20),
        turns=size.turns if lying.turns is None else lying.turns,
        boxes=lying.boxes,
        several=1.0 if nested <= ONE_MEANING else 0.05,
        ema=min(0.9995, max(0.8, 1 - 1 / max(1.0, AVERAGED * steps))),
        workers=1 if brief else 2,
        prepare_ahead=not (brief or few),
        views=VIEWS if few else 0,
        patience=FEW_PATIENCE if few else PATIENCE,
        at_scale=0.0 if few else TUNING.at_scale,
    )


def tuning_rate(model: str, method: str) -> float:
    """How fast the weights learn: gently where all weights of a large model do."""
    rate = RATES[method]  # type: ignore[index]  # checked above
    small = bool(models.spec(model).pad_multiple)
    return rate if small or method in ADDED else min(rate, LARGE_RATE)


def tuning_stage(
    model: str, photos: int, pictures: int | None, method: str = "full"
) -> RecipeStage:
    """The one stage of a fine-tuning: pictures of the sides that the model sees."""
    spec, size = models.spec(model), tuning_size(photos, method)
    free = bool(spec.pad_multiple)
    images = 4 if free and method != "head" else 2
    sides = size.sides if free else (spec.image_side,)
    seen = pictures or min(size.most, max(size.fewest, size.views * photos))
    steps = max(size.judgements, seen // images)
    return RecipeStage(steps=steps, side=sides[0], images=images, masks=6, cool=True, sides=sides)
