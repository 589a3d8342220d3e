"""Groups of masks, their means and gaps, against cases worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.base import DataError
from anymask.evaluation import FromFunction
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import ALL_KINDS, Prompt
from research.paper.__main__ import main
from research.paper.fairness import Grouping, describe_fairness, measure_fairness, read_groups
from tests.evaluation.small_sets import perfect, same_color, write_set

N = 12
SETTINGS = EvalSettings(clicks=3)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    folder = tmp_path_factory.mktemp("sets") / "people"
    images = [[(2, 3, 20, 30), (40, 5, 60, 40)]] * N
    return EvalSet(SetPlan(name="people"), *load_set(write_set(folder, images)))


def written(folder: Path, text: str) -> Path:
    path = folder / "groups.csv"
    path.write_text(text, "utf-8")
    return path


def test_the_gap_is_the_largest_difference_of_two_means() -> None:
    """Twelve masks of a at 0.9, twelve of b at 0.6, six of c, which are too few."""
    of = ("a",) * 12 + ("b",) * 12 + ("c",) * 6
    scores = np.repeat([0.9, 0.6, 0.0], [12, 12, 6])[:, None].repeat(2, axis=1)
    result = describe_fairness(scores, np.arange(30), [Grouping("who", of)], 3)
    first, last = result.figures
    assert (first.name, last.name) == ("who gap, 1 click", "who gap, 3 clicks")
    assert (first.value, first.low, first.high) == pytest.approx((0.3, 0.3, 0.3))
    rows = [row[2:5] for row in result.tables[0].rows[:2]]
    assert rows == [("a", 12.0, pytest.approx(0.9)), ("b", 12.0, pytest.approx(0.6))]
    assert result.notes[0] == "who gap, 1 click: 30.0 points, not below 5"


def test_the_interval_of_a_gap_by_chance_contains_zero() -> None:
    scores = np.random.default_rng(0).random((200, 1)).repeat(2, axis=1)
    grouping = Grouping("who", ("a", "b") * 100)
    found = describe_fairness(scores, np.arange(200), [grouping], 1)
    assert found.figures[0].low < 0 < found.figures[0].value < found.figures[0].high
    assert found.notes[0].endswith("not shown to be below 5; the interval contains 0")


def test_groups_of_a_file_are_of_an_image_or_a_mask(people: EvalSet, tmp_path: Path) -> None:
    lines = ["image,mask,skin,age"]
    lines += [f"images/{n}.png,,{'dark' if n % 2 else 'light'},young" for n in range(N)]
    path = written(tmp_path, "\n".join([*lines, "0.png,1,,old"]))
    result = measure_fairness(perfect(), people, SETTINGS, groups=path)
    assert [one.name for one in result.figures] == ["skin gap, 1 click", "skin gap, 3 clicks"]
    assert [row[2:4] for row in result.tables[0].rows[:2]] == [("light", 11.0), ("dark", 12.0)]
    assert [one.value for one in result.figures] == [0, 0]
    assert read_groups(path).of("images/0.png", 1) == ("", "old")
    assert read_groups(path).of("other.png", 0) == ("", "")


def test_a_method_that_misses_one_group_has_a_gap(people: EvalSet, tmp_path: Path) -> None:
    """The left rectangle is found, the right one never."""
    rows = [f"{n}.png,{m},{('left', 'right')[m]}" for n in range(N) for m in (0, 1)]
    path = written(tmp_path, "\n".join(["image,mask,side", *rows]))

    def left_only(image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
        found = same_color(image, prompt)
        return found & (np.arange(found.shape[1]) < 30)

    method = FromFunction("left", ALL_KINDS, left_only)
    (gap, _) = measure_fairness(method, people, SETTINGS, groups=path).figures
    assert (gap.value, gap.low, gap.high) == (1, 1, 1)


def test_what_cannot_be_measured_is_reported(people: EvalSet, tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="no two groups of 10 masks; pass --groups"):
        measure_fairness(perfect(), people, SETTINGS)
    boxes = FromFunction("boxes", frozenset({"box"}), same_color)
    with pytest.raises(NotMeasured, match="takes no clicks"):
        measure_fairness(boxes, people, SETTINGS)
    for text, message in (
        ("photo,skin\na.png,dark\n", "Expected the columns image"),
        ("image,mask\na.png,0\n", "at least one of groups"),
        ("image,mask,skin\na.png,-1,dark\n", "line 2: mask must be an index, got '-1'"),
    ):
        with pytest.raises(DataError, match=message):
            read_groups(written(tmp_path, text))


def test_the_command_measures_fairness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path / "set", [[(2, 3, 20, 30), (40, 5, 60, 40)]] * N)
    rows = [f"{n}.png,{m},{('left', 'right')[m]}" for n in range(N) for m in (0, 1)]
    path = written(tmp_path, "\n".join(["image,mask,side", *rows]))
    words = [str(folder), "--measure", "fairness", "--only", "--groups", str(path)]
    assert main([*words, "--model", "nano"]) == 0
    assert "side gap, 1 click" in capsys.readouterr().out
