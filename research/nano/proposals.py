"""What a model proposes for training photos: masks and a labelled photo in, their worth out.

Letters: n proposals, M masks that people drew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.formats import AnnotatedImage
from anymask.masks import Rle, rle_area, rle_intersection, rle_iou

ROUND = (
    "coco_panoptic", "coco_instances", "dog_cat", "coco_panoptic", "street_building", "coco_more",
    "pigs", "coco_panoptic", "coco_instances", "caltech_animals", "signs_and_lanes",
    "coco_panoptic", "building_facade", "football_broadcast", "coco_instances", "pets",
    "kitchen_things", "corridor_a", "coco_panoptic", "coco_more", "taco_litter", "fruit3",
    "coco_instances", "dog_cat", "coco_person_more", "clothing_more", "food_components",
    "coco_panoptic", "railway_wagon", "car_panels_web", "coco_more", "warehouse_pallets",
)  # fmt: skip  # sets whose photos a model is asked about in turn
COMPLETE = ("coco_panoptic", "corridor_a", "football_broadcast")  # that label all they show
UNSEEN = 0.3  # of a mask: how much one counts that nobody may have labelled
SAME, TOUCHED = 0.5, 0.25  # IoU with a drawn mask to be the same; share from which it touches one


def judge_proposals(
    rles: Sequence[Rle], sample: AnnotatedImage, complete: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # -> (n, M), (n,)
    """IoU of each with each mask that people drew, and how much each counts.

    Args:
        complete: Whether all objects are annotated.
    """
    truths = sample.rles
    ious = rle_iou(rles, truths).astype(np.float64).reshape(len(rles), len(truths))
    areas = np.array([rle_area(rle) for rle in truths], np.float64)
    found = np.array([rle_area(rle) for rle in rles], np.float64)
    common = rle_intersection(rles, truths)
    reached, covered = common / np.maximum(areas, 1), common / np.maximum(found[:, None], 1)
    touched = (np.maximum(reached, covered) > TOUCHED).any(axis=1)
    return ious, np.where(touched | complete, 1.0, UNSEEN)
