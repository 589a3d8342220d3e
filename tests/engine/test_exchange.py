"""A project's masks leave and come in, are planned for, and train a model."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.data.annotations import AnnotatedImage
from anymask.data.formats import FORMATS, write_annotations
from anymask.engine.annotator import REVIEW, Annotator
from anymask.engine.entries import Draft, Provenance
from anymask.engine.exchange import (
    ONE_FILE,
    export_archive,
    take_masks,
)
from anymask.engine.figures import plan
from anymask.engine.project import Project
from anymask.engine.review import next_asked
from anymask.engine.rounds import LEAST_HELD, Trained, is_held_out, paired_gain, retrain
from anymask.engine.runs import Work, run_review, run_stage
from anymask.engine.stages import ProjectSettings
from anymask.predictors.image import Model
from anymask.primitives.errors import InputError
from anymask.primitives.rle import mask_to_rle
from tests.engine.disc_projects import SIDE, add, work, write_photos


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"davis", "sav"}))
def test_every_format_leaves_the_project(project: Project, name: str) -> None:
    provenance = Provenance(kind="human", tool="brush")
    block = np.zeros((SIDE, SIDE), np.bool_)
    block[20:60, 30:70] = True
    draft = Draft(rle=mask_to_rle(block), label="block", provenance=provenance)
    project.store.add_records(1, [draft], "ann")
    assert export_archive(project, name, force=True).startswith(b"PK")
    assert project.store.count_events("export") == 1


@pytest.mark.parametrize("name", ["coco", "labelme", "sa1b", "cvat"])
def test_masks_come_in_once(
    project: Project, truth: dict[str, AnnotatedImage], tmp_path: Path, name: str
) -> None:
    target = tmp_path / "in" / ONE_FILE.get(name, "")
    write_annotations(list(truth.values()), target, name)
    assert take_masks(project, target, name, "ann") == 12
    assert take_masks(project, target, name, "ann") == 0
    kept = project.store.records(2)
    assert [entry.rle for entry in kept] == [mask.rle for mask in truth["1.png"].masks]
    assert {entry.provenance.kind for entry in kept} == {"import"}


# Plans.


def test_a_plan_multiplies_what_was_measured(project: Project) -> None:
    with pytest.raises(InputError, match="nothing was measured yet"):
        plan(project.figures(), 1000, 10)
    add(project, 3, seconds=6.0, provenance=Provenance(stage="assisted"))
    add(project, 2, image=2, seconds=18.0, provenance=Provenance(stage="assisted", arm="control"))
    quick, slow = plan(project.figures(), 1000, 10.0, masks_an_image=4)
    assert (quick.way, quick.masks, quick.hours) == (
        "assisted",
        4000,
        pytest.approx(4000 * 6 / 3600),
    )
    assert (slow.way, slow.money) == ("assisted, without a model", pytest.approx(200.0))


# Rounds.


@pytest.mark.parametrize(("photos", "enough"), [(7, False), (21, True)])
def test_a_better_model_leads_and_a_worse_one_does_not(
    project: Project, model: Model, truth: dict[str, AnnotatedImage], photos: int, enough: bool
) -> None:
    truth |= write_photos(project.folder, count=photos)
    project.add_folder()
    held = [name for name in truth if is_held_out(name, 0.2)]
    assert (len(held) >= LEAST_HELD) is enough
    list(run_stage(project, work(model, truth, "assisted")))
    scores = {"nano": 0.5}
    asked: list[Path | None] = []

    def train(sets: Path, start: Path | None, folder: Path) -> Trained:
        asked.append(start)
        lines = (sets / "accepted" / "masks.jsonl").read_text("utf-8").splitlines()
        names = {Path(json.loads(line)["image"]).name for line in lines}
        assert names == set(truth) - set(held)
        assert all((sets / "accepted" / "images" / name).is_file() for name in names)
        (folder / "bundle").mkdir()
        (folder / "last.pt").write_bytes(b"")
        return Trained(folder / "bundle", folder / "last.pt")

    def judge(place: str, images: object) -> np.ndarray:
        number = Path(place).parent.name
        return np.full(len(held), scores.get(place, 0.6 if number == "1" else 0.55))

    first = retrain(project, train, judge, lambda place: model)
    assert (first.promoted, first.before, first.after) == (enough, 0.5, pytest.approx(0.6))
    if not enough:
        assert project.lead() == "nano"
        return
    assert project.lead().endswith("rounds/1/bundle")
    second = retrain(project, train, judge, lambda place: model)
    assert (second.promoted, second.gain) == (False, pytest.approx(-0.05))
    assert project.lead().endswith("rounds/1/bundle")
    assert [row["round"] for row in project.rounds()] == [1, 2]
    assert asked[0] is None
    assert asked[1] == project.inside / "rounds" / "1" / "last.pt"


def test_the_gain_is_of_the_same_photos() -> None:
    rng = np.random.default_rng(0)
    old = rng.random(50)  # photos differ far more than the models do
    gain, low, high = paired_gain(old, old + 0.02)
    assert (gain, low, high) == (pytest.approx(0.02),) * 3
    _, low, high = paired_gain(old, old + rng.normal(0, 0.05, 50))
    assert low < 0 < high


def test_too_few_masks_train_nothing(project: Project) -> None:
    with pytest.raises(InputError, match="at least 10 accepted masks.*there are 0"):
        retrain(project, None, None, None)  # type: ignore[arg-type]


def test_review_is_simulated_too(
    project: Project, model: Model, truth: dict[str, AnnotatedImage]
) -> None:
    list(run_stage(project, Work(model=model, stage="auto")))
    told = list(run_review(project, model, Annotator(), truth, 200))
    assert len(told) == len(project.store.records())
    assert next_asked(project.store) is None
    fixed = [entry for entry in told if entry.provenance.tool == "review"]
    assert all(entry.seconds > REVIEW for entry in fixed)
    assert ProjectSettings().sample == 20
