"""Phrases of a project: hard negatives, the question whether all objects have masks, export."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.base import InputError
from anymask.cli.main import main
from anymask.formats import read
from anymask.masks import mask_to_rle
from anymask.models.rules import NameTable
from anymask.studio import Draft
from anymask.studio.concepts import (
    answer_concept,
    concepts,
    hard_negatives,
    next_concept,
    propose_concepts,
)
from anymask.studio.project import Project
from tests.studio.disc_projects import SIDE


def table(**vectors: tuple[float, float]) -> NameTable:
    """A table of names with two-dimensional unit vectors; all are learned except `unseen`."""
    words = tuple(one.replace("_", " ") for one in vectors)
    rows = np.array([np.array(v) / np.hypot(*v) for v in vectors.values()], np.float32)
    return NameTable(
        words=words, vectors=rows, learned=np.array([one != "unseen" for one in words]),
        also={one: n for n, one in enumerate(words)}, scale=1,
    )  # fmt: skip


NAMES = table(
    cup=(1, 0), tumbler=(1, 0.1), mug=(1, 0.5), bowl=(1, 0.8), truck=(0, 1), unseen=(1, 0.4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("present", "classes", "expected"),
    [
        # `tumbler` means the same (cosine 0.995); `unseen` has no training images.
        (["cup"], [], ["mug", "bowl", "truck"]),
        (["cups"], [], ["mug", "bowl", "truck"]),  # a plural of a known name
        (["cup", "mug"], [], ["truck"]),  # `bowl` means nearly the same as `mug` (cosine 0.98)
        (["cup"], ["my part", "Cup"], ["mug", "bowl", "truck", "my part"]),
        (["my part"], ["cup"], ["cup"]),  # unknown to the model: only classes of the project
        ([], ["cup"], []),
    ],
)
def test_hard_negatives_are_the_most_similar_absent_names(
    present: list[str], classes: list[str], expected: list[str]
) -> None:
    assert hard_negatives(present, classes, NAMES, 4) == expected


def test_without_names_the_other_classes_are_negatives() -> None:
    assert hard_negatives(["cup"], ["cup", "mug", "bowl", "jar"], None, 2) == ["mug", "bowl"]


def add(project: Project, image: int, label: str, state: str = "accepted") -> int:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:60, 30:70] = True
    draft = Draft(rle=mask_to_rle(mask), label=label, state=state)  # type: ignore[arg-type]
    return project.store.add_records(image, [draft], "ann")[0].id


def classes_of(project: Project) -> list[str]:
    return [label.name for label in project.labels.all()]


def told(project: Project) -> list[tuple[int, str, int, str | None]]:
    return [(one.image_id, one.phrase, one.masks, one.answer) for one in concepts(project.store)]


def test_the_review_asks_for_every_phrase_of_done_images_first(project: Project) -> None:
    add(project, 1, "cup")
    add(project, 2, "mug")
    add(project, 2, "jar", "rejected")
    project.store.mark_image(2, "done", "ann")
    assert propose_concepts(project.store, classes_of(project), NAMES, 1) == 2
    assert propose_concepts(project.store, classes_of(project), NAMES, 1) == 2
    assert told(project) == [
        (1, "cup", 1, None), (1, "mug", 0, None), (2, "mug", 1, None), (2, "tumbler", 0, None),
    ]  # fmt: skip
    asked = []
    while (one := next_concept(project.store)) is not None:
        asked.append((one.image_id, one.phrase))
        answer_concept(project.store, *asked[-1], "complete" if one.masks else "absent", "bob")
    assert asked == [(2, "mug"), (2, "tumbler"), (1, "cup"), (1, "mug")]


def test_an_answer_is_void_when_masks_contradict_it(project: Project) -> None:
    number = add(project, 1, "cup")
    add(project, 2, "mug")
    propose_concepts(project.store, classes_of(project), NAMES, 1)
    answer_concept(project.store, 1, "cup", "complete", "bob")
    answer_concept(project.store, 1, "mug", "absent", "bob")
    add(project, 1, "mug")
    entry = project.store.record(number)
    project.store.change_record(number, entry.version, entry.draft(state="rejected"), "bob")
    assert told(project)[:2] == [(1, "mug", 1, None), (1, "cup", 0, None)]


@pytest.mark.parametrize(
    ("phrase", "answer", "message"),
    [
        ("cup", "absent", "complete or incomplete"),
        ("mug", "complete", "absent or incomplete"),
        ("cup", "maybe", "answer"),
    ],
)
def test_answers_that_contradict_the_masks_are_refused(
    project: Project, phrase: str, answer: str, message: str
) -> None:
    add(project, 1, "cup")
    with pytest.raises(InputError, match=message):
        answer_concept(project.store, 1, phrase, answer, "bob")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["saco", "coco"])
def test_answers_leave_the_project(project: Project, tmp_path: Path, form: str) -> None:
    for label in ("cup", "lid", "pot"):
        add(project, 1, label)
    project.store.mark_image(1, "done", "ann")
    folder, answers = str(project.folder), tmp_path / "answers.csv"
    name = project.store.image(1).name
    rows = f"image,phrase,answer\n{name},cup,incomplete\n{name},mug,absent\n{name},lid,complete\n"
    answers.write_text(f"{rows}{name},pot,absent\n")
    assert main(["project", "concepts", folder, "--answers", str(answers)]) == 2
    assert all(one.answer is None for one in concepts(project.store))
    answers.write_text(rows)
    assert main(["project", "concepts", folder, "--answers", str(answers)]) == 0
    target = tmp_path / "o.json"
    assert main(["project", "export", folder, "-o", str(target), "--to", form]) == 0
    (image,) = read(target, form, project.folder)
    assert image.extra["absent_phrases"] == ["mug"]
    assert image.extra["complete_phrases"] == ["lid"]
    if form == "saco":
        flags = {
            row["text_input"]: row["is_instance_exhaustive"]
            for row in json.loads(target.read_text())["images"]
        }
        assert flags == {"cup": 0, "lid": 1, "mug": 1, "pot": 0}
    else:
        assert image.extra["partial_phrases"] == ["cup"]
