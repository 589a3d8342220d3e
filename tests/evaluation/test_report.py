"""Tables and JSON of an evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError, this_machine, write_json
from anymask.evaluation.image_report import report_images
from anymask.evaluation.results import Evaluation, SetScores, evaluation_to_json, sets_from_json
from anymask.evaluation.selection import EvalSettings


def scores(name: str, group: str, first: list[float], area: list[int]) -> SetScores:
    n = len(first)
    values = np.array(first)
    return SetScores(
        name=name,
        groups=(group,),
        image=np.arange(n),
        mask=np.zeros(n, np.int64),
        area=np.array(area),
        columns={
            ("nano", "1 click"): values,
            ("nano", "oracle"): np.minimum(values + 0.1, 1),
            ("nano", "2 clicks"): values,
            ("nano", "3 clicks"): values,
            ("nano", "noc90"): np.full(n, 4.5),
            ("grabcut", "box"): np.full(n, np.nan),
        },
    )


@pytest.fixture
def report() -> Evaluation:
    return Evaluation(
        data="mine",
        subject="nano",
        weights_hash="abc",
        settings=EvalSettings(limit=9),
        machine=this_machine(),
        sets=(
            scores("cats", "dev", [0.5, 0.7, 0.1], [100, 64, 63]),
            scores("dogs", "dev", [0.2], [400]),
            scores("roads", "thin", [0.0], [400]),
        ),
        skipped=(("superpixel", "scikit-image is not installed"),),
    )


def test_a_mean_is_over_sets_not_over_masks(report: Evaluation) -> None:
    assert report.mean("1 click", group="dev").value == pytest.approx((0.6 + 0.2) / 2)
    assert report.mean("1 click").value == pytest.approx((0.6 + 0.2 + 0.0) / 3)


def test_small_masks_stay_out_of_means_and_have_their_own(report: Evaluation) -> None:
    assert report.set_mean("cats", "1 click").value == pytest.approx(0.6)
    assert report.set_mean("cats", "1 click", small=True).value == pytest.approx(0.1)
    assert np.isnan(report.set_mean("dogs", "1 click", small=True).value)


def test_the_table_has_a_row_a_set_and_the_groups_means(report: Evaluation) -> None:
    lines = str(report_images(report)).splitlines()
    assert lines[0] == "| set | masks | 1 click | oracle | 3 clicks | grabcut: box |"
    assert lines[2] == "| cats | 2 | 0.600 | 0.700 | 0.600 |  |"
    assert "| **dev mean** | 2 sets | **0.400** | **0.500** | **0.400** |  |" in lines
    assert "| clicks to reach an IoU | masks | nano NoC@90 |" in lines
    assert "| cats | 3 | 4.50 |" in lines
    assert "| cats | 1 | 0.100 | 0.200 | 0.100 |  |" in lines
    assert any("weights abc" in line for line in lines)
    assert any("at most 9 masks per set" in line for line in lines)
    assert any("skipped: superpixel: scikit-image is not installed" in line for line in lines)
    assert any(line.startswith("- machine: ") for line in lines)


def test_the_json_holds_what_the_table_shows_and_reads_back(
    report: Evaluation, tmp_path: Path
) -> None:
    write_json(tmp_path / "out.json", evaluation_to_json(report))
    raw = json.loads((tmp_path / "out.json").read_text())
    assert raw["format"] == 2
    assert raw["means"][0] == {
        "group": "dev",
        "method": "nano",
        "measure": "1 click",
        "mean": 0.4,
        "low": pytest.approx(0.35),
        "high": pytest.approx(0.45),
    }
    assert raw["sets"][0]["masks"] == 2
    assert raw["sets"][0]["small_masks"] == 1
    assert raw["sets"][0]["columns"][5]["values"] == [None, None, None]
    again = replace(report, sets=sets_from_json(raw))
    assert str(report_images(again)) == str(report_images(report))
    assert json.loads(json.dumps(evaluation_to_json(again))) == raw
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("raw", [{}, {"sets": 3}, {"sets": [{}]}, {"sets": [[]]}])
def test_a_file_that_is_no_report_is_refused(raw: dict) -> None:
    with pytest.raises(DataError, match="not a report of `anymask evaluate`"):
        sets_from_json(raw)
