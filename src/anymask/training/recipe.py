"""Recipes: a TOML file in, the checked settings of a training out.

A recipe is frozen, has no default path, and is stored inside every checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from anymask.base import ConfigError, brief, parse_toml
from anymask.models.rules import DEFAULT_VIDEO_MODEL

SHIPPED = Path(__file__).parents[1] / "assets" / "recipes"
_LARGEST = 1 << 62  # of any number of a recipe

MaskLoss = Literal["focal", "normalised"]
Task = Literal["masks", "distil"]
Truth = Literal["teacher", "labels"]
Learn = Literal["all", "decoder", "neck", "quality", "lora", "hq", "adapter", "no-prompt"]


@dataclass(frozen=True, kw_only=True)
class RecipeStage:
    """A stretch of training at one picture size.

    Attributes:
        steps: Optimiser steps.
        side: Side of the square training pictures, pixels, a multiple of 32.
        images: Pictures a step, over all workers together.
        masks: Objects a picture.
        cool: Whether the rate falls: to nothing along a cosine over all cooling stages, the
            last ones.
        sides: Sides that are used in turn instead of `side`, one for each step.
    """

    steps: int
    side: int
    images: int
    masks: int
    cool: bool = False
    sides: tuple[int, ...] = ()

    def side_at(self, step: int) -> int:
        """The side of the pictures of an optimiser step."""
        return self.sides[step % len(self.sides)] if self.sides else self.side


@brief
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what comes out of a training run.

    Attributes:
        model: Variant to train: any image model of `anymask models list`.
        sets: Set folder names below the data folder; () takes every set that ships.
        weights: Sampling weight by set name, 1 where absent; a set's draw is weight *
            sqrt(number of photos).
        backbone: File of ImageNet weights below the data folder's parent, or "".
        init: Checkpoint to start from, "shipped" for the weights in the package, or "".
        learn: "all"; "decoder": what sees the picture stays as it is; "neck": the pretrained
            backbone alone stays; "quality": a new quality head, the rest stays as `init` has
            it; "lora": low-rank adapters of all linear layers and 1 x 1 convolutions
            (`training.lora`); "hq": the token and the layers that SAM-HQ adds to SAM;
            "adapter": the bottlenecks of Medical SAM Adapter (`models.bottlenecks`);
            "no-prompt": a head that prompts SAM for each of the `classes`, as AutoSAM does
            (`models.class_head`).
        lora_rank: R of the adapters.
        lora_alpha: Their scale is lora_alpha / lora_rank.
        stages: In order.
        rate: AdamW rate of new layers; the backbone learns at `backbone_rate` times that.
        warmup: Steps of linear warm-up.
        synthetic: Part of the pictures that are composed scenes, by a function that is handed
            over.
        boxes: Part of the first prompts that are boxes; the others are clicks.
        balanced_steps: Steps over which the balanced cross-entropy gives way to focal loss.
        ema: Decay of the averaged weights, which are what ships.
        clip: Bound of the gradient norm.
        workers: Data-parallel processes on a CPU, one thread each.
        prepare_ahead: Whether each worker has a process beside it that prepares its pictures.
        seed: Of everything random.
        save_every: Steps between checkpoints.
        save_minutes: Wall time between checkpoints, at most.
        decode_once: Whether photos are decoded once into the run's folder.
        mask_loss: "focal": the paper's focal 20 : dice 1; "normalised": RITM's focal divided by
            its own sum (Sofiiuk et al. 2021, section 3.2), weighted at edges, and dice.
        judge_every: Steps between measurements on held-out pictures, where the sitting has a
            judge; 0: never.
        patience: Measurements without a gain after which the run ends; 0: never.
        turns: Part of the photos that are turned upside down, and by a quarter.
        at_scale: Part of the pictures that are cut so that things have the size in which the
            model will see them, where the side of a step is less than the model's.
        several: Weight of all masks that answer a lone click, beside the best one's 1; near 0
            for things of any kind, 1 where a click means one kind of thing only.
        falls: Steps after each of which the rate is a tenth of what it was.
        layer_decay: What a block of the encoder learns slower than the one behind it, times.
        accumulate: Parts of a step that are learned one after the other, to save memory.
        recompute: Whether activations inside blocks are computed again instead of kept.
        bf16: Whether products are in bf16 where the device is faster so; false: in float32, and
            every processor learns the same.
        task: "masks"; "distil": a teacher's features and masks (`training.tasks`).
        teacher: Model to learn from.
        teacher_weights: File of its weights; "" for those in the store.
        feature_weight: Of the features' error in "distil".
        truth: Of "distil": whose masks the student learns, the "teacher"'s answers to the same
            prompts, or the pictures' own, "labels", beside the teacher's features.
        keep: Checkpoints that stay beside the last one, the newest ones.
        classes: Labels that a head learns to tell apart, in order; () for none.
        views: Pictures that are cut from each photo once and used in turn, so that the maps of
            what does not learn are computed once; 0: each picture is new.
        channels: Of pictures that are no photos: what they begin to be seen as, the values of a
            `masks.spec.ChannelMix`; nothing: photos.
    """

    model: str = DEFAULT_VIDEO_MODEL
    sets: tuple[str, ...] = ()
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    backbone: str = ""
    init: str = ""
    learn: Learn = "all"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    stages: tuple[RecipeStage, ...] = ()
    rate: float = 1e-3
    backbone_rate: float = 0.2
    weight_decay: float = 0.01
    warmup: int = 200
    synthetic: float = 0.0
    boxes: float = 0.5
    balanced_steps: int = 2000
    ema: float = 0.998
    clip: float = 1.0
    workers: int = 2
    prepare_ahead: bool = True
    seed: int = 20260
    save_every: int = 250
    save_minutes: float = 5.0
    decode_once: bool = True
    mask_loss: MaskLoss = "focal"
    judge_every: int = 0
    patience: int = 0
    turns: float = 0.12
    at_scale: float = 0.0
    several: float = 0.05
    falls: tuple[int, ...] = ()
    layer_decay: float = 1.0
    accumulate: int = 1
    recompute: bool = False
    bf16: bool = True
    keep: int = 0
    task: Task = "masks"
    teacher: str = ""
    teacher_weights: str = ""
    feature_weight: float = 1.0
    truth: Truth = "teacher"
    classes: tuple[str, ...] = ()
    views: int = 0
    channels: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def needs_masks(self) -> bool:
        """Whether there is nothing to learn from pictures without masks."""
        return self.task == "masks" or self.truth == "labels"

    @property
    def largest_side(self) -> int:
        """Pixels of the largest training pictures; 0 where there are no stages."""
        return max((side for one in self.stages for side in (one.side, *one.sides)), default=0)

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def images_before(self, step: int) -> int:
        """Pictures of the optimiser steps before `step`."""
        return self.images_after(0) - self.images_after(step)

    def images_after(self, step: int) -> int:
        """Pictures of the optimiser steps from `step` to the end."""
        left = 0
        for stage in self.stages:
            left += stage.images * max(0, stage.steps - max(0, step))
            step -= stage.steps
        return left

    def stage_at(self, step: int) -> tuple[RecipeStage, int]:
        """The stage of an optimiser step and the step's number inside it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise ConfigError(
            f"Step {self.steps + step} is out of range: the recipe has {self.steps} steps."
        )


def shipped_recipes() -> tuple[str, ...]:
    """The names of the recipes in the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def find_recipe(word: str) -> Path:
    """The file of a recipe: a path, or the name of one in the package. Raises ConfigError."""
    if Path(word).is_file():
        return Path(word)
    if word in shipped_recipes():
        return SHIPPED / f"{word}.toml"
    raise ConfigError(
        f"Unknown recipe {word!r}. Pass a .toml file or one of the built-in recipes: "
        f"{', '.join(shipped_recipes())}."
    )


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe. Raises ConfigError that names the file and the field."""
    path = Path(path)
    try:
        raw = parse_toml(path.read_bytes(), path)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the recipe {path}: {error.strerror}. Check the path and its permissions."
        ) from error
    return recipe_of(raw, str(path))


def recipe_of(raw: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values, as TOML or a checkpoint holds them.

    Raises ConfigError that says `where` and the field.
    """
    stages = raw.pop("stages", raw.pop("stage", []))
    if not isinstance(stages, list | tuple) or not all(isinstance(row, dict) for row in stages):
        raise ConfigError(
            f"Invalid stages in {where}: {str(stages)[:60]}. Write each stage as a [[stage]] table."
        )
    known = {field.name for field in dataclasses.fields(Recipe)}
    for name in raw:
        if name not in known:
            raise ConfigError(
                f"Unknown field {name!r} in {where}. Known fields: {', '.join(sorted(known))}."
            )
    try:
        recipe = Recipe(
            stages=tuple(RecipeStage(**_with_tuples(stage)) for stage in stages),
            **_with_tuples(raw),
        )
    except TypeError as error:
        raise ConfigError(
            f"Invalid stage in {where}. Each stage requires steps, side, images and masks."
        ) from error
    _check(recipe, where)
    return recipe


