"""Names of outputs as files or folders."""

from pathlib import Path

import pytest

from anymask.base import file_suffix, is_folder, near_suffix


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.json", ".json"),
        ("a.b/c.XML", ".xml"),
        ("a.tar.gz", ".gz"),
        ("a.v2", ".v2"),
        ("a.5", ""),
        ("v1.5", ""),
        ("a.b c", ""),
        ("a.b/", ""),
        (".hidden", ""),
        ("a.", ""),
        ("", ""),
    ],
)
def test_what_makes_a_name_that_of_a_file(name: str, suffix: str) -> None:
    assert file_suffix(name) == suffix


def test_a_folder_that_is_there_is_one_whatever_it_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "a.json"
    assert (is_folder(folder), file_suffix(folder)) == (False, ".json")
    folder.mkdir()
    assert (is_folder(folder), file_suffix(folder)) == (True, "")


def test_the_nearest_suffix_is_named_or_none() -> None:
    known = (".json", ".geojson", ".svg", ".png", ".npy")
    expected = {".jsn": ".json", ".jsno": ".json", ".pgn": ".png", ".npz": ".npy", ".xml": None}
    assert {one: near_suffix(one, known) for one in expected} == expected
