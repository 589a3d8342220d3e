"""The simulated annotator: times worked out by hand, and models that always or never help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.evaluation import FromFunction
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import ALL_KINDS, Prompt
from research import annotator
from research.annotator import (
    AIM,
    CHECK,
    CORNER,
    assist,
    drag_box,
    main,
    outline_errors,
    outline_object,
    row_of,
    run_trial,
)
from tests.evaluation.small_sets import perfect, rectangle, write_set

TARGET = 0.85
BOXES = [(2, 3, 22, 33), (34, 5, 60, 44)]
ALL = EvalSettings()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    folder = write_set(tmp_path_factory.mktemp("sets") / "boxes", [BOXES] * 6)
    return EvalSet(SetPlan(name="boxes"), *load_set(folder))


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand without scatter."""
    monkeypatch.setattr(annotator, "CORNER_SCATTER", 0)


def never(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    """A mask without pixels of any object."""
    return np.zeros(image.shape[:2], np.bool_)


@pytest.mark.usefixtures("steady")
def test_a_rectangle_takes_four_corners() -> None:
    mask = rectangle((48, 64), BOXES[0])
    drawn = outline_object(mask, TARGET, np.random.default_rng(0))
    assert (drawn.iou, drawn.seconds) == (1.0, pytest.approx(AIM + 3 * CORNER + CHECK))


@pytest.mark.usefixtures("steady")
def test_a_hole_is_a_ring_of_its_own() -> None:
    mask = rectangle((48, 64), BOXES[1])
    mask[12:36, 40:54] = False
    drawn = outline_object(mask, TARGET, np.random.default_rng(0))
    assert drawn.seconds == pytest.approx(2 * AIM + 6 * CORNER + CHECK)


def test_a_round_shape_takes_more_corners_for_a_higher_target() -> None:
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    low, high = (outline_object(disc, at, np.random.default_rng(0)) for at in (0.8, 0.97))
    assert 0.8 <= low.iou < high.iou
    assert low.seconds < high.seconds


def test_a_small_disc_is_drawn_with_few_corners() -> None:
    """At a coarse tolerance it would keep its exact ring of one corner per pixel."""
    y, x = np.mgrid[:40, :40]
    disc = (x - 20) ** 2 + (y - 20) ** 2 < 12**2
    drawn = outline_object(disc, TARGET, np.random.default_rng(0))
    assert drawn.iou >= TARGET
    assert drawn.seconds < AIM + 12 * CORNER + CHECK


@pytest.mark.usefixtures("steady")
def test_an_error_takes_an_outline_of_its_own() -> None:
    """A rectangle of four corners is missing, and one of four is surplus."""
    truth = rectangle((48, 64), (2, 3, 42, 23))
    missing, surplus = rectangle((48, 64), (32, 3, 42, 23)), rectangle((48, 64), (2, 30, 22, 40))
    rng = np.random.default_rng(0)
    one = outline_errors(truth & ~missing, truth, TARGET, rng)
    both = outline_errors((truth & ~missing) | surplus, truth, 0.999, rng)
    assert one is not None
    assert one.seconds == pytest.approx(AIM + 3 * CORNER + CHECK)
    assert both is not None
    assert both.seconds == pytest.approx(2 * (AIM + 3 * CORNER) + CHECK)
    assert both.iou == 1.0


def test_a_box_is_near_the_object_and_in_the_image() -> None:
    mask = rectangle((48, 64), (0, 3, 40, 48))
    rng = np.random.default_rng(0)
    boxes = np.array([drag_box(mask, rng) for _ in range(50)])
    assert (boxes >= 0).all()
    assert (boxes <= [64, 48, 64, 48]).all()
    assert np.abs(boxes - [0, 3, 40, 48]).max() < 2


def test_a_box_is_enough_for_a_perfect_model(boxes: EvalSet) -> None:
    trial = run_trial(perfect(), boxes, ALL, TARGET, (0, 1))
    assert trial.control.shape == trial.assisted.shape == (2, 12, 3)
    assert (trial.assisted == np.array([1.0, AIM + CORNER + CHECK, 0])).all()
    assert trial.by_box.all()
    assert (trial.saved > 0).all()
    name, masks, *_, share = row_of(trial)
    assert (name, masks, share) == ("boxes", "12", "100 %")


def test_a_model_that_never_helps_costs_its_box(boxes: EvalSet) -> None:
    model = FromFunction("never", ALL_KINDS, never)
    truth, image = rectangle((48, 64), BOXES[0]), boxes.samples[0].image()
    found = assist(model, image, truth, TARGET, np.random.default_rng(0))
    assert not found.by_box
    assert found.iou >= TARGET
    trial = run_trial(model, boxes, ALL, TARGET, (0,))
    assert trial.saved.mean() == pytest.approx(-(AIM + CORNER), abs=1)


@pytest.mark.usefixtures("steady")
def test_both_arms_end_at_the_same_iou() -> None:
    """Polygons of 5, 8 and 12 corners have IoUs of 0.91, 0.95 and 0.99 with a disc."""
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    rng = np.random.default_rng(0)
    ends = [outline_object(disc, 0.8, rng, like=expected).iou for expected in (0.9, 0.95, 0.99)]
    assert ends == pytest.approx([0.9, 0.95, 0.99], abs=0.015)


def test_seeds_change_the_hand_and_repeat_it(
    boxes: EvalSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotator, "CORNER_SCATTER", 0.04)  # seen even in a small rectangle
    first, again, other = (
        run_trial(perfect(), boxes, ALL, 0.97, (seed,)).control for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_command_prints_both_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path / "set", [BOXES] * 2)
    assert main([str(folder), "--masks", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| saved |" in printed
    assert "small, IoU 0.85" in printed
    assert main([str(folder), "--target", "2"]) == 2
    assert "--target must be between 0 and 1" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing")]) == 2
