"""The measures of the paper: rows for the table of `anymask.evaluation.measures`.

`register` adds them; report, page and files then show them as they show those of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import Floats
from anymask.evaluation import (
    BOX,
    MASK_MEASURES,
    MEASURES,
    Accepts,
    EvalSettings,
    MaskMeasure,
    Measure,
    Segmenter,
    TruthMask,
    box_scores,
    columns_of,
    score_first,
)
from anymask.masks import Prompt, iou
from research.paper.edges import measure_edges
from research.paper.fairness import measure_fairness
from research.paper.naming import measure_names
from research.paper.perturbation import PERTURBATIONS, Perturbation, noisy_box, perturb_mask
from research.paper.region_quality import measure_regions
from research.paper.robustness import measure_robustness

NOISE = (0.05, 0.10, 0.20)
MASK: Accepts = frozenset({"mask"})
_NOISY = tuple(f"box ±{level:.0%}" for level in NOISE)
_REFINED = tuple(name for kind in PERTURBATIONS for name in (kind, f"{kind}, refined"))


def register(groups: Path | None = None) -> None:
    """Add the measures of the paper to the tables of the package.

    groups  a CSV file of groups for `fairness`; None: the sets' labels
    """
    MASK_MEASURES["noisy-box"] = MaskMeasure(columns=columns_of(BOX, *_NOISY), score=_score_noisy)
    MASK_MEASURES["refine"] = MaskMeasure(columns=columns_of(MASK, *_REFINED), score=_score_refine)
    MEASURES.update(
        {
            "noisy-box": Measure(about="mean IoU from boxes whose edges are off by 5, 10 and 20 %"),
            "refine": Measure(
                about="mean IoU of a spoiled mask, and after the model has refined it"
            ),
            "robustness": Measure(
                about="what blur, noise, JPEG, gamma and a click a little off cost",
                function=measure_robustness,
            ),
            "fairness": Measure(
                about="mean IoU by group, and the largest gap (groups: --groups FILE, else labels)",
                function=partial(measure_fairness, groups=groups),
            ),
            "names": Measure(
                about="the right name among a set's labels, first and first five: drawn masks, "
                "box answers",
                function=measure_names,
            ),
            "regions": Measure(
                about="the photo divided into masks, against people: covering, PRI, VOI "
                "(annotated sets)",
                function=measure_regions,
            ),
            "edges": Measure(
                about="edges of a grid of clicks against people's: ODS, OIS, AP, R50 "
                "(annotated sets)",
                function=measure_edges,
            ),
        }
    )


def _score_noisy(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    return tuple(
        box_scores(method, embedding, truths, partial(noisy_box, level=level)) for level in NOISE
    )


def _score_refine(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    pairs = [refine_scores(method, embedding, truths, spoil) for spoil in PERTURBATIONS]
    return tuple(scores for pair in pairs for scores in pair)


def refine_scores(
    segmenter: Segmenter, embedding: Any, truths: Sequence[TruthMask], spoil: Perturbation
) -> tuple[Floats, Floats]:  # (N,), (N,)
    """The IoU of spoiled masks, and of what the method makes of them.

    A method with `refine(embedding, mask)` is asked by it, any other by a mask prompt alone.
    """
    starts = [perturb_mask(truth.mask, spoil) for truth in truths]
    refine = getattr(segmenter, "refine", None)
    if refine:
        answers = [refine(embedding, start) for start in starts]
    else:
        prompts = [Prompt.of(mask=start) for start in starts]
        answers = list(segmenter.segment(embedding, prompts=prompts, multimask=False))
    before = [iou(s, t.mask, t.ignore) for s, t in zip(starts, truths, strict=True)]
    return np.array(before), score_first(answers, truths)
