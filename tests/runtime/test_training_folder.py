"""The folder of a training is a name of its exported model, wherever a model is named."""

import shutil
from pathlib import Path

import pytest

import anymask
from anymask.runtime import ASSETS, find_bundle, stated_channels


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """What a training leaves: weights, and an exported model in bundle/."""
    folder = tmp_path / "mine"
    shutil.copytree(ASSETS / "nano", folder / "bundle")
    shutil.copy(ASSETS / "nano" / "manifest.json", folder / "log.jsonl")
    return folder


def test_it_is_opened_by_name_and_as_weights(mine: Path) -> None:
    assert find_bundle(str(mine)) == mine / "bundle"
    assert find_bundle("nano", mine) == mine / "bundle"
    assert find_bundle(str(mine / "bundle")) == mine / "bundle"
    assert stated_channels(str(mine)) is None
    assert anymask.load(mine).spec == anymask.load("nano").spec


def test_a_folder_without_an_exported_model_is_none(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert find_bundle(str(tmp_path)) is None
    assert find_bundle("nano", tmp_path) == tmp_path
