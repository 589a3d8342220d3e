"""Training recipes: settings that are read from a TOML file and validated.

A recipe is immutable, has no default path, and is stored in every checkpoint.
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
_LARGEST = 1 << 62  # limit of all numbers in a recipe

MaskLoss = Literal["focal", "normalised"]
Task = Literal["masks", "distil"]
Truth = Literal["teacher", "labels"]
Learn = Literal["all", "decoder", "neck", "quality", "lora", "hq", "adapter", "no-prompt"]


@dataclass(frozen=True, kw_only=True)
class RecipeStage:
    """Part of a training with constant settings.

    Attributes:
        steps: Optimizer steps.
        side: Side of the square training crops in pixels, a multiple of 32.
        images: Crops per step, over all workers.
        masks: Objects per crop.
        cool: Whether the learning rate decays to zero, along a cosine over all cooling stages.
            These must come last.
        sides: Sides that are used in turn instead of `side`, one for each step.
    """

    steps: int
    side: int
    images: int
    masks: int
    cool: bool = False
    sides: tuple[int, ...] = ()

    def side_at(self, step: int) -> int:
        """Return the side of the crops of an optimizer step."""
        return self.sides[step % len(self.sides)] if self.sides else self.side


@brief
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that determine the result of a training run.

    Attributes:
        model: Variant to train: any image model of `anymask models list`.
        sets: Names of set folders in the data folder; () uses every set with `ships` not false.
        weights: Sampling weight by set name, 1 if missing. The probability of a set is proportional
            to weight * sqrt(number of images).
        backbone: File of ImageNet weights, relative to the parent of the data folder, or "".
        init: Checkpoint to start from, "shipped" for the released weights, or "".
        learn: Trained part. "all"; "decoder": the image encoder is frozen; "neck": only the
            pretrained backbone is frozen; "quality": a new quality head; "lora": low-rank adapters
            of all linear layers and 1 x 1 convolutions (`training.lora`); "hq": the token and
            layers that SAM-HQ adds to SAM; "adapter": the bottlenecks of Medical SAM Adapter
            (`models.bottlenecks`); "no-prompt": a head that prompts SAM for each of the
            `classes`, as in AutoSAM (`models.class_head`).
        lora_rank: Rank r of the adapters.
        lora_alpha: Scale of the adapters is lora_alpha / lora_rank.
        stages: Stages in order.
        rate: AdamW learning rate of new layers.
        backbone_rate: Factor of the learning rate for the backbone.
        warmup: Steps of linear warm-up.
        synthetic: Fraction of synthetic images, from a generator that the caller passes.
        boxes: Fraction of the first prompts that are boxes; the others are clicks.
        balanced_steps: Steps over which the balanced cross-entropy is replaced by focal loss.
        ema: Decay of the averaged weights, which are the result.
        clip: Maximum gradient norm.
        rounds: Predictions for each object in a step, all with a loss: the first prompt, then
            corrections of the predicted mask. From 4 on, a random correction and the last one only
            feed the mask back, and each other one adds a click (11 in appendix A of Segment
            Anything: 8 clicks after the first prompt). 0 for two predictions, at times with a third
            one without gradient between them.
        drop_path: Probability that the last block of the encoder is skipped for an image. It rises
            linearly from 0 at the first block.
        workers: Data-parallel processes on a CPU, one thread each.
        prepare_ahead: Whether each worker prepares its crops in another process.
        seed: Random seed.
        save_every: Steps between checkpoints.
        save_minutes: Maximum minutes between checkpoints.
        decode_once: Whether images are decoded once to the run folder.
        mask_loss: "focal": the paper's focal 20 : Dice 1; "normalised": RITM's focal divided by
            its own sum (Sofiiuk et al. 2021, section 3.2), weighted at edges, and Dice.
        judge_every: Steps between evaluations on held-out images, if the session has a judge;
            0 for none.
        patience: Evaluations without an improvement after which the run ends; 0 for no limit.
        turns: Probability of flipping upside down and of transposing.
        at_scale: Fraction of the crops whose objects have the size that they have at inference, if
            the side of a step is less than the model's.
        several: Weight of all masks for a single click, relative to the best one's 1; near 0 for
            objects of any kind, 1 if a click is unambiguous.
        falls: Steps after each of which the learning rate is divided by ten.
        layer_decay: Factor of the learning rate from each encoder block to the previous one.
        accumulate: Parts of a step that are processed one after the other, to save memory.
        recompute: Whether to recompute activations inside blocks (activation checkpointing).
        bf16: Whether to use bf16 on devices where it is faster. False uses float32, which gives the
            same result on every processor.
        task: "masks"; "distil": a teacher's features and masks (`training.step`).
        teacher: Teacher model.
        teacher_weights: Weights file of the teacher; "" for the downloaded weights.
        feature_weight: Weight of the feature loss in "distil".
        truth: Target masks in "distil": predictions of the "teacher" for the same prompts, or the
            "labels" of the images, in addition to the teacher's features.
        keep: Number of recent checkpoints to keep besides the last one.
        classes: Labels of a class head, in order; () for none.
        views: Crops of each image in a fixed pool, so that the outputs of frozen layers are
            computed once; 0 for new crops in every step.
        channels: Initial values of a `masks.spec.ChannelMix` for multi-channel images; {} for RGB.
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
    rounds: int = 0
    drop_path: float = 0.0
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
        """Whether images without masks cannot be used."""
        return self.task == "masks" or self.truth == "labels"

    @property
    def largest_side(self) -> int:
        """Side of the largest training crops in pixels; 0 without stages."""
        return max((side for one in self.stages for side in (one.side, *one.sides)), default=0)

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def images_before(self, step: int) -> int:
        """Return the number of crops in the optimizer steps before `step`."""
        return self.images_after(0) - self.images_after(step)

    def images_after(self, step: int) -> int:
        """Return the number of crops in the optimizer steps from `step` to the end."""
        left = 0
        for stage in self.stages:
            left += stage.images * max(0, stage.steps - max(0, step))
            step -= stage.steps
        return left

    def stage_at(self, step: int) -> tuple[RecipeStage, int]:
        """Return the stage of an optimizer step and the number of the step in it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise ConfigError(
            f"Step {self.steps + step} is out of range: the recipe has {self.steps} steps."
        )


