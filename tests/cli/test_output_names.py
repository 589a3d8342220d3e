"""Names of outputs: a suffix that no format knows is never taken for a folder."""

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from itertools import chain, permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.cli.command_table import COMMANDS
from anymask.cli.main import main
from anymask.cli.outputs import new_folder
from tests.conftest import REPOSITORY, CommandLine

JSON = '{"images": [], "annotations": [], "categories": []}'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.pad(np.uint8([[255]]), (3, 4))).convert("RGB").save("p.png")
    Path("in.json").write_text(JSON)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command line says; nothing else was done."""
    before = sorted(Path().rglob("*"))
    assert main(list(words)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("anymask: error: ")
    assert told.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return told.err


EVERYTHING = "Expected a folder, or a file ending in .json, .csv, .svg, "
REFUSALS = [
    (
        ["everything", "p.png", "-o", "x.jsonl"],
        [EVERYTHING, "To write .jsonl, convert the .json with"],
    ),
    (["everything", "p.png", "-o", "x.jsn"], [EVERYTHING, "'x.jsn'. Did you mean x.json?"]),
    (["everything", "p.png", "-o", "x.foo"], [EVERYTHING, "To write a folder, pass x.foo/"]),
    (["everything", "p.png", "p.png", "-o", "x.foo"], [EVERYTHING]),
    (["segment", "p.png", "--point", "1,1", "-o", "x.pgn"], ["Did you mean x.png?"]),
    (["segment", "p.png", "--point", "1,1", "-o", "x.gkpg"], ["Did you mean x.gpkg?"]),
    (["find", "p.png", "cup", "-o", "x.xlsx"], ["Did you mean x.csv?", ".gpkg"]),
    (["encode", "p.png", "-o", "x.npy"], ["ending in .npz, got 'x.npy'. Did you mean x.npz?"]),
    (["encode", "p.png", "-o", "x.json"], ["ending in .npz, got 'x.json'"]),
    (["track", "p.png", "--point", "1,1", "-o", "x.xml"], ["Unsupported output 'x.xml'"]),
    (["convert", "in.json", "x.json", "--to", "yolo"], ["yolo is written as a folder, got"]),
    (["convert", "in.json", "x.tar.gz", "--to", "yolo"], ["'x.tar.gz'. Remove .gz"]),
    (["convert", "in.json", "x.xyz", "--to", "coco"], ["coco is written as a file ending in"]),
    (["convert", "in.json", "x.xml", "--to", "labelme"], ["one image, or a folder, got 'x.xml'"]),
    (["convert", "in.json", "x.jsno"], ["Did you mean x.json? Or pass one, with --to: "]),
    (["export", "nano", "-o", "x.onnx"], ["'x.onnx' is a file name. Pass a folder", "x.onnx/"]),
    (["audit", "in.json", "-o", "x.html"], ["'x.html' is a file name. Pass a folder"]),
    (["train", "nano", "--data", ".", "-o", "x.pt"], ["'x.pt' is a file name. Pass a folder"]),
    (["serve", "--static", "x.html"], ["--static: 'x.html' is a file name. Pass a folder"]),
    (
        ["evaluate", "labels.json", "--json", "x.xml"],
        ["--json writes a file ending in .json, .csv, .md or .html", "Did you mean x.json?"],
    ),
    (["project", "report", ".", "--json", "x.md"], ["--json writes a file ending in .json,"]),
    (["stats", "in.json", "--html", "x.json"], ["--html writes a file", "Did you mean x.html?"]),
    (
        ["stats", "in.json", "--json", "."],
        ["--json writes a file, but '.' is a folder. Add a file name"],
    ),
    (["bench", "model", "--json", "-"], ["--json cannot write to standard output"]),
    (["project", "report", ".", "--json", "x.txt"], ["Did you mean x.json?"]),
]


@pytest.mark.parametrize(("words", "parts"), REFUSALS)
def test_an_unknown_suffix_is_one_sentence_and_nothing_is_written(
    desk: Path, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    told = refused(capsys, *words)
    for part in parts:
        assert part in told


PLUGINS = sorted((REPOSITORY / "contrib").glob("anymask-*/src/*/commands/[a-z]*.py"))
OF_PLUGINS = {path.stem: f"{path.parts[-3]}.commands.{path.stem}" for path in PLUGINS}
WRITES = {"output", "outputs", "target", "json", "report", "html", "fit", "list_to", "session"}
# Paths that are no file of this command line: names of models and folders that are created.
FOLDERS = {"bundle", "shards", "static", "proposals", "database", "detector", "split", "series"}
SUFFIXES = {"html": ".html", "json": ".json", "report": ".json", "background": ".png"}
FORMS = {"like": "p.png@mask:{}", "unlike": "p.png@mask:{}", "mask": "0:1:{}", "lasso": "0:1:{}"}


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, or those of its subcommands."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for one in inner:
        yield from one.choices.values()
    if not inner:
        yield parser


def is_path(action: argparse.Action) -> bool:
    """Whether the value of an argument is a file; all words of the help that mean one."""
    kinds = (
        "FILE|OUT|PHOTO|IMAGE|LABELS|VIDEO|SCAN|MAP|BEFORE|AFTER|CLOUD|LINE|DATASET|EXAMPLE|TRUTH"
    )
    named = bool(re.search(kinds, str(action.metavar))) or action.type is Path
    return named and action.dest not in FOLDERS


def words_of(action: argparse.Action, value: str) -> list[str]:
    """The words of one argument."""
    if action.choices:
        value = str(next(iter(action.choices)))
    if action.dest == "scribble":
        value = f"0:1:{value}"
    value = FORMS.get(action.dest, "{}").format(value)
    return [*action.option_strings[:1], *[value] * (action.nargs != 0)]


@pytest.mark.parametrize("command", [*COMMANDS, *OF_PLUGINS])
def test_an_output_that_is_an_input_is_refused_by_every_command(desk: Path, command: str) -> None:
    """All pairs of an argument that is written and another one that is read or written."""
    record = pytest.importorskip(COMMANDS.get(command) or OF_PLUGINS[command]).COMMAND
    for parser in leaves(record.parser(f"anymask {command}")):
        must = [[one] for one in parser._actions if one.required]
        must += [one._group_actions for one in parser._mutually_exclusive_groups if one.required]
        paths = [one for one in parser._actions if is_path(one) and one.type is not new_folder]
        for written, other in permutations(paths, 2):
            suffix = SUFFIXES.get(written.dest, SUFFIXES.get(other.dest, ".json"))
            if written.dest not in WRITES or suffix != SUFFIXES.get(other.dest, suffix):
                continue
            Path(f"in{suffix}").write_text("[]")
            rest = [group[0] for group in must if not {written, other} & {*group}]
            given = [words_of(one, one.dest) for one in rest]
            given += [words_of(one, f"in{suffix}") for one in (written, other)]
            words = list(chain(*sorted(given, key=lambda one: not one[0].startswith("-"))))
            with pytest.raises(InputError, match="is also an input"):
                parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        ["stats", "in.json", "--json", "../{here}/in.json"],
        ["stats", "link.json", "--json", "in.json"],
        ["everything", "p.png", "-o", "x.json", "--json=x.json"],
        ["everything", "p.png", "-op.png"],
        ["everything", "p.png", "q.png", "-o", "."],
        ["boxes", "in.json", "--images", ".", "-o", "."],
        ["convert", "in.json", ".", "--to", "label-png"],
        ["segment", "1.png", "--point", "5,5", "-o", "{{n}}.png"],
        ["segment", "p.png", "--mask", "1.png", "-o", "{{n}}.png"],
        ["segment", "p.png", "--mask", "p.cut.png"],
        ["cutout", "p.png", "--background", "p.cut.png"],
        ["find", "p.png", "--like", "p.png@mask:p.found.png"],
    ],
)
def test_no_file_of_another_name_or_folder_is_written_over(
    desk: Path, cli: CommandLine, words: list[str]
) -> None:
    Path("link.json").symlink_to("in.json")
    one: dict[str, object] = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}
    if words[0] == "convert":
        one["segmentation"] = [[1, 1, 5, 1, 5, 5]]
    image = {"id": 1, "file_name": "p.png", "width": 8, "height": 8}
    known = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "cup"}]}
    Path("in.json").write_text(json.dumps(known))
    for name in ("q.png", "1.png", "p.cut.png", "p.found.png"):
        shutil.copyfile("p.png", name)
    before = {path: path.read_bytes() for path in Path().rglob("*.*")}
    assert "is also an input" in cli.refused([word.format(here=desk.name) for word in words])
    assert {path: path.read_bytes() for path in before} == before
