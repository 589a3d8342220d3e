"""The page's masks are the package's masks: all of an answer, over a server's embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from anymask.masks import coco_to_rle, mask_to_rle, rle_iou
from tests.web.conftest import SitDown
from tests.web.project_server import Project

PROMPTS: list[dict[str, Any]] = [
    {"points": [[300, 180]], "labels": [1], "box": None},
    {"points": [[90, 300]], "labels": [1], "box": None},
    {"points": [[300, 180], [500, 60]], "labels": [1, 0], "box": None},
    {"points": [[300, 180], [320, 200], [250, 120]], "labels": [1, 0, 1], "box": None},
    {"points": [], "labels": [], "box": [180, 60, 420, 330]},
    {"points": [[300, 180]], "labels": [1], "box": [100, 30, 500, 360]},
]

ANSWER = """async ({points, labels, box}) => {
  const {session} = window.anymask;
  const clicks = points.map(([x, y], i) => ({x, y, label: labels[i]}));
  const model = session.model();
  const id = session.editor.entry.id;
  const reply = await model.answer(id, {clicks, box, mask: null}, 0, "all");
  const rles = reply.candidates.map(({patch}) => window.anymask.toCoco(patch));
  return {rles, score: reply.candidates.map((c) => c.score)};
}"""


def test_masks_are_the_same_as_in_python(
    sit_down: SitDown, project: Project, images: dict[str, np.ndarray]
) -> None:
    import anymask

    ann = sit_down(project).begin()
    model = anymask.load()
    features = model.encode(images["coffee"])  # `answer` has the model's own edges, too
    for prompt in PROMPTS:
        ours = ann.page.evaluate(ANSWER, prompt)
        answer = model.segment(
            features,
            points=prompt["points"] or None,
            point_labels=prompt["labels"] or None,
            box=prompt["box"],
        )
        theirs = [mask_to_rle(mask) for mask in answer.masks]
        assert len(ours["rles"]) == len(theirs)
        assert np.allclose(ours["score"], answer.scores, atol=0.01)
        pairs = zip(ours["rles"], theirs, strict=True)
        worst = min(float(rle_iou([coco_to_rle(rle)], [mask])[0, 0]) for rle, mask in pairs)
        assert worst >= 0.99, prompt
