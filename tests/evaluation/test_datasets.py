"""Which sets and which of their masks are measured."""

import itertools
import json
from pathlib import Path

import pytest

from anymask.base import DataError
from anymask.evaluation.datasets import SetQuery, open_set
from anymask.evaluation.selection import SetPlan, choose_masks
from anymask.formats import load_set
from anymask.masks import empty_rle, rle_to_string
from tests.evaluation.small_sets import write_set
from tests.formats.published import write_voc

ROW = [(0, 0, 8, 8), (10, 0, 18, 8), (20, 0, 28, 8), (30, 0, 38, 8)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_set(tmp_path / "data" / "first", [ROW, ROW, []])
    write_set(tmp_path / "data" / "second", [ROW])
    return tmp_path / "data"


def test_a_folder_of_sets_is_every_set_in_it(data: Path) -> None:
    found = SetQuery(data=str(data)).open()
    assert [(one.plan.name, len(one.samples)) for one in found] == [("first", 3), ("second", 1)]
    (second,) = SetQuery(data=str(data / "second"), also=("noc",)).open()
    assert second.info.domain == "rectangles"
    assert second.plan == SetPlan(name="second", measures=("clicks", "box", "noc"))


def test_a_published_data_set_is_measured_where_it_lies(tmp_path: Path) -> None:
    write_voc(tmp_path / "pascal")
    (opened,) = SetQuery(data=str(tmp_path / "pascal")).open()
    assert opened.plan.name == "pascal"
    assert [mask.label for mask in opened.samples[0].objects] == ["dog", "tvmonitor"]


def test_an_absent_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'gone'"):
        open_set(SetPlan(name="gone"), Path("gone"))


def test_without_a_limit_every_mask_with_pixels_is_chosen(data: Path) -> None:
    path = data / "first" / "masks.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[2]["masks"] = [{"rle": rle_to_string(empty_rle((48, 64)))}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, samples = load_set(data / "first")
    chosen = choose_masks(SetPlan(name="first"), samples)
    assert chosen.image.tolist() == [0] * 4 + [1] * 4
    assert chosen.mask.tolist() == [0, 1, 2, 3] * 2
    assert chosen.area.tolist() == [64] * 8
    assert sorted(chosen.rank.tolist()) == list(range(8))


def test_a_smaller_limit_draws_a_part_of_a_larger_one(data: Path) -> None:
    _, samples = load_set(data / "first")
    plan = SetPlan(name="first")
    drawn = []
    for limit in range(9):
        chosen = choose_masks(plan, samples, limit)
        drawn.append(set(zip(chosen.image.tolist(), chosen.mask.tolist(), strict=True)))
        assert len(drawn[-1]) == limit
        assert all(chosen.rank < limit)
    assert all(small <= large for small, large in itertools.pairwise(drawn))


def test_of_several_annotators_the_first_one_counts_unless_all_are_wanted(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "people", [ROW])
    path = folder / "masks.jsonl"
    row = json.loads(path.read_text())
    for mask, annotator in zip(row["masks"], (2, 1, 1, 3), strict=True):
        mask["annotator"] = annotator
    path.write_text(json.dumps(row) + "\n")
    _, samples = load_set(folder)
    first = choose_masks(SetPlan(name="people"), samples)
    assert first.mask.tolist() == [1, 2]
    assert len(choose_masks(SetPlan(name="people", annotators="all"), samples).mask) == 4
