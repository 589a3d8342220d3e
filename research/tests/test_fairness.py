"""Groups, their means and gaps."""

from pathlib import Path

import numpy as np
import pytest

from anymask.data.sets import load_set
from anymask.evaluation.adapters import FromFunction
from anymask.evaluation.protocols import BOX, CLICKS
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.evaluation.set_results import NotMeasured
from anymask.primitives.errors import DataError
from research.paper.baselines import filled_box
from research.paper.fairness import (
    Grouping,
    describe_fairness,
    list_groups,
    measure_fairness,
    read_groups,
)
from tests.evaluation.small_sets import perfect, same_colour, write_set

N = 24


def group_csv(tmp_path: Path, text: str) -> str:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def people(tmp_path: Path) -> EvalSet:
    photos = [[(2, 3, 20, 30), (40, 5, 60, 40)]] * N
    return EvalSet(SetPlan(name="people"), *load_set(write_set(tmp_path / "people", photos)))


def test_the_gap_is_the_largest_difference_of_two_means() -> None:
    """Thirty photos: twelve of a at .9, twelve of b at .6, six of c, which are too few."""
    of = ("a",) * 12 + ("b",) * 12 + ("c",) * 6
    scores = np.repeat([0.9, 0.6, 0.0], [12, 12, 6])[:, None].repeat(2, axis=1)
    result = describe_fairness(scores, np.arange(30), [Grouping("who", of)], 3)
    first, last = result.figures
    assert (first.name, last.name) == ("who gap, 1 click", "who gap, 3 clicks")
    assert (first.value, first.low, first.high) == pytest.approx((0.3, 0.3, 0.3))
    rows = [row[2:5] for row in result.tables[0].rows[:2]]
    assert rows == [("a", 12.0, pytest.approx(0.9)), ("b", 12.0, pytest.approx(0.6))]
    assert result.notes[0] == "who gap, 1 click: 30.0 points, not under 5"


def test_a_gap_of_chance_holds_zero_and_says_so() -> None:
    rng = np.random.default_rng(0)
    of = ("a", "b") * 100
    scores = rng.random((200, 1)).repeat(2, axis=1)
    result = describe_fairness(scores, np.arange(200), [Grouping("who", of)], 1)
    (gap,) = result.figures
    assert gap.low < 0 < gap.value < gap.high
    assert "the interval holds 0" in result.notes[0]


def test_groups_come_from_a_file_by_photo_or_by_mask(people: EvalSet, tmp_path: Path) -> None:
    lines = ["image,mask,skin,age"]
    lines += [f"images/{n}.png,,{'dark' if n % 2 else 'light'},young" for n in range(N)]
    lines += ["0.png,1,,old"]
    path = group_csv(tmp_path, "\n".join(lines))
    result = measure_fairness(perfect(), people, EvalSettings(), groups=path)
    assert [f.name for f in result.figures] == ["skin gap, 1 click", "skin gap, 3 clicks"]
    assert [row[2:4] for row in result.tables[0].rows[:2]] == [("light", 23.0), ("dark", 24.0)]
    assert [figure.value for figure in result.figures] == [0, 0]
    assert read_groups(path).of("0.png", 1) == ("", "old")
    assert read_groups(path).of("nobody.png", 0) == ("", "")


def test_a_method_that_fails_one_group_has_a_gap(people: EvalSet, tmp_path: Path) -> None:
    """The left rectangle is found, the right one never."""
    rows = [f"{n}.png,{m},{'left' if m == 0 else 'right'}" for n in range(N) for m in (0, 1)]
    path = group_csv(tmp_path, "\n".join(["image,mask,side", *rows]))

    def left_only(image: np.ndarray, prompt: object) -> np.ndarray:
        found = same_colour(image, prompt)
        return found & (np.arange(found.shape[1]) < 30)

    result = measure_fairness(
        FromFunction("half", CLICKS, left_only), people, EvalSettings(), groups=path
    )
    assert result.figures[0].value == 1
    assert "not under 5" in result.notes[0]


def test_labels_are_the_groups_where_no_file_is_given(people: EvalSet) -> None:
    with pytest.raises(NotMeasured, match="no two groups of 10 masks; give --groups FILE"):
        measure_fairness(perfect(), people, EvalSettings())
    assert list_groups(Grouping("label", ("cat",) * 10 + ("dog",) * 9 + ("",) * 20)) == ["cat"]


def test_a_method_without_clicks_is_not_measured(people: EvalSet) -> None:
    with pytest.raises(NotMeasured, match="takes no clicks"):
        measure_fairness(FromFunction("box", BOX, filled_box), people, EvalSettings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"groups.csv, line 1: wanted columns `image`.*got nothing"),
        ("image,mask\na,1", "at least one of groups; got image, mask"),
        ("photo,age\na,1", "wanted columns `image`"),
        ("image,mask,age\na,1,old\nb,x,old", "line 3: `mask` is an index, got 'x'"),
    ],
)
def test_a_broken_file_of_groups_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_groups(group_csv(tmp_path, text))


def test_an_absent_file_of_groups_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.csv: wanted a CSV file of groups, cannot read it"):
        read_groups(tmp_path / "none.csv")
