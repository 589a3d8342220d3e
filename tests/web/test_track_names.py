"""Names of a project's tracks in the page: changed, undone, and not written over another one's."""

from __future__ import annotations

from typing import Any

from anymask.studio.project import Project
from tests.web.test_video_project import begin, project, reviewer, stored, track_of
from tests.web.viewers import Viewer

__all__ = ["project", "reviewer"]  # fixtures


def name_field(viewer: Viewer, number: int) -> Any:
    return viewer.page.get_by_label(f"Class of object {number}")


def test_a_stored_track_gets_another_name_and_it_is_undone(
    reviewer: Viewer, project: Project
) -> None:
    begin(reviewer)
    name_field(reviewer, 1).fill("bus")
    name_field(reviewer, 1).press("Enter")
    reviewer.until("f.clip.of(1).label", "bus")
    stored(reviewer)
    now = track_of(project, 1)
    assert (now.label, now.version, now.author) == ("bus", 1, "ann")
    assert "bus" in [entry.name for entry in project.labels.all()]
    reviewer.keys("a")
    reviewer.until("f.chosen === 2 && f.clip.saving === 0")
    name_field(reviewer, 2).fill("")
    name_field(reviewer, 2).press("Enter")
    reviewer.until("f.clip.of(2).label === null && f.clip.saving === 0")
    assert track_of(project, 2).label is None
    for wanted in ("f.clip.of(2).label === 'disc'", "f.clip.of(1).state === 'proposed'"):
        reviewer.keys("Control+z")
        reviewer.until(f"{wanted} && f.clip.saving === 0")
    reviewer.keys("Control+z")
    reviewer.until("f.clip.of(1).label === 'disc' && f.clip.saving === 0")
    reviewer.until_so(lambda: name_field(reviewer, 1).input_value() == "disc")
    assert [track_of(project, n).label for n in (1, 2)] == ["disc", "disc"]


def test_a_name_is_undone_from_another_clip(reviewer: Viewer, project: Project) -> None:
    begin(reviewer)
    name_field(reviewer, 2).fill("bus")
    name_field(reviewer, 2).press("Enter")
    reviewer.until("f.clip.of(2).label === 'bus' && f.clip.saving === 0")
    reviewer.keys("q")
    reviewer.page.get_by_role("heading", name="This project has no images").wait_for()
    begin(reviewer, "walk.mkv")
    reviewer.keys("Control+z")
    reviewer.until("f?.title === 'drive.mkv' && f.chosen", 2)
    assert track_of(project, 2).label == "disc"


def test_a_name_that_somebody_else_has_changed_is_shown_as_it_is_now(
    reviewer: Viewer, project: Project
) -> None:
    begin(reviewer)
    project.tracks.rename(1, "van", "disc", "bob")
    name_field(reviewer, 1).fill("bus")
    name_field(reviewer, 1).press("Enter")
    reviewer.page.get_by_text("bob changed this track in the meantime.").wait_for()
    reviewer.until("f.object(1).name === 'van' && f.clip.saving === 0")
    reviewer.until_so(lambda: name_field(reviewer, 1).input_value() == "van")
    assert track_of(project, 1).label == "van"
