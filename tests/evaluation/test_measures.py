"""Measures of whole sets: the names, what comes back, and how the report shows it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymask.base import ConfigError, this_machine
from anymask.evaluation import measures as module
from anymask.evaluation.image_report import report_images
from anymask.evaluation.measures import MASK_MEASURES, MEASURES, Measure, check_measures, score_set
from anymask.evaluation.metrics import Shares, cluster_mean, mean_of_means
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.results import (
    Curve,
    DetailTable,
    Evaluation,
    SetResult,
    evaluation_to_json,
    mean_over_sets,
    sets_from_json,
    shares_to_metric,
    values_to_metric,
)
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from tests.evaluation.small_sets import perfect, write_set


def count_masks(method: object, one: EvalSet, settings: EvalSettings, told: object) -> SetResult:
    """A measure that counts; it refuses the method called blind."""
    if method.spec.name == "blind":  # type: ignore[attr-defined]
        raise NotMeasured("it sees nothing")
    counts = np.array([len(sample.rles) for sample in one.samples], np.float64)
    told(len(counts), len(counts))  # type: ignore[operator]
    return SetResult(
        figures=(values_to_metric("masks a photo", counts, np.arange(len(counts)), digits=2),),
        curves=(Curve(title="masks", x=counts, y=counts, x_label="photo", y_label="masks"),),
        tables=(
            DetailTable(title="all", header=("photo", "masks"), rows=(("a", 2.0), ("b", 1.0))),
        ),
        notes=("photos were counted",),
    )


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered measure called `count`."""
    row = Measure(about="masks a photo", function=count_masks)
    monkeypatch.setitem(module.MEASURES, "count", row)
    return "count"


@pytest.fixture
def boxes(tmp_path: Path) -> EvalSet:
    images = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)]]
    plan = SetPlan(name="boxes", measures=("box", "count"))
    return EvalSet(plan, *load_set(write_set(tmp_path / "boxes", images)))


def report_of(one: EvalSet, *names: str) -> Evaluation:
    methods = [perfect(name) for name in names]
    sets = tuple(
        replace(score_set(methods, one, EvalSettings()), name=name, groups=("dev",))
        for name in ("first", "second")
    )
    return Evaluation(
        data="",
        subject=names[0],
        weights_hash="",
        settings=EvalSettings(),
        machine=this_machine(),
        sets=sets,
    )


@pytest.mark.parametrize("name", MEASURES)
def test_every_name_has_a_function_or_is_scored_mask_by_mask(name: str) -> None:
    assert (MEASURES[name].function is None) == (name in MASK_MEASURES)
    assert MEASURES[name].about


def test_names_stand_once_and_in_the_order_of_the_table() -> None:
    assert check_measures(["noc", "clicks", "noc"], "x") == ("clicks", "noc")
    with pytest.raises(ConfigError, match="Unknown measure 'bix' in x"):
        check_measures(["bix"], "x")


def test_a_measure_of_a_set_reaches_every_form_of_the_report(counting: str, boxes: EvalSet) -> None:
    report = report_of(boxes, "nano", "blind")
    text = str(report_images(report))
    assert "### count: masks a photo\n\n| set | method | masks a photo |" in text
    assert "| first | nano | 1.50 (1.00–2.00) |" in text
    assert "| **dev mean** | nano | **1.50 (1.00–2.00)** |" in text
    assert "- skipped: count of blind: it sees nothing" in text
    assert text.count("- count: photos were counted") == 1


def test_a_finding_is_written_and_read_back_whole(boxes: EvalSet) -> None:
    result = SetResult(
        figures=(shares_to_metric("AR", Shares(*np.array([[1.0, 0], [2, 1], [2, 1]]))),),
        curves=(
            Curve(
                title="t", x=np.array([0.0, 1]), y=np.array([1, np.nan]), x_label="x", y_label="y"
            ),
        ),
        tables=(DetailTable(title="t", header=("a", "b"), rows=(("x", float("nan")),)),),
        notes=("n",),
    )
    plan = SetPlan(name="boxes", measures=("box",))
    run = report_of(replace(boxes, plan=plan), "nano")
    found = replace(result, method="m", measure="q")
    run = replace(run, sets=(replace(run.sets[0], found=(found,)),))
    document = json.loads(json.dumps(evaluation_to_json(run)))
    (raw,) = document["sets"][0]["found"]
    (one,) = sets_from_json(document)
    (again,) = one.found
    assert evaluation_to_json(replace(run, sets=(one,)))["sets"] == document["sets"]
    assert raw["figures"][0]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert raw["tables"][0]["rows"] == [["x", None]]
    assert np.isnan(again.curves[0].y[1])


def test_a_mean_figure_is_the_mean_that_masks_have() -> None:
    rng = np.random.default_rng(1)
    values, image = rng.random(30), np.sort(rng.integers(0, 7, 30)) * 3
    expected = cluster_mean(values, image)
    figure = values_to_metric("x", np.append(values, np.nan), np.append(image, 99))
    assert (figure.value, figure.low, figure.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    other = rng.random(4), np.arange(4)
    expected = mean_of_means([(values, image), other])
    mean = mean_over_sets([figure, values_to_metric("x", *other)])
    assert (mean.value, mean.low, mean.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_a_ratio_over_sets_is_of_the_sets_means() -> None:
    """Gaps of .1 and .3 on average, of which .05 and .03 were closed: .08 of .4."""
    small = Shares(np.array([0.1]), np.array([0.2]), np.array([2.0]))
    large = Shares(np.array([3.0]), np.array([30.0]), np.array([100.0]))
    mean = mean_over_sets([shares_to_metric("x", small), shares_to_metric("x", large)])
    assert mean.value == pytest.approx(0.2)


def test_nothing_is_not_a_number() -> None:
    none = values_to_metric("x", np.array([np.nan]), np.array([0]))
    assert np.isnan(none.value)
    assert np.isnan(shares_to_metric("x", Shares(*np.zeros((3, 1)))).value)
    assert np.isnan(shares_to_metric("x", Shares(np.zeros(1), np.zeros(1), np.ones(1))).value)


def test_measures_of_masks_beside_the_main_ones_have_a_table(boxes: EvalSet) -> None:
    plan = SetPlan(name="boxes", measures=("box", "boundary"))
    text = str(report_images(report_of(replace(boxes, plan=plan), "nano")))
    assert "| set | method | boundary 1 click | boundary box |" in text
    assert "| **dev mean** | nano | **1.000** |" in text