def _with_tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}


RANGES: dict[
    str, tuple[str, Callable[[float], bool]]
] = {  # of numbers: what is told of a wrong one, and whether it is right
    "workers": ("be at least 1", lambda n: n >= 1),
    "save_every": ("be at least 1", lambda n: n >= 1),
    "save_minutes": ("be above 0", lambda n: n > 0),
    "lora_rank": ("be at least 1", lambda n: n >= 1),
    "accumulate": ("be at least 1", lambda n: n >= 1),
    "judge_every": ("be at least 0", lambda n: n >= 0),
    "patience": ("be at least 0", lambda n: n >= 0),
    "keep": ("be at least 0", lambda n: n >= 0),
    "views": ("be at least 0", lambda n: n >= 0),
    "several": ("be at least 0", lambda n: n >= 0),
    "layer_decay": ("be above 0 and at most 1", lambda n: 0 < n <= 1),
    **dict.fromkeys(
        ("synthetic", "boxes", "turns", "at_scale"), ("be from 0 to 1", lambda n: 0 <= n <= 1)
    ),
}


def _check(recipe: Recipe, where: str) -> None:
    """Raises ConfigError for values of another kind or out of range, and for what clashes."""
    if not recipe.stages:
        raise ConfigError(f"{where} has no [[stage]]. Add at least one with steps and side.")
    _check_kinds(recipe, Recipe(), where)
    for name, (wanted, is_right) in RANGES.items():
        if not is_right(value := getattr(recipe, name)):
            raise ConfigError(
                f"Invalid value in {where}: {name} must {wanted}, but {value} was given."
            )
    kinds = (("learn", Learn), ("task", Task), ("mask_loss", MaskLoss), ("truth", Truth))
    for name, kind in kinds:
        if (value := getattr(recipe, name)) not in get_args(kind):
            words = ", ".join(get_args(kind))
            raise ConfigError(f"Unknown {name} {value!r} in {where}. Use one of: {words}.")
    _check_stages(recipe, where)
    if recipe.learn == "no-prompt" and not recipe.classes:
        raise ConfigError(
            f"Missing classes in {where}: learn = 'no-prompt' requires classes = [...]."
        )
    for name in ("channels", "classes"):
        if getattr(recipe, name) and (recipe.synthetic or recipe.task != "masks"):
            raise ConfigError(
                f"{name} in {where} requires synthetic = 0 and task = 'masks'. Set both, or remove "
                f"{name}."
            )


