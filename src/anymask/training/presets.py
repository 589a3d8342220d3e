"""Presets of fine-tuning: a model, a way and the number of photos in, a recipe out.

What decides is how many photos there are: a few leave the encoder as it is for long enough to be
learned by heart, so the rate is low and the run short; thousands are worth a run of hours. The
rate falls to nothing along a cosine, and the best weights on held-out photos are kept.
"""

from __future__ import annotations

from typing import Literal, get_args

from anymask import models
from anymask.primitives.errors import InputError
from anymask.training.recipe import Learn, Recipe, RecipeStage

Way = Literal["full", "decoder", "lora"]

LEARN: dict[Way, Learn] = {"full": "all", "decoder": "decoder", "lora": "lora"}
RATES: dict[Way, float] = {"full": 3e-4, "decoder": 4e-4, "lora": 1e-3}
VIEWS = 40  # how often each photo is seen, of a small set
FEWEST, MOST = 800, 40_000  # pictures of a run
FREE_SIDE = 384  # of models that see pictures of any side
JUDGEMENTS = 8  # measurements on held-out photos in a run
PATIENCE = 4
BRIEF = 200  # pictures of a run for which processes of its own take longer to start than to help


def tuning_recipe(
    model: str, way: str, photos: int, *, init: str = "shipped", pictures: int | None = None
) -> Recipe:
    """The recipe of a fine-tuning.

    model     variant to tune
    way       "full": all weights; "decoder": what sees the picture stays; "lora": adapters
    photos    that are learned from
    init      file of weights to start from, or "shipped"
    pictures  how many pictures the run sees, a photo being seen many times; None: by `photos`

    Raises InputError for an unknown way, ModelError for an unknown model.
    """
    if way not in get_args(Way):
        raise InputError(f"--way must be one of {', '.join(get_args(Way))}, got {way!r}")
    spec = models.spec(model)
    side, images, masks = (FREE_SIDE, 4, 8) if spec.pad_multiple else (spec.image_side, 2, 8)
    seen = pictures or min(MOST, max(FEWEST, VIEWS * photos))
    steps = max(JUDGEMENTS, seen // images)
    return Recipe(
        model=model,
        sets=("train",),
        init=init,
        learn=LEARN[way],  # type: ignore[index]  # checked above
        stages=(RecipeStage(steps=steps, side=side, images=images, masks=masks, cool=True),),
        rate=RATES[way],  # type: ignore[index]
        backbone_rate=0.3,
        warmup=max(1, steps // 20),
        synthetic=0.0,
        boxes=0.4,
        balanced_steps=1,
        mask_loss="normalised",
        ema=0.98,
        workers=1 if seen <= BRIEF else 2,
        prepare_ahead=seen > BRIEF,
        save_every=max(1, steps // JUDGEMENTS),
        judge_every=max(1, steps // JUDGEMENTS),
        patience=PATIENCE,
    )
