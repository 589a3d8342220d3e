"""The simulated annotator: times worked out by hand, and models that always or never help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.evaluation import FromFunction
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import ALL_KINDS, Click, Prompt
from research import annotator
from research.annotator import (
    AIM,
    CHECK,
    CORNER,
    MOST_CLICKS,
    PATIENCE,
    click_objects,
    draw_polygon,
    main,
    row_of,
    run_trial,
    scattered,
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
    monkeypatch.setattr(annotator, "CLICK_SCATTER", 0)


def never(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    """A mask without pixels of any object."""
    return np.zeros(image.shape[:2], np.bool_)


@pytest.mark.usefixtures("steady")
def test_a_rectangle_takes_four_corners() -> None:
    mask = rectangle((48, 64), BOXES[0])
    drawn = draw_polygon(mask, TARGET, np.random.default_rng(0))
    assert (drawn.iou, drawn.seconds) == (1.0, pytest.approx(AIM + 3 * CORNER + CHECK))


@pytest.mark.usefixtures("steady")
def test_a_hole_is_a_ring_of_its_own() -> None:
    mask = rectangle((48, 64), BOXES[1])
    mask[12:36, 40:54] = False
    drawn = draw_polygon(mask, TARGET, np.random.default_rng(0))
    assert drawn.seconds == pytest.approx(2 * AIM + 6 * CORNER + CHECK)


def test_a_round_shape_takes_more_corners_for_a_higher_target() -> None:
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    low, high = (draw_polygon(disc, at, np.random.default_rng(0)) for at in (0.8, 0.97))
    assert 0.8 <= low.iou < high.iou
    assert low.seconds < high.seconds


def test_a_small_disc_is_drawn_with_few_corners() -> None:
    """At a coarse tolerance it would keep its exact ring of one corner per pixel."""
    y, x = np.mgrid[:40, :40]
    disc = (x - 20) ** 2 + (y - 20) ** 2 < 12**2
    drawn = draw_polygon(disc, TARGET, np.random.default_rng(0))
    assert drawn.iou >= TARGET
    assert drawn.seconds < AIM + 12 * CORNER + CHECK


def test_scattered_clicks_stay_on_their_side() -> None:
    mask = rectangle((48, 64), BOXES[0])
    rng = np.random.default_rng(0)
    for label, point in ((1, (3.0, 4.0)), (0, (23.0, 34.0))):
        found = {scattered(Click(point, label), mask, rng) for _ in range(50)}
        assert len(found) > 5
        assert all(mask[int(y), int(x)] == bool(label) for (x, y), _ in found)


def test_one_click_is_enough_for_a_perfect_model(boxes: EvalSet) -> None:
    trial = run_trial(perfect(), boxes, ALL, TARGET, (0, 1))
    assert trial.control.shape == trial.assisted.shape == (2, 12, 3)
    assert (trial.assisted == np.array([1.0, AIM + CHECK, 0])).all()
    assert trial.by_clicks.all()
    assert (trial.saved > 0).all()
    name, masks, *_, share, even = row_of(trial)
    assert (name, masks, share) == ("boxes", "12", "100 %")
    assert even == "0.0 s"  # one click is never slower than the first corner


def test_a_model_that_never_helps_costs_its_clicks(boxes: EvalSet) -> None:
    """After PATIENCE clicks in vain, the polygon is drawn: the arms differ by these clicks."""
    model = FromFunction("never", ALL_KINDS, never)
    truths = [rectangle((48, 64), box) for box in BOXES]
    found = click_objects(model, boxes.samples[0].image(), truths, TARGET, np.random.default_rng(0))
    assert not any(one.by_clicks for one in found)
    assert min(one.iou for one in found) >= TARGET
    assert all(one.seconds > PATIENCE * AIM + CHECK for one in found)
    assert PATIENCE < MOST_CLICKS
    trial = run_trial(model, boxes, ALL, TARGET, (0,))
    assert (trial.saved < 0).all()


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
    assert "| assisted / control |" in printed
    assert "mean of 1 sets" in printed
    assert main([str(folder), "--target", "2"]) == 2
    assert "--target must be between 0 and 1" in capsys.readouterr().err
    assert main([str(folder), "--seeds", "a"]) == 2
    assert main([str(tmp_path / "nothing")]) == 2
