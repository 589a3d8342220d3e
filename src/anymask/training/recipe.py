"""Training recipes: settings that are read from a TOML file and validated.

A recipe is immutable, has no default path, and is stored in every checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from anymask.base import (
    ConfigError,
    InputError,
    Setting,
    brief,
    describe_settings,
    parse_toml,
    settings_from_table,
)
from anymask.models.rules import DEFAULT_VIDEO_MODEL

BUNDLED_RECIPES = Path(__file__).parents[1] / "assets" / "recipes"

MaskLoss = Literal["focal", "normalised"]
Task = Literal["masks", "distil"]
Truth = Literal["teacher", "labels"]
Learn = Literal["all", "decoder", "neck", "quality", "lora", "hq", "adapter", "no-prompt", "memory"]


@describe_settings
@dataclass(frozen=True, kw_only=True)
class RecipeStage:
    """Part of a training with constant settings. Raises InputError for values out of range."""

    steps: Annotated[int, Setting("optimizer steps", ge=1)]
    side: Annotated[
        int, Setting("side of the square training crops in pixels, a multiple of 32", ge=1)
    ]
    images: Annotated[int, Setting("crops per step, over all workers", ge=1)]
    masks: Annotated[int, Setting("objects per crop", ge=1)]
    cool: Annotated[
        bool,
        Setting(
            "whether the learning rate decays to zero, along a cosine over all cooling stages; "
            "these must come last"
        ),
    ] = False
    sides: Annotated[
        tuple[int, ...],
        Setting("sides that are used in turn instead of `side`, one for each step", ge=1),
    ] = ()

    def __post_init__(self) -> None:
        for side in (self.side, *self.sides):
            if side % 32:
                raise InputError(f"Invalid side {side!r}. Use a positive multiple of 32.")

    def side_at(self, step: int) -> int:
        """Return the side of the crops of an optimizer step."""
        return self.sides[step % len(self.sides)] if self.sides else self.side


# fmt: off
@brief
@describe_settings
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that determine the result of a training run.

    `stages` are the stages in order. Raises InputError for values out of range.
    """

    model: Annotated[str, Setting(
        "variant to train: any image model of `anymask models list`")] = DEFAULT_VIDEO_MODEL
    sets: Annotated[tuple[str, ...], Setting(
        "names of set folders in the data folder; () uses every set with `ships` not false")] = ()
    weights: Annotated[dict[str, float], Setting(
        "sampling weight by set name, 1 if missing; the probability of a set is proportional to "
        "weight * sqrt(number of images)")] = field(default_factory=dict)
    backbone: Annotated[str, Setting(
        'file of ImageNet weights, relative to the parent of the data folder, or ""')] = ""
    init: Annotated[str, Setting(
        'checkpoint to start from, "shipped" for the released weights, or ""')] = ""
    learn: Annotated[Learn, Setting(
        'trained part: "all"; "decoder": the image encoder is frozen; "neck": only the pretrained '
        'backbone is frozen; "quality": a new quality head; "lora": low-rank adapters of all '
        'linear layers and 1 x 1 convolutions (`training.lora`); "hq": the token and layers that '
        'SAM-HQ adds to SAM; "adapter": the bottlenecks of Medical SAM Adapter '
        '(`models.bottlenecks`); "no-prompt": a head that prompts SAM for each of the `classes`, '
        'as in AutoSAM (`models.class_head`); "memory": memory and mask decoder of a video model, '
        "on clips (`training.memory_step`)")] = "all"
    lora_rank: Annotated[int, Setting("rank r of the adapters", ge=1)] = 8
    lora_alpha: Annotated[float, Setting(
        "scale of the adapters is lora_alpha / lora_rank")] = 16.0
    stages: tuple[RecipeStage, ...] = ()
    rate: Annotated[float, Setting("AdamW learning rate of new layers")] = 1e-3
    backbone_rate: Annotated[float, Setting(
        "factor of the learning rate for the backbone")] = 0.2
    weight_decay: Annotated[float, Setting("AdamW weight decay")] = 0.01
    warmup: Annotated[int, Setting("steps of linear warm-up")] = 200
    synthetic: Annotated[float, Setting(
        "fraction of synthetic images, from a generator that the caller passes", le=1)] = 0.0
    boxes: Annotated[float, Setting(
        "fraction of the first prompts that are boxes; the others are clicks", le=1)] = 0.5
    balanced_steps: Annotated[int, Setting(
        "steps over which the balanced cross-entropy is replaced by focal loss")] = 2000
    ema: Annotated[float, Setting(
        "decay of the averaged weights, which are the result", le=1)] = 0.998
    clip: Annotated[float, Setting("maximum gradient norm")] = 1.0
    rounds: Annotated[int, Setting(
        "predictions for each object in a step, all with a loss: the first prompt, then "
        "corrections of the predicted mask; from 4 on, a random correction and the last one only "
        "feed the mask back, and each other one adds a click (11 in appendix A of Segment "
        "Anything: 8 clicks after the first prompt); 0 for two predictions, at times with a third "
        "one without gradient between them")] = 0
    drop_path: Annotated[float, Setting(
        "probability that the last block of the encoder is skipped for an image; it rises "
        "linearly from 0 at the first block", lt=1)] = 0.0
    workers: Annotated[int, Setting(
        "data-parallel processes on a CPU, one thread each", ge=1)] = 2
    prepare_ahead: Annotated[bool, Setting(
        "whether each worker prepares its crops in another process")] = True
    seed: Annotated[int, Setting("random seed")] = 20260
    save_every: Annotated[int, Setting("steps between checkpoints", ge=1)] = 250
    save_minutes: Annotated[float, Setting("maximum minutes between checkpoints", gt=0)] = 5.0
    decode_once: Annotated[bool, Setting(
        "whether images are decoded once to the run folder")] = True
    mask_loss: Annotated[MaskLoss, Setting(
        '"focal": the paper\'s focal 20 : Dice 1; "normalised": RITM\'s focal divided by its own '
        "sum (Sofiiuk et al. 2021, section 3.2), weighted at edges, and Dice")] = "focal"
    judge_every: Annotated[int, Setting(
        "steps between evaluations on held-out images, for fine-tuning only; 0 for none"
    )] = 0
    patience: Annotated[int, Setting(
        "evaluations without an improvement after which the run ends; 0 for no limit")] = 0
    turns: Annotated[float, Setting(
        "probability of flipping upside down and of transposing", le=1)] = 0.12
    at_scale: Annotated[float, Setting(
        "fraction of the crops whose objects have the size that they have at inference, if the "
        "side of a step is less than the model's", le=1)] = 0.0
    several: Annotated[float, Setting(
        "weight of all masks for a single click, relative to the best one's 1; near 0 for objects "
        "of any kind, 1 if a click is unambiguous")] = 0.05
    falls: Annotated[tuple[int, ...], Setting(
        "steps after each of which the learning rate is divided by ten")] = ()
    layer_decay: Annotated[float, Setting(
        "factor of the learning rate from each encoder block to the previous one",
        gt=0, le=1)] = 1.0
    accumulate: Annotated[int, Setting(
        "parts of a step that are processed one after the other, to save memory", ge=1)] = 1
    recompute: Annotated[bool, Setting(
        "whether to recompute activations inside blocks (activation checkpointing)")] = False
    bf16: Annotated[bool, Setting(
        "whether to use bf16 on devices with fast bf16; False uses float32, which gives the same "
        "result on every processor")] = True
    keep: Annotated[int, Setting(
        "number of recent checkpoints to keep besides the last one")] = 0
    task: Annotated[Task, Setting(
        '"masks"; "distil": a teacher\'s features and masks (`training.step`)')] = "masks"
    teacher: Annotated[str, Setting("teacher model")] = ""
    teacher_weights: Annotated[str, Setting(
        'weights file of the teacher; "" for the downloaded weights')] = ""
    feature_weight: Annotated[float, Setting('weight of the feature loss in "distil"')] = 1.0
    truth: Annotated[Truth, Setting(
        'target masks in "distil": predictions of the "teacher" for the same prompts, or the '
        '"labels" of the images, in addition to the teacher\'s features')] = "teacher"
    classes: Annotated[tuple[str, ...], Setting(
        "labels of a class head, in order; () for none")] = ()
    views: Annotated[int, Setting(
        "crops of each image in a fixed pool, so that the outputs of frozen layers are computed "
        "once; 0 for new crops in every step")] = 0
    channels: Annotated[dict[str, Any], Setting(
        "initial values of a `masks.spec.ChannelMix` for multi-channel images; {} for RGB"
    )] = field(default_factory=dict)
    # fmt: on

    def __post_init__(self) -> None:
        if self.rounds == 1:
            raise InputError("Invalid rounds 1. Use 0 or at least 2.")

    @property
    def needs_masks(self) -> bool:
        """Whether images without masks cannot be used."""
        return self.task == "masks" or self.truth == "labels"

    @property
    def largest_side(self) -> int:
        """Side of the largest training crops in pixels; 0 without stages."""
        return max(
            (side for stage in self.stages for side in (stage.side, *stage.sides)), default=0
        )

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
    return tuple(sorted(path.stem for path in BUNDLED_RECIPES.glob("*.toml")))


