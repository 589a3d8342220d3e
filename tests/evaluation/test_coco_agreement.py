"""Where COCO's own tools compute the same thing, the numbers are the same."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from anymask.evaluation import tight_box
from anymask.evaluation.measures import score_set
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan, choose_masks
from anymask.formats import load_set
from anymask.masks import rle_to_mask, rle_to_string
from tests.evaluation.small_sets import perfect


def encoded(mask: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_scores_of_coco_photos_are_theirs(shared: Path) -> None:
    """A method that answers each box with a shifted truth, scored by us and by pycocotools."""
    info, samples = load_set(shared / "data" / "eval" / "coco_val")
    one = EvalSet(SetPlan(name="coco_val", measures=("box",)), info, samples)
    chosen = choose_masks(one.plan, samples, limit=40)
    answers = {}
    theirs = []
    for image, mask in zip(chosen.image, chosen.mask, strict=True):
        rle = samples[int(image)].rles[int(mask)]
        truth = rle_to_mask(rle)
        answers[truth.shape, tuple(tight_box(truth))] = said = np.roll(truth, 3, axis=1)
        written = {"size": list(truth.shape), "counts": rle_to_string(rle).encode()}
        ignore = samples[int(image)].ignore
        counted = truth if ignore is None else truth & ~rle_to_mask(ignore)
        if ignore is not None:
            said, written = said & ~rle_to_mask(ignore), encoded(counted)
        theirs.append(coco.iou([encoded(said)], [written], [0])[0, 0])
    method = perfect("shifted")
    object.__setattr__(method, "function", lambda image, p: answers[image.shape[:2], tuple(p.box)])
    scores = score_set([method], one, EvalSettings(limit=40))
    assert scores.columns["shifted", "box"] == pytest.approx(np.array(theirs))
    assert np.array_equal(
        scores.area,
        [
            coco.area(encoded(rle_to_mask(samples[int(i)].rles[int(m)])))
            for i, m in zip(chosen.image, chosen.mask, strict=True)
        ],
    )
