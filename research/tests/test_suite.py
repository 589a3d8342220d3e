"""The suite of the paper's 23 data sets: those in a folder are measured, the others listed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anymask.base import ConfigError, DataError
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.suite import read_suite
from research import datasets
from research.paper.__main__ import SUITES, main
from research.paper.published import ORIGINS, locate, open_found
from research.tests import small_datasets as published
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
    groups = {plan.groups[-1] for plan in read_suite(SUITES / "paper.toml").sets}
    assert groups == set(ORIGINS)
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
    suite = read_suite(SUITES / "paper.toml")
    found = open_found(suite, tmp_path, ("doors", "ade20k"), None)
    assert [one.plan.name for one in found] == ["doors"]
    told = capsys.readouterr().err
    assert told.startswith(f"Not readable in {tmp_path}, 1 sets:\n  ade20k: ")
    assert "Missing" not in told


def test_a_folder_without_the_sets_is_an_error(tmp_path: Path) -> None:
    suite = read_suite(SUITES / "paper.toml")
    with pytest.raises(DataError, match="contains no readable set of the suite 'paper'"):
        open_found(suite, tmp_path, (), None)
    with pytest.raises(ConfigError, match="Unknown set 'x' in the suite 'paper'"):
        open_found(suite, tmp_path, ("x",), None)
    assert main(["suite", "--data", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("name", ["BBBC038v1", "bbbc038-v1", "BBBC038V1"])
def test_a_top_folder_is_found_in_any_case_and_punctuation(name: str, tmp_path: Path) -> None:
    (plan,) = (p for p in read_suite(SUITES / "paper.toml").sets if p.name == "bbbc038v1")
    (tmp_path / name).mkdir()
    here = locate(plan, tmp_path)
    assert here is not None
    assert (tmp_path / here.place).is_dir()
    assert locate(replace(plan, folder="BBBC038v1/stage1_train"), tmp_path) is None
