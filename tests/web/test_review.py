"""Proposals and the review of masks: a slider over what was found, verdicts with a way back."""

from __future__ import annotations

from typing import Any

from anymask.masks import coco_to_rle, rle_area
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square


def test_review_accepts_fixes_and_rejects(sit_down: SitDown, project: Project) -> None:
    project.stage = "review"
    for x in (50, 150, 250):
        project.add("coffee", square(x, 100, 60, (400, 600), label="cup"))
    project.queue = ["r1", "r2", "r3"]
    ann = sit_down(project).begin("s.review?.item.record", "r1")
    ann.page.get_by_role("group", name="Review").wait_for()
    ann.at_once("a", "r")  # the second one is not about a mask that nobody has seen
    ann.until("s.review?.item.record", "r2")
    ann.keys("f")
    ann.until("s.editor.draft.fixes !== null")
    ann.drag((180, 100), (180, 220))
    ann.keys("Enter")
    ann.until("s.review?.item.record", "r3")
    ann.keys("r")
    ann.message("The review queue is empty")
    assert [v["verdict"] for v in project.verdicts] == ["accept", "fix", "reject"]
    assert rle_area(coco_to_rle(project.verdicts[1]["rle"])) > 60 * 60
    assert all(verdict["seconds"] > 0 for verdict in project.verdicts)


def under_review(ann: Any, record: str) -> None:
    """The mask is on the screen, and keys judge it."""
    ann.until("s.review && s.editor?.selected && s.outbox.idOf(s.editor.selected.key)", record)
    ann.until("s.review.item.record", record)


def test_verdicts_are_taken_back_one_by_one(sit_down: SitDown, project: Project) -> None:
    project.stage, project.arm = "review", "control"
    for image in ("coffee", "cat"):
        shape = square(50, 100, 60, project.photos[image].shape[:2], label="cup")
        project.add(image, {**shape, "state": "proposed"})
    project.queue = ["r1", "r2"]
    ann = sit_down(project)
    ann.open()
    under_review(ann, "r1")
    ann.keys("r")
    under_review(ann, "r2")
    ann.until("s.editor?.entry.id", "cat")
    ann.keys("a")
    ann.message("The review queue is empty")
    assert [project.records[name]["state"] for name in ("r1", "r2")] == ["rejected", "accepted"]
    ann.keys("Control+z")
    under_review(ann, "r2")
    assert project.records["r2"]["state"] == "proposed"
    ann.keys("Control+z")
    under_review(ann, "r1")
    ann.until("s.editor?.entry.id", "coffee")
    ann.until("s.editor.selected?.state", "proposed")
    assert project.verdicts == []
    ann.keys("a")
    under_review(ann, "r2")
    assert [one["verdict"] for one in project.verdicts] == ["accept"]
