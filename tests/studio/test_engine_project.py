"""A project from photos to masks: stages, review, the rule."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import Conflict, InputError, NotAllowedError, NotFoundError
from anymask.formats import AnnotatedImage, read_annotations
from anymask.masks import mask_to_rle
from anymask.segment import Model
from anymask.studio import Draft, create_project
from anymask.studio.exports import accept_rest, check_rule, export_masks
from anymask.studio.options import ExportSettings
from anymask.studio.project import Project
from anymask.studio.records import Provenance
from anymask.studio.report import to_report
from anymask.studio.review import batch_states, give_verdict, next_for_review, withdraw_verdict
from tests.studio.disc_projects import SECONDS, SIDE, add, label

DISC = [{"name": "disc 0", "color": "#3d8bff", "masks": 0}]


# Stages.


def test_the_stages_are_told_apart_in_the_figures(
    project: Project, model: Model, truth: dict[str, AnnotatedImage]
) -> None:
    label(project, {"0.png": truth["0.png"]})
    assert [i.name for i in project.run(model, "semi")] == ["1.png", "2.png", "3.png"]
    label(project, {"1.png": truth["1.png"]}, "semi")
    assert [image.status for image in project.images] == ["done", "done", "proposed", "proposed"]
    found = project.masks(3)
    assert {entry.state for entry in found} == {"proposed"}
    assert {entry.provenance.stage for entry in found} == {"semi"}
    assert all(entry.mask.sum() == entry.area > 0 for entry in found)
    figures = project.figures()
    paces = {pace.stage: pace for pace in figures.paces}
    assert (paces["assisted"].masks, paces["assisted"].seconds_a_mask) == (3, SECONDS)
    assert paces["assisted"].masks_an_hour == 3600 / SECONDS
    assert (paces["semi"].masks, paces["semi"].images) == (3, 3)
    json.dumps(figures.to_json(), allow_nan=False)
    page = str(to_report(figures))
    assert "| assisted | 3 | 1 | 3.0 | 1,200.0 |" in page
    assert "| disc 0 | 2 | 2 |" in page


def test_masks_without_seconds_divide_nothing(project: Project) -> None:
    add(project, 2, provenance=Provenance(stage="assisted"))
    (pace,) = project.figures().paces
    assert (pace.masks, pace.seconds_a_mask, pace.masks_an_hour) == (2, 0, None)


def test_one_bad_photo_stops_nobody(project: Project, model: Model, tmp_path: Path) -> None:
    (tmp_path / "photos" / "1.png").write_bytes(b"rotten")
    told: list[tuple[str, str]] = []
    run = project.run(model, "auto", failed=lambda *why: told.append(why))
    assert [image.name for image in run] == ["0.png", "2.png", "3.png"]
    assert [name for name, _ in told] == ["1.png"]
    assert project.store.image(2).status == "new"


def test_a_stage_that_needs_a_person_is_refused(project: Project, model: Model) -> None:
    with pytest.raises(InputError, match="requires a person. Run: anymask annotate"):
        next(project.run(model, "assisted"))
    with pytest.raises(InputError, match="stage must be one of"):
        next(project.run(model, "review"))


# Review and the rule.


def test_the_queue_takes_turns_between_chance_and_doubt(project: Project) -> None:
    add(project, 6, state="proposed")
    seen = []
    while (asked := next_for_review(project.store)) is not None:
        seen.append(asked)
        give_verdict(project.store, asked, "accept", "ann", seconds=2)
    assert [one.why for one in seen] == ["random", "uncertain"] * 3
    left = {one.entry.id for one in seen}
    for asked in seen:
        if asked.why == "uncertain":
            lowest = min(left, key=lambda number: number)  # quality grows with the number
            assert asked.entry.id == lowest
        left.remove(asked.entry.id)
    assert {entry.state for entry in project.store.records(1)} == {"accepted"}
    assert sum(entry.seconds for entry in project.store.records(1)) == 12


def test_verdicts_are_carried_out(project: Project) -> None:
    add(project, 3, state="proposed")
    whole = mask_to_rle(np.ones((SIDE, SIDE), np.bool_))
    for verdict, rle in (("accept", None), ("reject", None), ("fix", whole)):
        asked = next_for_review(project.store)
        assert asked is not None
        now = give_verdict(project.store, asked, verdict, "ann", rle=rle)  # type: ignore[arg-type]
        assert now.state == ("rejected" if verdict == "reject" else "accepted")
        assert now.version == 2
    assert (now.rle, now.provenance.kind, now.provenance.tool) == (whole, "human", "review")
    assert project.figures().verdicts == {"accept": 1, "fix": 1, "reject": 1}
    add(project, 1, state="proposed")
    asked = next_for_review(project.store)
    assert asked is not None
    with pytest.raises(InputError, match="'fix' takes a mask"):
        give_verdict(project.store, asked, "fix", "ann")


def test_a_verdict_is_taken_back(project: Project) -> None:
    add(project, 1, state="proposed")
    whole = mask_to_rle(np.ones((SIDE, SIDE), np.bool_))
    (before,) = project.store.records()
    for verdict, rle in (("accept", None), ("reject", None), ("fix", whole)):
        asked = next_for_review(project.store)
        assert asked is not None
        give_verdict(project.store, asked, verdict, "ann", rle=rle, seconds=2)  # type: ignore[arg-type]
        now = withdraw_verdict(project.store, before.id, "bob")
        assert (now.rle, now.state, now.score) == (before.rle, "proposed", before.score)
        assert now.provenance == before.provenance
    assert (now.version, now.seconds, now.author) == (7, 6, "bob")
    assert project.figures().verdicts == {}
    with pytest.raises(NotFoundError, match="Record 1 has no review decision"):
        withdraw_verdict(project.store, before.id, "bob")
    asked = next_for_review(project.store)
    assert asked is not None
    judged = give_verdict(project.store, asked, "accept", "ann")
    project.store.change_record(before.id, judged.version, judged.draft(label="x"), "cat")
    with pytest.raises(Conflict, match="was changed. Review it again"):
        withdraw_verdict(project.store, before.id, "bob")


def test_a_batch_may_leave_when_enough_of_a_random_sample_is_good(
    project: Project, tmp_path: Path
) -> None:
    add(project, 8, state="proposed")
    expected = ExportSettings(proposals=True, only="labeled")
    with pytest.raises(
        NotAllowedError,
        match=r"batch 1 do not meet .* 3 must be reviewed.* 0 of the random sample are reviewed",
    ):
        export_masks(project, tmp_path / "out.json", "coco", expected)
    answers = iter(["accept", "accept", "accept", "reject", "accept"])  # chance, doubt, chance, ...
    for verdict in answers:
        asked = next_for_review(project.store)
        assert asked is not None
        if verdict == "reject":
            assert asked.why == "uncertain"
        give_verdict(project.store, asked, verdict, "ann")  # type: ignore[arg-type]
    (state,) = batch_states(project.store, project.settings)
    assert (state.masks, state.open, state.sampled, state.doubtful) == (8, 3, 3, 2)
    assert (state.good, state.met) == (1.0, True)
    assert accept_rest(project, "rule") == 3
    assert project.store.image(1).status == "done"
    first, left, told, nameless = export_masks(project, tmp_path / "out.json", "coco")
    assert first == "1 image, 7 masks"
    assert left.startswith("not exported: 3 images not marked as done")
    labeled = ExportSettings(only="labeled")
    _, left, *_ = export_masks(project, tmp_path / "labelled.json", "coco", labeled)
    assert left == "not exported: 3 images without accepted masks and not marked as done"
    assert "Not kept: labels (7 times)" in told
    assert nameless.startswith("7 masks without a class: exported as class 'object'")
    images, _ = read_annotations(tmp_path / "out.json")
    assert sum(len(image.masks) for image in images) == 7
    add(project, 5, image=3, state="proposed")  # the second batch has not been looked at
    with pytest.raises(NotAllowedError, match="batch 2 do not meet"):
        check_rule(project)
    export_masks(project, tmp_path / "accepted.json", "coco")  # what was accepted may leave
    forced = ExportSettings(proposals=True, only="labeled", force=True)
    first, *_ = export_masks(project, tmp_path / "forced.json", "coco", forced)
    assert first == "2 images, 12 masks"


def test_annotators_agree_as_far_as_their_masks_overlap(project: Project) -> None:
    project.change(settings={"double_every": 1})
    block = np.zeros((SIDE, SIDE), np.bool_)
    block[:10, :10] = True
    wider, other = block.copy(), np.roll(block, 60, axis=0)
    wider[:10, 10:15] = True
    project.store.add_records(1, [Draft(rle=mask_to_rle(block))], "ann")
    drafts = [Draft(rle=mask_to_rle(wider)), Draft(rle=mask_to_rle(other))]
    project.store.add_records(1, drafts, "bob")
    (one,) = project.figures().agreements
    assert (one.first, one.second, one.images, one.pairs, one.alone) == ("ann", "bob", 1, 1, 1)
    assert one.iou == pytest.approx(100 / 150)
    assert [e.author for e in project.records(1, "ann")] == ["ann"]  # blindly
    assert len(project.records(1)) == 3


# Files.


def test_a_photo_whose_name_is_no_text_is_told_and_left_out(tmp_path: Path) -> None:
    for name in (b"\xff.png", b"b.png"):
        Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / os.fsdecode(name))
    told: list[tuple[str, str]] = []
    project = create_project(tmp_path, failed=lambda name, why: told.append((name, why)))
    assert [image.name for image in project.store.all_images()] == ["b.png"]
    assert told == [("\\udcff.png", "The file name is not valid UTF-8. Rename the file.")]
