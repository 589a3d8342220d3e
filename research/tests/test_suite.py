"""The suite of the paper's 23 data sets: those in a folder are measured, the others listed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anymask.base import ConfigError, DataError
from anymask.evaluation.measures import MEASURES
from research import datasets
from research.paper.__main__ import find_sets, main
from research.paper.published import ORIGINS, locate, open_found
from research.paper.suite import read_suite
from research.tests import small_datasets as published
from tests.conftest import SHARED
from tests.evaluation.small_sets import write_set

COLUMNS = ["--only", "--measure", "box", "--baselines", "--model", "nano"]


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    """The measures and layouts of the paper, for one test."""
    before = dict(MEASURES)
    datasets.register()
    yield
    MEASURES.clear()
    MEASURES.update(before)


def test_every_data_set_of_the_paper_has_an_origin() -> None:
    plans = [one.plan for one in read_suite("paper").sets]
    assert {plan.groups[-1] for plan in plans} == set(ORIGINS)
    assert all("paper" in plan.groups for plan in plans)
    assert len(ORIGINS) == 23


def test_sets_that_are_there_are_measured_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.write_egohos(tmp_path / "EgoHOS")
    published.write_doors(tmp_path / "DOORS" / "Regression")
    published.write_leaves(tmp_path / "plant-phenotyping-datasets")
    write_set(tmp_path / "dram", [[(20, 20, 40, 40)]])
    assert main(["suite", "--data", str(tmp_path), *COLUMNS]) == 0
    captured = capsys.readouterr()
    for name in ("egohos", "doors", "ppdls", "dram"):
        assert f"| {name} |" in captured.out
    assert "25 sets:" in captured.err
    assert "\n  trashcan: University of Minnesota" in captured.err
    assert "expected ibd/masks.jsonl, after a conversion" in captured.err
    assert "egohos: " not in captured.err


def test_an_unreadable_set_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.write_doors(tmp_path / "DOORS" / "Regression")
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    suite = read_suite("paper")
    found = open_found(suite, tmp_path, ("doors", "ade20k"), None)
    assert [one.plan.name for one in found] == ["doors"]
    told = capsys.readouterr().err
    assert told.startswith(f"Not readable in {tmp_path}, 1 sets:\n  ade20k: ")
    assert "Missing" not in told


def test_a_folder_without_the_sets_is_an_error(tmp_path: Path) -> None:
    suite = read_suite("paper")
    with pytest.raises(DataError, match="contains no readable set of the suite 'paper'"):
        open_found(suite, tmp_path, (), None)
    with pytest.raises(ConfigError, match="Unknown set 'x' in the suite 'paper'"):
        open_found(suite, tmp_path, ("x",), None)
    assert main(["suite", "--data", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("name", ["BBBC038v1", "bbbc038-v1", "BBBC038V1"])
def test_a_top_folder_is_found_in_any_case_and_punctuation(name: str, tmp_path: Path) -> None:
    (one,) = (p for p in read_suite("paper").sets if p.plan.name == "bbbc038v1")
    (tmp_path / name).mkdir()
    here = locate(one, tmp_path)
    assert here is not None
    assert (tmp_path / here.place).is_dir()
    assert locate(replace(one, place="BBBC038v1/stage1_train"), tmp_path) is None


def test_a_suite_says_how_each_set_is_measured(tmp_path: Path) -> None:
    for name in ("coco_val", "berkeley"):
        write_set(tmp_path / name, [[(20, 20, 40, 40)]])
    options = {"sets": ["berkeley", "coco_val"], "root": tmp_path, "format": None}
    found = find_sets("zero-shot", options | {"images": None, "split": None, "also": ["boundary"]})
    assert [(one.plan.name, one.plan.groups, one.plan.measures) for one in found] == [
        ("coco_val", ("dev",), ("clicks", "box", "boundary", "everything")),
        ("berkeley", ("clicks",), ("clicks", "box", "noc", "boundary")),
    ]


def test_zero_shot_has_twelve_sets_to_develop_against() -> None:
    plans = [one.plan for one in read_suite("zero-shot").sets]
    groups = [group for plan in plans for group in plan.groups]
    assert {group: groups.count(group) for group in groups} == {"dev": 12, "thin": 2, "clicks": 2}
    assert {plan.name for plan in plans if "noc" in plan.measures} == {"grabcut", "berkeley"}
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (references and data), which a clone does not have")
    here = {path.name for path in (SHARED / "data" / "eval").iterdir() if path.is_dir()}
    assert {plan.name for plan in plans} == here