def _check_stages(recipe: Recipe, where: str) -> None:
    """As `_check`."""
    for stage in recipe.stages:
        _check_kinds(stage, RecipeStage(steps=1, side=32, images=1, masks=1), where)
        for side in (stage.side, *stage.sides):
            if side % 32 or side <= 0:
                raise ConfigError(
                    f"Invalid side {side!r} in {where}. Use a positive multiple of 32."
                )
        if min(stage.steps, stage.images, stage.masks) < 1:
            raise ConfigError(
                f"Invalid stage in {where}: steps, images and masks must each be at least 1."
            )
    check_shares(recipe, where)
    cool = [stage.cool for stage in recipe.stages]
    if cool != sorted(cool):
        raise ConfigError(
            f"Invalid order of stages in {where}. Put the stages with cool = true last."
        )


def check_shares(recipe: Recipe, where: str) -> None:
    """Raises ConfigError for pictures of a step that cannot be shared out evenly."""
    for stage in recipe.stages:
        if stage.images % (recipe.workers * recipe.accumulate):
            raise ConfigError(
                f"Invalid stage in {where}: images ({stage.images}) must be divisible by "
                f"workers ({recipe.workers}) times accumulate ({recipe.accumulate})."
            )


_KIND_NAMES: dict[type, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a string",
    tuple: "a list", dict: "a table",
}  # fmt: skip


def _check_kinds(given: Recipe | RecipeStage, usual: Recipe | RecipeStage, where: str) -> None:
    """Each value is of the kind of the default's; whole numbers serve as numbers."""
    for field in dataclasses.fields(given):
        name, value = field.name, getattr(given, field.name)
        wanted = type(getattr(usual, name))
        said = f"but {str(value)[:60]!r} was given."
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ConfigError(
                f"Invalid value in {where}: {name} must be {_KIND_NAMES[wanted]}, {said}"
            )
        if wanted in (int, float) and not abs(value) < _LARGEST:
            raise ConfigError(f"Invalid value in {where}: {name} is out of range, {said}")
        if name in ("sides", "falls") and not all(type(one) is int for one in value):
            raise ConfigError(
                f"Invalid value in {where}: {name} must be a list of whole numbers, {said}"
            )
        if name in ("sets", "classes") and not all(isinstance(one, str) for one in value):
            raise ConfigError(f"Invalid value in {where}: {name} must be a list of names, {said}")
        if name == "weights" and not all(
            type(part) in (int, float) and 0 <= part < _LARGEST for part in value.values()
        ):
            raise ConfigError(
                f"Invalid value in {where}: weights must map names to numbers, {said}"
            )
