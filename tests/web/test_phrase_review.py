"""The review of phrases in a project: masks of a phrase, the question, answers, and the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_accessibility import axe, check
from tests.web.test_project import square

__all__ = ["axe"]  # a fixture
HW = (400, 600)


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    """Two cups and a cat, of which a review asks for cups, and for a bowl that is not there."""
    made = Project(images, stage="review", arm="control")
    for x, label in ((50, "cup"), (150, "cup"), (250, "cat")):
        made.add("coffee", square(x, 100, 60, HW, label=label))
    made.phrases = [("coffee", "cup"), ("coffee", "bowl"), ("cat", "cat")]
    return made


def under_review(ann: Any, phrase: str, question: str) -> Any:
    bar = ann.page.get_by_role("group", name="Phrase review")
    bar.get_by_text(phrase, exact=True).wait_for()
    bar.get_by_text(question).wait_for()
    return bar


def test_phrases_are_answered_by_button_and_key(
    sit_down: SitDown, project: Project, axe: str
) -> None:
    ann = sit_down(project).begin("s.editor?.state.masks.length", 3)
    ann.page.get_by_role("button", name="Review phrases").click()
    bar = under_review(ann, "cup", "2 masks. Does every “cup” have a mask?")
    assert ann.page.get_by_role("group", name="Review", exact=True).count() == 0
    filled = ann.ask("[...s.layers().only].map(key => s.editor.find(key).label)")
    assert filled == ["cup", "cup"]
    assert check(ann, axe, "phrases") == []
    bar.get_by_role("button", name="All have a mask").click()
    under_review(ann, "bowl", "no mask. Is “bowl” absent from this image?")
    assert ann.ask("s.layers().only.size") == 0
    ann.at_once("a", "r")  # the second key does not answer a phrase that is not shown yet
    under_review(ann, "cat", "no mask. Is “cat” absent from this image?")
    assert ann.ask("s.editor.entry.id") == "cat"
    ann.keys("r")
    ann.message("All phrases are reviewed")
    bar.wait_for(state="detached")
    ann.page.get_by_role("button", name="Review phrases").wait_for()
    told = [(one["image"], one["phrase"], one["answer"]) for one in project.answers]
    assert told == [
        ("coffee", "cup", "complete"),
        ("coffee", "bowl", "absent"),
        ("cat", "cat", "incomplete"),
    ]
    assert all(one["seconds"] > 0 for one in project.answers)
