"""A trial goes on where it was killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anymask.cli.engine_training import Tuning
from anymask.data.annotations import AnnotatedImage
from anymask.data.formats import write_annotations
from anymask.engine.project import Project
from research import engine_trial
from research.engine_trial import main
from tests.engine.disc_projects import write_photos

MEAN = {"value": 0.5, "low": 0.4, "high": 0.6}


class Killed(BaseException):
    """Nobody catches it."""


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A set of four photos, which is labelled and measured on."""
    folder = tmp_path / "discs"
    folder.mkdir()
    truth = write_photos(folder / "images")
    write_annotations(list(truth.values()), folder, "set")
    return folder


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was done, without a model: labelling, learning, measuring, by the round."""
    steps: list[tuple[str, int]] = []

    def label(project: Project, fresh: list[AnnotatedImage], number: int, _: int) -> dict[str, Any]:
        names = {image.name for image in project.store.all_images()}
        assert {image.file_name for image in fresh} <= names
        steps.append(("label", number))
        return {"stage": "semi", "masks": 3, "label_miou": MEAN, "seconds_a_mask": 2.0}

    def learn(project: Project, number: int, _: Tuning) -> dict[str, Any]:
        steps.append(("learn", number))
        return {"outcome": {"gain": 0.1, "low": 0.0, "high": 0.2}, "promoted": False}

    def measure(number: int, place: str, *_: object) -> dict[str, Any]:
        steps.append(("measure", number))
        return {"round": number, "miou_1": MEAN, "miou_3": MEAN}

    for name, fake in (("label", label), ("learn", learn), ("measure", measure)):
        monkeypatch.setattr(engine_trial, name, fake)
    return steps


def words(sets: Path, *more: object) -> list[str]:
    given = [sets, "--test", sets, "--rounds", 2, "--photos", 2, *more]
    return [str(word) for word in given]


def test_a_trial_goes_on_at_the_round_where_it_was_killed(
    sets: Path,
    done: list[tuple[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work, found = tmp_path / "work", tmp_path / "trial.json"
    whole = engine_trial.learn

    def killed(project: Project, number: int, tuning: Tuning) -> dict[str, Any]:
        if number == 1:
            raise Killed
        return whole(project, number, tuning)

    monkeypatch.setattr(engine_trial, "learn", killed)
    with pytest.raises(Killed):
        main(words(sets, "--work", work))
    assert done == [("measure", 0), ("label", 0), ("learn", 0), ("measure", 1), ("label", 1)]
    done.clear()
    monkeypatch.setattr(engine_trial, "learn", whole)
    assert main(words(sets, "--work", work, "--json", found)) == 0
    assert done == [("label", 1), ("learn", 1), ("measure", 2)]
    assert [row["round"] for row in json.loads(found.read_text())["rounds"]] == [0, 1, 2]
    assert "| 2 | semi | 3 | 0.500 (0.400 to 0.600) | 2.0 |" in capsys.readouterr().out
    done.clear()
    assert main(words(sets, "--work", work)) == 0  # nothing is left to do
    assert done == []
    assert main(words(sets, "--work", work, "--seed", 5)) == 2
    assert "holds a trial with other settings" in capsys.readouterr().err


def test_a_trial_of_more_photos_than_there_are_is_refused(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(sets, "--rounds", 3)) == 2
    assert "3 rounds of 2 photos need 6 photos" in capsys.readouterr().err
