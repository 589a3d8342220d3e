"""Names of outputs: a suffix that no format knows is never taken for a folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main

JSON = '{"images": [], "annotations": [], "categories": []}'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("p.png")
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
    (["encode", "p.png", "-o", "x.npy"], ["ending in .npz, got 'x.npy'. Did you mean x.npz?"]),
    (["encode", "p.png", "-o", "x.json"], ["ending in .npz, got 'x.json'"]),
    (["track", "p.png", "--point", "1,1", "-o", "x.xml"], ["Unsupported output 'x.xml'"]),
    (["convert", "in.json", "x.json", "--to", "yolo"], ["yolo is written as a folder, got"]),
    (["convert", "in.json", "x.tar.gz", "--to", "yolo"], ["'x.tar.gz'. Remove .gz"]),
    (["convert", "in.json", "x.xyz", "--to", "coco"], ["coco is written as a file ending in"]),
    (["convert", "in.json", "x.xml", "--to", "labelme"], ["one image, or a folder, got 'x.xml'"]),
    (
        ["convert", "in.json", "x.jsno"],
        ["Did you mean x.json? Or pass one, with --to on the command line"],
    ),
    (
        ["export", "nano", "-o", "x.onnx"],
        ["'x.onnx' is a file name, but an output folder", "x.onnx/"],
    ),
    (["audit", "in.json", "-o", "x.html"], ["'x.html' is a file name, but an output folder"]),
    (
        ["train", "nano", "--data", ".", "-o", "x.pt"],
        ["'x.pt' is a file name, but an output folder"],
    ),
    (["serve", "--static", "x.html"], ["--static: 'x.html' is a file name, but an output folder"]),
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


@pytest.mark.parametrize(
    "words",
    [
        ["stats", "in.json", "--json", "in.json"],
        ["stats", "in.json", "--json", "../{here}/in.json"],
        ["stats", "link.json", "--json", "in.json"],
        ["convert", "in.json", "x.json", "--json", "in.json"],
        ["convert", "in.json", "x.json", "--json", "x.json"],
        ["audit", "in.json", "-o", "audit", "--json", "in.json"],
        ["names", "in.json", "-o", "in.json"],
        ["everything", "p.png", "-o", "x.json", "--json", "x.json"],
    ],
)
def test_a_report_is_never_written_over_an_input(
    desk: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    Path("link.json").symlink_to("in.json")
    told = refused(capsys, *[word.format(here=desk.name) for word in words])
    assert "is already an input or another output of this command" in told
    assert Path("in.json").read_text() == JSON


def test_a_report_may_be_written_anew(desk: Path) -> None:
    for _ in range(2):
        assert main(["convert", "in.json", "x.json", "--json", "lost.json"]) == 0


def test_a_folder_may_be_called_as_a_file_where_that_is_said(desk: Path) -> None:
    Path("there.foo").mkdir()
    for output in ("there.foo", "new.foo/", "run.5", "out"):
        assert main(["encode", "p.png", "-o", output]) == 0
        assert Path(output, "p.npz").is_file()
