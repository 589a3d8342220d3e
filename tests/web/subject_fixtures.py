"""Main subjects: maps of made features, their prompts, and how masks agree with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from anymask.edit.subject import SubjectProbe, agreement, subject_map, subject_prompts
from anymask.masks import Features, geometry, mask_to_rle, rle_to_coco
from tests.segment.fakes import SPEC, seen_of

SIZES = [(90, 120), (200, 130), (64, 64), (300, 401)]
CHANNELS, CELLS = 3, 8
NUMBERS = 5  # decimals


def rounded(array: Any) -> list[Any]:
    return list(np.round(np.asarray(array, np.float64), NUMBERS).tolist())


def subject_cases() -> list[dict[str, Any]]:
    rng = np.random.default_rng(17)
    spec = replace(SPEC, fit="longest_side")
    cases = []
    for size in SIZES:
        maps = np.round(rng.normal(0, 0.3, (CHANNELS, CELLS, CELLS)), 3).astype(np.float32)
        maps[0, 2:5, 1:4] += 1.4  # two subjects, the larger one less sure
        maps[0, 0:2, 5:7] += 2
        weights = np.round(rng.normal(0, 0.3, 3 * CHANNELS + 6), 3).astype(np.float32)
        weights[0] = 2.5
        probe = SubjectProbe("made", weights, -2.0, 0.2)
        features = Features(seen_of(maps), geometry(size, spec), "made", "made")
        likely = subject_map(features, probe)
        large = cv2.resize(likely, size[::-1], interpolation=cv2.INTER_LINEAR)
        prompts = subject_prompts(np.asarray(large, np.float32))
        mask = np.asarray(large > 0.3)
        whole = mask.astype(np.float32)
        cells = np.asarray(
            cv2.resize(whole, likely.shape[::-1], interpolation=cv2.INTER_AREA), np.float32
        )
        cases.append({
            "size": size, "inputHw": features.geometry.input_hw, "side": features.geometry.side,
            "maps": rounded(maps.ravel()), "weights": rounded(weights), "offset": probe.offset,
            "hw": likely.shape, "likely": rounded(likely.ravel()),
            "boxes": [rounded(one.box) for one in prompts if one.box is not None],
            "clicks": [rounded(one.points) for one in prompts if one.points is not None],
            "started": [rle_to_coco(mask_to_rle(one.mask)) for one in prompts
                        if one.mask is not None],
            "mask": rle_to_coco(mask_to_rle(mask)), "shares": rounded(cells.ravel()),
            "agreement": round(agreement(cells, likely), NUMBERS),
        })  # fmt: skip
    return cases
