"""The mask that stays in the page is Python's: looked at closer, its edges those of the photo."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.masks import Rle, coco_to_rle, mask_to_rle, rle_iou, rle_to_mask
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_parity import PROMPTS

SAME = 0.99  # IoU of masks that differ by rounding
CLICK = (300, 180)
ASKED = {
    "coffee": [
        *PROMPTS,
        {"points": [[290, 120], [330, 180]], "labels": [1, 0], "box": None},
        {"points": [], "labels": [], "box": [400, 150, 560, 300]},
        {"points": [], "labels": [], "box": [300, 200, 360, 260]},
    ],
    "cat": [
        {"points": [[150, 100]], "labels": [1], "box": None},
        {"points": [[220, 150], [30, 20]], "labels": [1, 0], "box": None},
        {"points": [], "labels": [], "box": [5, 0, 390, 280]},
        {"points": [], "labels": [], "box": [230, 60, 330, 150]},
    ],
}

REFINED = """async ({points, labels, box}) => {
  const {session} = window.anymask;
  const clicks = points.map(([x, y], i) => ({x, y, label: labels[i]}));
  const model = session.model();
  const id = session.editor.entry.id;
  const kept = await model.answer(id, {clicks, box, mask: null}, 0, "all");
  const fine = [];
  for (const i of kept.candidates.keys()) fine.push(await model.refine(id, kept, i, true));
  const {toCoco} = window.anymask;
  return fine.map(({patch, score, violated}) => [toCoco(patch), score, violated]);
}"""


@cache
def model() -> Any:
    return anymask.load()


@pytest.fixture
def at_work(sit_down: SitDown, images: dict[str, np.ndarray]) -> Any:
    """Somebody whose first photo, the coffee, the model has seen."""
    return sit_down(Project(images))


def overlap(rle: Rle, mask: np.ndarray) -> float:
    return float(rle_iou([rle], [mask_to_rle(mask)])[0, 0])


def kept(ann: Any) -> np.ndarray:
    """The pixels of the mask that was kept last."""
    size, counts = ann.ask(
        "(({rle: {size, counts}}) => [size, [...counts]])(s.editor.state.masks.at(-1))"
    )
    return rle_to_mask(Rle(np.array(counts, np.int64), tuple(size)))


def test_edges_are_those_of_python(at_work: Any, images: dict[str, np.ndarray]) -> None:
    """Of one look at a lone click, of two at a box and at corrected clicks."""
    ann, moved, again = at_work.begin(), [], []
    for name in images:
        ann.page.evaluate(f"window.anymask.session.open('{name}')")
        ann.until(f"s.editor?.entry.id === '{name}' && s.editor.encoded")
        embedding = model().encode(images[name])
        for prompt in ASKED[name]:
            words = {"labels": "point_labels"}
            asked = {words.get(key, key): value or None for key, value in prompt.items()}
            expected = model().segment(images[name], **asked)
            once = model().segment(images[name], **asked, zoom=False).masks
            own = model().segment(embedding, **asked).masks
            ours = ann.page.evaluate(REFINED, prompt)
            assert len(ours) == len(expected)
            for (coco, _, _), mask, coarse in zip(ours, expected.masks, own, strict=True):
                assert overlap(coco_to_rle(coco), mask) >= SAME, (name, prompt)
                moved.append(overlap(coco_to_rle(coco), coarse))
            assert np.allclose([score for _, score, _ in ours], expected.scores, atol=0.02)
            assert ours[0][2] == list(expected.violated_points)
            again.append(overlap(coco_to_rle(ours[0][0]), once[0]) < SAME)
    assert np.mean(moved) < SAME  # edges have moved: the model's own are others
    assert sum(again) >= 3  # and what a closer look has found is something else


def test_a_network_that_cannot_be_loaded_is_said_and_the_mask_is_kept(
    at_work: Any, images: dict[str, np.ndarray]
) -> None:
    at_work.page.route("**/model/refiner.onnx", lambda route: route.abort())
    ann = at_work.begin()
    ann.click(*CLICK)
    ann.message("The edge of the mask was not refined")
    ann.keep()
    own = model().segment(model().encode(images["coffee"]), points=[CLICK]).masks[0]
    assert overlap(mask_to_rle(kept(ann)), own) >= SAME
