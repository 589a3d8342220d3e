"""Arms of the experiment, and the findings of the Segment Anything paper that pairs of them test.

An arm is a training run with one setting changed. All arms have the same number of optimizer steps,
except for those with `same_time`, which get the steps that take the same processor time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anymask.masks import ONE_OR_THREE, TokenRoles
from anymask.training.recipe import Recipe, RecipeStage

SIDE = 128  # pixels of training crops and of test images
ROUNDS, MANY_ROUNDS = 3, 8
IMAGES, MASKS = 4, 4  # of a step, of an image; few, because the number of steps matters most
ONE_OUTPUT = TokenRoles(clear=(0,), ambiguous=(0,))

Start = Literal["imagenet", "random", "mae"]
Pool = Literal["all", "tenth", "many_images", "many_masks"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train.

    Attributes:
        model: Name of the model.
        pool: Training images (`research.claims.pools`).
        start: Weights of the encoder at the start.
        outputs: Masks for a single click, 1 or 3.
        rounds: Predictions for each object in a step (`Recipe.rounds`).
        composed: Fraction of the images that are composed of others (`research.nano.scenes`).
        same_time: Whether the steps take the time of those of the other arms.
    """

    model: str = "nano_tiny"
    pool: Pool = "all"
    start: Start = "imagenet"
    outputs: Literal[1, 3] = 3
    rounds: int = ROUNDS
    composed: float = 0.0
    same_time: bool = False

    @property
    def roles(self) -> TokenRoles:
        """Outputs that are trained and used."""
        return ONE_OR_THREE if self.outputs == 3 else ONE_OUTPUT

    def recipe(self, steps: int, seed: int, *, backbone: str = "", init: str = "") -> Recipe:
        """Return the recipe of a run.

        Args:
            backbone: File of the ImageNet weights, if the arm starts from these.
            init: Checkpoint of the pretraining, if the arm starts from one.
        """
        return Recipe(
            model=self.model, sets=(self.pool,), backbone=backbone, init=init, seed=seed,
            stages=(RecipeStage(steps=steps, side=SIDE, images=IMAGES, masks=MASKS, cool=True),),
            rounds=self.rounds, synthetic=self.composed, rate=2e-3, warmup=min(20, steps),
            backbone_rate=0.2 if self.start == "imagenet" else 1.0, balanced_steps=steps,
            mask_loss="normalised", ema=0.98, workers=1, prepare_ahead=False, decode_once=False,
            bf16=False, save_every=10 * steps, turns=0.0,
        )  # fmt: skip


ARMS: dict[str, Arm] = {
    "base": Arm(),
    "large": Arm(model="nano"),
    "tenth": Arm(pool="tenth"),
    "many_images": Arm(pool="many_images"),
    "many_masks": Arm(pool="many_masks"),
    "one_output": Arm(outputs=1),
    "random": Arm(start="random"),
    "mae": Arm(start="mae"),
    "composed": Arm(pool="tenth", composed=0.5),
    "many_rounds": Arm(rounds=MANY_ROUNDS, same_time=True),
}

Metric = Literal["first", "oracle", "third", "clicks"]
METRICS: dict[Metric, str] = {
    "first": "IoU of one click",
    "oracle": "IoU of the best candidate of one click",
    "third": "IoU of three clicks",
    "clicks": "clicks to IoU 0.9",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding, and the two arms that test it.

    Attributes:
        text: The finding, as a sentence.
        better: Arm that the finding favors.
        worse: The other arm.
        metric: Metric of the verdict.
        margin: For a finding that two arms are comparable, the largest loss that counts as such.
            0 for a finding that one arm is better.
    """

    text: str
    better: str
    worse: str
    metric: Metric = "oracle"
    margin: float = 0.0

    @property
    def arms(self) -> tuple[str, str]:
        """Both arms."""
        return self.better, self.worse


FINDINGS: dict[str, Finding] = {
    "size": Finding(text="A larger model is better", better="large", worse="base"),
    "data": Finding(
        text="A tenth of the images is enough", better="base", worse="tenth", margin=0.02
    ),
    "diversity": Finding(
        text="Many images with one mask are better than an eighth of them with eight masks",
        better="many_images", worse="many_masks",
    ),
    "outputs": Finding(
        text="Three masks for a click are better than one", better="base", worse="one_output",
        metric="first",
    ),
    "pretraining": Finding(
        text="An encoder pretrained by MAE is better than a random one", better="mae",
        worse="random",
    ),
    "new": Finding(
        text="New images are better than scenes composed of a tenth of them", better="base",
        worse="composed",
    ),
    "rounds": Finding(
        text="Eight rounds of prompts are better than three in the same time",
        better="many_rounds", worse="base", metric="clicks",
    ),
}  # fmt: skip