def find_recipe(word: str) -> Path:
    """Resolve a recipe file or the name of a bundled recipe. Raises ConfigError."""
    for path in (Path(word), BUNDLED_RECIPES / f"{word}.toml"):
        if path.is_file():
            return path
    names = ", ".join(shipped_recipes())
    raise ConfigError(f"Unknown recipe {word!r}. Pass a .toml file or a built-in recipe: {names}.")


def read_recipe(path: str | Path) -> Recipe:
    """Read and validate a recipe. Raises OSError, or ConfigError that names the file and field."""
    return recipe_of(parse_toml(Path(path).read_bytes(), Path(path)), str(path))


def recipe_of(raw: Any, where: str) -> Recipe:
    """Create a recipe from plain values of TOML or a checkpoint.

    Raises ConfigError that names `where` and the field.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is not a recipe: expected names and values. Restore the file.")
    stages = raw.pop("stages", raw.pop("stage", []))
    if not isinstance(stages, list | tuple) or not all(isinstance(row, dict) for row in stages):
        raise ConfigError(
            f"Invalid stages in {where}: {str(stages)[:60]}. Write each stage as a [[stage]] table."
        )
    rows = [
        settings_from_table(RecipeStage, row, f"{where}, stage {n}")
        for n, row in enumerate(stages, start=1)
    ]
    recipe = settings_from_table(Recipe, raw, where, stages=tuple(rows))
    if not recipe.stages:
        raise ConfigError(f"{where} has no [[stage]]. Add at least one with steps and side.")
    check_shares(recipe, where)
    cool = [stage.cool for stage in recipe.stages]
    if cool != sorted(cool):
        raise ConfigError(
            f"Invalid order of stages in {where}. Put the stages with cool = true last."
        )
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
    return recipe


def check_shares(recipe: Recipe, where: str) -> None:
    """Raise ConfigError if the images of a step cannot be divided evenly among workers."""
    for stage in recipe.stages:
        if stage.images % (recipe.workers * recipe.accumulate):
            raise ConfigError(
                f"Invalid stage in {where}: images ({stage.images}) must be divisible by "
                f"workers ({recipe.workers}) times accumulate ({recipe.accumulate})."
            )
