"""Which sets and which of their masks are measured."""

import itertools
import json
from pathlib import Path

import pytest

from anymask.base import ConfigError, DataError
from anymask.evaluation.selection import SetPlan, choose_masks
from anymask.evaluation.suite import (
    find_suite,
    folder_suite,
    open_sets,
    read_suite,
    shipped_suites,
)
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


def write_suite(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_suite_file_says_how_each_set_is_measured(tmp_path: Path) -> None:
    suite = read_suite(
        write_suite(
            tmp_path,
            'clicks = 5\n[[set]]\nname = "a"\ngroups = ["dev"]\n'
            '[[set]]\nname = "b"\nmeasures = ["noc", "clicks"]\nannotators = "all"\n',
        )
    )
    assert (suite.name, suite.clicks, suite.min_area) == ("mine", 5, 64)
    assert suite.sets == (
        SetPlan(name="a", groups=("dev",)),
        SetPlan(name="b", measures=("clicks", "noc"), annotators="all"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Not valid TOML"),
        ("", r"has no \[\[set\]\] with a name"),
        ("set = [1]", r"has no \[\[set\]\] with a name"),
        ("sets = 1", "Unknown key 'sets'.*name, clicks, min_area, data"),
        ('clicks = "3"', "clicks must be a whole number of at least 1 .*, got '3'"),
        ("clicks = true", "clicks must be a whole number of at least 1 .*, got True"),
        (
            'clicks = 0\n[[set]]\nname = "a"',
            "clicks must be a whole number of at least 1 .*, got 0",
        ),
        ("data = 3", "data must be a path or None, got 3"),
        ('[[set]]\nannotators = "all"', "Missing name in .*set 1"),
        ('[[set]]\nname = "a"\nclick = 3', "Unknown key 'click' in .*set 1"),
        (
            '[[set]]\nname = "a"\nmeasures = ["click"]',
            "Unknown measure 'click' in .*set 1",
        ),
        ('[[set]]\nname = "a"\ngroups = [1]', "set 1: groups must be a list of text, got"),
        (
            '[[set]]\nname = "a"\nannotators = "last"',
            'annotators must be "first" or "all", got \'last\'',
        ),
    ],
)
def test_a_suite_that_cannot_be_followed_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_suite(write_suite(tmp_path, text))


def test_an_absent_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        read_suite(tmp_path / "none.toml")


def test_a_set_folder_and_a_folder_of_sets_are_suites(data: Path) -> None:
    suite, folder = folder_suite(data)
    assert [plan.name for plan in suite.sets] == ["first", "second"]
    assert folder == data
    suite, folder = folder_suite(data / "second")
    assert [plan.name for plan in suite.sets] == ["second"]
    assert open_sets(suite, folder)[0].info.domain == "rectangles"


def test_a_folder_without_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="or a published dataset"):
        folder_suite(tmp_path)


def test_a_published_data_set_is_measured_where_it_lies(tmp_path: Path) -> None:
    write_voc(tmp_path / "pascal")
    text = '[[set]]\nname = "voc"\nlayout = "voc"\nfolder = "pascal"\nsplit = "val"\n'
    suite = read_suite(write_suite(tmp_path, text))
    (opened,) = open_sets(suite, tmp_path)
    assert [mask.label for mask in opened.samples[0].objects] == ["dog", "tvmonitor"]
    assert opened.plan.name == "voc"
    suite, folder = folder_suite(tmp_path / "pascal")
    assert suite.sets == (SetPlan(name="pascal", layout="voc"),)
    assert len(open_sets(suite, folder)[0].samples) == 1


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    text = '[[set]]\nname = "a"\nlayout = "vco"\n'
    with pytest.raises(ConfigError, match="Unknown layout 'vco'.*auto, set, lvis"):
        read_suite(write_suite(tmp_path, text))


def test_suites_of_the_package_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(shipped_suites()) >= {"zero-shot"}
    for name in shipped_suites():
        assert read_suite(find_suite(name)).sets
    with pytest.raises(ConfigError, match="zeroshot' does not exist.* Did you mean 'zero-shot'"):
        find_suite("zeroshot")
    write_suite(tmp_path, '[[set]]\nname = "own"').rename("zero-shot.toml")
    assert find_suite("zero-shot.toml") == Path("zero-shot.toml")


def test_sets_are_picked_by_name(data: Path) -> None:
    suite, folder = folder_suite(data)
    assert [one.plan.name for one in open_sets(suite, folder, ["second"])] == ["second"]
    with pytest.raises(ConfigError, match="Unknown set 'third' .* first, second"):
        open_sets(suite, folder, ["third"])


def test_an_absent_set_is_named(tmp_path: Path, data: Path) -> None:
    suite = read_suite(write_suite(tmp_path, '[[set]]\nname = "gone"'))
    with pytest.raises(DataError, match="gone: Not a set folder"):
        open_sets(suite, data)


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


def test_a_limit_a_photo_holds_for_every_photo(data: Path) -> None:
    _, samples = load_set(data / "first")
    chosen = choose_masks(SetPlan(name="first"), samples, per_image=3)
    assert chosen.image.tolist() == [0] * 3 + [1] * 3


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


def test_the_suite_of_this_repository_has_twelve_sets_to_develop_against(
    shared: Path,
) -> None:
    suite = read_suite(find_suite("zero-shot"))
    groups = [group for plan in suite.sets for group in plan.groups]
    assert {group: groups.count(group) for group in groups} == {"dev": 12, "thin": 2, "clicks": 2}
    here = {path.name for path in (shared / "data" / "eval").iterdir() if path.is_dir()}
    assert {plan.name for plan in suite.sets} == here
    assert {plan.name for plan in suite.sets if "noc" in plan.measures} == {"grabcut", "berkeley"}
