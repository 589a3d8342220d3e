"""Videos of a project in the page: tracks are judged, corrected, kept; the database has it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.masks import mask_to_rle, rle_iou
from anymask.studio import TrackDraft, TrackMask, create_project
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from tests.studio.servers import inference
from tests.track.clips import HW, write_video
from tests.web.test_accessibility import axe
from tests.web.viewers import FRAMES, IMAGES, TRUTH, Viewer, served

__all__ = ["axe"]  # a fixture

LOST = 4  # from this frame on the first track is on the other disc


def masks_of(disc: int, lost: int = FRAMES, doubtful: int = 0) -> list[TrackMask]:
    """A disc on every frame; the other one from the frame `lost` on."""
    return [
        TrackMask(
            frame=n, rle=mask_to_rle(TRUTH[n][disc if n < lost else 1 - disc]), prompted=n == 0,
            doubts=("jump",) if 0 < n <= doubtful else (),
        )
        for n in range(FRAMES)
    ]  # fmt: skip


def agreement(project: Project, track: int, disc: int) -> list[float]:
    """IoU of a stored track's masks with a disc, frame by frame."""
    return [
        float(rle_iou([mask.rle], [mask_to_rle(TRUTH[mask.frame][disc])])[0, 0])
        for mask in project.tracks.masks(track)
    ]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Tracks 1 (lost from frame 4 on) and 2 of drive.mkv, 3 of walk.mkv; fresh.mkv is new."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("drive.mkv", "walk.mkv", "fresh.mkv"):
        write_video(folder / name, IMAGES)
    made = create_project(folder, labels=["disc"])
    for name in ("drive.mkv", "walk.mkv"):
        made.tracks.add_clip(name, HW, FRAMES, 25.0)
    for clip, number, masks in (
        (1, 1, masks_of(0, LOST, doubtful=3)),
        (1, 2, masks_of(1, doubtful=1)),
        (2, 1, masks_of(0)),
    ):
        made.tracks.add_track(clip, TrackDraft(object=number, masks=masks, label="disc"), "model")
    return made


@pytest.fixture
def reviewer(sit: Callable[..., Viewer], project: Project) -> Iterator[Viewer]:
    """Somebody at the project's page."""
    with project_page(project) as address:
        yield sit(address)


def project_page(project: Project) -> Any:
    behind = inference()
    site = ServedProject(project, "ann")
    return served(behind, project=site)


def begin(viewer: Viewer, name: str = "drive.mkv", frame: int = 0) -> None:
    """Open a clip from the list."""
    viewer.keys("Control+Shift+O")
    viewer.page.get_by_role("button", name=name).click()
    viewer.until(f"f?.title === '{name}' ? f.shown?.frame : null", frame)


def stored(viewer: Viewer) -> None:
    viewer.until("f.clip.saving === 0 && !f.asking && !f.following")


def go_to(viewer: Viewer, frame: int) -> None:
    viewer.keys("Home", *["ArrowRight"] * frame)
    viewer.on_screen(frame)


def correct(viewer: Viewer) -> None:
    """Say on frame 4 that the first disc is meant, not the other one."""
    go_to(viewer, LOST)
    viewer.say(38, 30)
    viewer.say(100, 70, negative=True)


def test_a_track_is_corrected_from_a_frame_on_and_the_model_follows_anew(
    reviewer: Viewer, project: Project
) -> None:
    begin(reviewer)
    before = project.tracks.masks(1)
    assert not warned(reviewer)
    correct(reviewer)
    assert warned(reviewer)
    reviewer.page.get_by_text("1 not saved").wait_for()
    assert project.tracks.masks(1) == before
    reviewer.keys("a")
    reviewer.page.get_by_text("Save the correction (C)").wait_for()
    reviewer.keys("c")  # follows what is left first
    reviewer.until("f.clip.of(1).version", 2)
    stored(reviewer)
    reviewer.page.get_by_text("disc 1 is saved from frame 5 onward.").wait_for()
    now = project.tracks.track(1)
    assert (now.state, now.version, now.author) == ("proposed", 2, "ann")
    assert min(agreement(project, 1, 0)) > 0.7
    assert project.tracks.masks(1)[:LOST] == before[:LOST]
    (verdict,) = project.tracks.verdicts()
    assert (verdict.verdict, verdict.frame) == ("correct", LOST)
    assert reviewer.ask("[f.said.length, f.tracks.isResting(1), f.clip.counts.proposed]") == [
        0, True, 2,
    ]  # fmt: skip
    reviewer.keys("u")
    reviewer.until("f.clip.of(1).version", 3)
    stored(reviewer)
    assert project.tracks.masks(1) == before
    assert np.allclose(reviewer.ious(1, [masks[0] for masks in TRUTH]), agreement(project, 1, 0))


def warned(viewer: Viewer) -> bool:
    """Whether the page would ask before it goes."""
    event = "new Event('beforeunload', {cancelable: true})"
    return not viewer.page.evaluate(f"window.dispatchEvent({event})")