def shipped_recipes() -> tuple[str, ...]:
    """Return the names of the bundled recipes."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def find_recipe(word: str) -> Path:
    """Resolve a recipe file or the name of a bundled recipe. Raises ConfigError."""
    if Path(word).is_file():
        return Path(word)
    if word in shipped_recipes():
        return SHIPPED / f"{word}.toml"
    raise ConfigError(
        f"Unknown recipe {word!r}. Pass a .toml file or one of the built-in recipes: "
        f"{', '.join(shipped_recipes())}."
    )


def read_recipe(path: str | Path) -> Recipe:
    """Read and validate a recipe. Raises ConfigError that names the file and the field."""
    path = Path(path)
    try:
        raw = parse_toml(path.read_bytes(), path)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the recipe {path}: {error.strerror}. Check the path and its permissions."
        ) from error
    return recipe_of(raw, str(path))


def recipe_of(raw: dict[str, Any], where: str) -> Recipe:
    """Create a recipe from plain values of TOML or a checkpoint.

    Raises ConfigError that names `where` and the field.
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
] = {  # text of the error message, and the check
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
    "rounds": ("be 0 or at least 2", lambda n: n == 0 or n >= 2),
    "drop_path": ("be at least 0 and below 1", lambda n: 0 <= n < 1),
    "layer_decay": ("be above 0 and at most 1", lambda n: 0 < n <= 1),
    **dict.fromkeys(
        ("synthetic", "boxes", "turns", "at_scale"), ("be from 0 to 1", lambda n: 0 <= n <= 1)
    ),
}


def _check(recipe: Recipe, where: str) -> None:
    """Raise ConfigError for wrong types, values out of range and conflicting fields."""
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
    if recipe.drop_path and recipe.learn != "all":
        raise ConfigError(
            f"Invalid drop_path in {where}: it skips blocks of the image encoder and requires "
            f"learn = 'all', but learn = {recipe.learn!r} was given. Set learn = 'all' or "
            "drop_path = 0."
        )
    for name in ("channels", "classes"):
        if getattr(recipe, name) and (recipe.synthetic or recipe.task != "masks"):
            raise ConfigError(
                f"{name} in {where} requires synthetic = 0 and task = 'masks'. Set both, or remove "
                f"{name}."
            )


def _check_stages(recipe: Recipe, where: str) -> None:
    """Raise ConfigError for invalid stages."""
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
    """Raise ConfigError if the images of a step cannot be divided evenly among workers."""
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
    """Compare types with those of the defaults; integers are allowed for floats."""
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
