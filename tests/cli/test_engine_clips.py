"""`anymask project clips`: the objects of a session become tracks, accepted ones leave as SA-V."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.cli.main import main
from anymask.formats import read_annotations
from anymask.masks import Mask, Masks, iou, mask_to_rle, rle_to_mask
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.project import Project
from anymask.studio.tracks import Tracks
from anymask.track import open_session
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime
from tests.track.clips import moving_discs, write_video

FRAMES = 6


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "photos"
    folder.mkdir()
    clip = write_video(folder / "drive.mkv", moving_discs(FRAMES)[0])
    session = tmp_path / "drive.session"
    with open_session(Model(ColorRuntime()), clip, session=session) as opened:
        opened.add(frame=0, id=1, points=[(30, 30)])
        opened.add(frame=0, id=2, points=[(100, 70)])
        list(opened)
    return create_project(folder)


def test_a_session_is_taken_up_looked_at_and_written(
    project: Project, tmp_path: Path, cli: CommandLine
) -> None:
    folder, out = str(project.folder), tmp_path / "out.json"
    take = ["--take", "drive.mkv", "--session", str(tmp_path / "drive.session"), "--label", "disc"]
    told = cli.out(["project", "clips", folder, *take]).splitlines()
    assert told[0] == "drive.mkv: 6 frames, 2 tracks"
    assert told[1].startswith("  track 1, object 1 (disc): proposed, frames 0 to 5, ")
    assert "No track is accepted. Review tracks" in cli.refused(
        ["project", "clips", folder, "-o", str(out)]
    )
    project.tracks.give_verdict(2, "accept", 1, "ann")
    assert "clips: 1; tracks: 1 accepted, 1 proposed" in cli.out(
        ["project", "report", folder, "--json", str(out)]
    )
    assert json.loads(out.read_text("utf-8"))["clips"][0]["accepted"] == 1
    assert "6 masks on 6 frames" in cli.err(["project", "clips", folder, "-o", str(out)])
    images, _ = read_annotations(out)
    assert [[mask.id for mask in image.masks] for image in images] == [[2]] * FRAMES
    expected = [mask.rle for mask in project.tracks.masks(2)]
    assert [image.masks[0].rle for image in images] == expected
    assert main(["project", "clips", folder, "-o", str(out), "--proposals"]) == 0
    assert json.loads(out.read_text("utf-8"))["masklet_id"] == [1, 2]


def test_what_cannot_be_taken_up_is_told(project: Project, cli: CommandLine) -> None:
    folder = str(project.folder)
    for words, complaint in (
        (["--session", "x"], "require --take. Add --take VIDEO"),
        (["--take", "missing.mkv"], "is missing from the project's folder"),
        (["--take", "drive.mkv", "--session", "missing.session"], "does not exist"),
    ):
        assert complaint in cli.refused(["project", "clips", folder, *words])


def test_tracks_of_all_objects_are_proposed_and_an_interrupted_video_is_resumed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    images, truth = moving_discs(FRAMES)
    for name in ("drive.mkv", "walk.mkv"):
        write_video(folder / name, images)
    project = create_project(folder)

    class Proposals(Model):
        """A model that proposes the true discs of the first frame."""

        def everything(self, encoded: Any, **_: Any) -> Masks:  # type: ignore[override]
            found = truth[0] if np.array_equal(encoded.image, images[0]) else []
            masks = [Mask(mask_to_rle(mask), score=0.9) for mask in found]
            return Masks(masks, image_hw=encoded.image.shape[:2])

    monkeypatch.setattr("anymask.load", lambda _: Proposals(ColorRuntime()))
    whole, calls = Tracks.add_track, []

    def stopped(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Tracks, "add_track", stopped)
        assert main(["project", "clips", str(folder), "--propose"]) == 130
    assert [clip.tracks for clip in project.tracks.clips()] == [1, 0]
    capsys.readouterr()
    assert main(["project", "clips", str(folder), "--propose"]) == 0
    told = capsys.readouterr()
    assert "drive.mkv: 2 masklets" in told.err
    assert "walk.mkv: 2 masklets" in told.err
    assert told.out.count("proposed, frames 0 to 5") == 4
    asked = project.tracks.next_asked()
    assert asked is not None
    assert asked.provenance.kind == "model"
    for number in (0, 1):
        found = project.tracks.masks(project.tracks.tracks(1)[number].id)
        assert all(iou(rle_to_mask(one.rle), truth[one.frame][number]) > 0.8 for one in found)
    assert not [*(folder / ".anymask").glob("*.session")]
    assert "every video already has tracks" in cli.err(
        ["project", "clips", str(folder), "--propose"]
    )
    assert [clip.tracks for clip in project.tracks.clips()] == [2, 2]
