"""Options come from declared settings: names, values, defaults, and what was given."""

import argparse
from pathlib import Path

import pytest

import anymask
from anymask.base import InputError
from anymask.cli import Settings, read_model, read_options
from anymask.cli.command_table import commands
from anymask.cli.main import load
from anymask.cli.serve import SERVER, read_server
from anymask.evaluation.selection import EvalSettings
from anymask.jobs import TilingSettings
from anymask.studio.limits import Limits


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    load(commands()[command]).add_to(parser)
    for action in parser._actions:
        if action.dest == "action" and action.choices:
            return action.choices[parser.get_default("action")]
    return parser


def test_a_word_for_none_is_not_the_same_as_no_word() -> None:
    parser = argparse.ArgumentParser()
    Settings(TilingSettings, only=("tile",)).add_to(parser)
    assert read_options(parser.parse_args([]), TilingSettings) == {}
    assert read_options(parser.parse_args(["--tile", "none"]), TilingSettings) == {"tile": None}
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
