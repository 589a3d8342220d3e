"""Options come from declared settings: names, values, defaults, and what was given."""

import argparse
from pathlib import Path

import pytest

import anymask
from anymask.base import InputError, list_settings
from anymask.cli import Settings, read_model, read_options
from anymask.cli.command_table import commands
from anymask.cli.everything import COMMAND
from anymask.cli.main import load
from anymask.cli.options import option_of
from anymask.cli.serve import SERVER, read_server
from anymask.evaluation.selection import EvalSettings
from anymask.jobs import LookChoice, ModelChoice
from anymask.segment import Arrangement, Grid, SegmentSettings
from anymask.studio.limits import Limits

LOADING = ["annotate", "audit", "encode", "evaluate", "everything", "segment", "serve"]


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    load(commands()[command]).add_to(parser)
    for action in parser._actions:
        if action.dest == "action" and action.choices:
            return action.choices[parser.get_default("action")]
    return parser


def options_of(command: str) -> dict[str, argparse.Action]:
    actions = parser_of(command)._actions
    return {name: action for action in actions for name in action.option_strings}


@pytest.mark.parametrize("command", LOADING)
def test_every_command_that_loads_a_model_has_the_same_options(command: str) -> None:
    here, there = options_of(command), options_of("segment")
    names = [option_of(setting.name) for setting in list_settings(ModelChoice)]
    for name in names if command not in ("audit", "evaluate") else names[1:]:  # of their own
        assert here[name].help == there[name].help
        assert here[name].metavar == there[name].metavar


ONLY_PYTHON = {
    name
    for one in COMMAND.arguments
    if isinstance(one, Settings) and one.declared is Grid
    for name in one.omit
}


@pytest.mark.parametrize("declared", [Grid, Arrangement])
def test_everything_has_an_option_for_each_setting(declared: type) -> None:
    options = options_of("everything")
    for setting in list_settings(declared):
        if setting.name not in ONLY_PYTHON:
            assert options[option_of(setting.name)].help.startswith(setting.about.does[:20])


def test_a_setting_of_a_click_and_of_everything_has_one_option() -> None:
    here, there = options_of("segment"), options_of("everything")
    shared = {one.name for one in list_settings(SegmentSettings)} & {
        one.name for one in list_settings(Arrangement)
    }
    assert shared == {"granularity", "max_hole_area", "min_island_area", "refine_edges"}
    assert all(option_of(name) in here and option_of(name) in there for name in shared)
    assert not {"--fill-holes", "--drop-islands"} & set(there)


def test_a_word_for_none_is_not_the_same_as_no_word() -> None:
    parser = argparse.ArgumentParser()
    Settings(LookChoice, only=("tile",)).add_to(parser)
    assert read_options(parser.parse_args([]), LookChoice) == {}
    assert read_options(parser.parse_args(["--tile", "none"]), LookChoice) == {"tile": None}
    Settings(EvalSettings, only=("slow",)).add_to(parser)
    assert read_options(parser.parse_args(["--slow-limit", "all"]), EvalSettings) == {"slow": None}


def test_limits_are_given_in_millions_and_nothing_else_is_taken_for_one() -> None:
    parser = argparse.ArgumentParser()
    SERVER.add_to(parser)
    parser.add_argument("--grid", type=int)
    assert read_server(parser.parse_args(["--grid", "9"]))["limits"] == Limits()
    words = ["--upload-megabytes", "1.5", "--megapixels", "2"]
    limits = read_server(parser.parse_args(words))["limits"]
    assert (limits.upload_bytes, limits.pixels) == (1_500_000, 2_000_000)
    with pytest.raises(InputError, match="upload_bytes must be a whole number of at least 1"):
        read_server(parser.parse_args(["--upload-megabytes", "0"]))


def test_what_was_given_is_read_and_the_rest_left_to_the_class() -> None:
    parser = argparse.ArgumentParser()
    Settings(Grid, only=("mode", "grid", "score")).add_to(parser)
    args = parser.parse_args(["--grid", "8", "--score", "0"])
    assert read_options(args, Grid) == {"grid": 8, "score": 0.0}
    assert read_options(parser.parse_args([]), Grid) == {}


def test_the_model_s_options_reach_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(anymask, "load", lambda *given: asked.append(given))
    words = ["--model", "m", "--weights", "w.pt", "--device", "cuda:1"]
    words += ["--precision", "bf16", "--runtime", "torch"]
    read_model(parser_of("segment").parse_args(["photo.png", *words])).load()
    read_model(parser_of("segment").parse_args(["photo.png"])).load()
    plain = ("nano", None, "auto", "fp32", "auto")
    assert asked == [("m", Path("w.pt").absolute(), "cuda:1", "bf16", "torch"), plain]


@pytest.mark.parametrize("command", ["segment", "evaluate"])
def test_a_checkpoint_of_the_home_folder_is_found(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    args = parser_of(command).parse_args(["what", "--weights", "~/w.pt"])
    assert read_model(args, model="m").weights == tmp_path / "w.pt"
