"""Opacity of soft matter: SAD of the alpha that a model's mask leads to, on the hard scenes.

Each object is prompted by its tight box. `anymask.edit.soft_alpha` turns the mask into an opacity,
which is compared with the drawn one. SAD is the sum of absolute differences in thousands, as in
Rhemann et al., "A perceptually motivated online benchmark for image matting", CVPR 2009.

    SAD            opacity from the predicted mask
    SAD hard       the predicted mask itself
    SAD true mask  opacity from the true mask: the error that remains with a perfect mask
"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from anymask.base import OnProgress
from anymask.edit.alpha import soft_alpha
from anymask.evaluation.protocols import (
    BOX_KINDS,
    NotMeasured,
    Segmenter,
    predict_in_parts,
    tight_box,
)
from anymask.evaluation.results import SetResult, values_to_metric
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.masks import Prompt
from research.matting import sad
from research.paper.hard_scenes import GROUPS, render
from research.shared import iterate_images

COLUMNS = ("SAD", "SAD hard", "SAD true mask")
SOFT = tuple(one.__name__ for one in GROUPS["soft"])


def measure_alpha(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress | None = None
) -> SetResult:
    """Measure one method on one set of scenes (a `SetMeasure`).

    Raises NotMeasured for other datasets, and for methods that take no boxes.
    """
    if one.plan.name not in SOFT or one.info.source != render.__module__:
        raise NotMeasured(f"the opacity is known only in the scenes {', '.join(SOFT)}")
    if not method.spec.accepts >= BOX_KINDS:
        raise NotMeasured("it takes no boxes")
    rows: list[list[float]] = []
    image: list[int] = []
    for pixels in iterate_images(method, one, settings, progress):
        number = int(PurePosixPath(pixels.sample.file_name).name)
        alphas = render(one.plan.name, number, one.info.folder).alphas
        truths = pixels.truths()
        prompts = [Prompt(box=tight_box(truth.mask)) for truth in truths]
        found = predict_in_parts(method, method.encode(pixels.image), prompts)
        for mask, truth, answer in zip(pixels.masks, truths, found, strict=True):
            alpha, drawn = alphas[int(mask)], answer.masks[0]
            guesses = (
                soft_alpha(pixels.image, drawn),
                drawn.astype(np.float32),
                soft_alpha(pixels.image, truth.mask),
            )
            rows.append([sad(guess, alpha) for guess in guesses])
            image.append(pixels.place)
    places = np.array(image, np.int64)
    columns = zip(COLUMNS, np.array(rows).T, strict=True)
    return SetResult(
        figures=tuple(values_to_metric(name, values, places, digits=2) for name, values in columns)
    )
