"""Proposals and the review of masks: a slider over what was found, verdicts with a way back."""

from __future__ import annotations

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
