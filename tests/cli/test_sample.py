"""A new user's first file."""

from pathlib import Path

import pytest

import anymask
from anymask.cli.main import main
from anymask.images import SAMPLES
from tests.conftest import CommandLine


def test_a_sample_becomes_a_photo_that_the_first_command_reads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample"]) == 0
    assert Path("photo.jpg").read_bytes() == anymask.sample("coffee").read_bytes()
    assert main(["segment", "photo.jpg", "--point", "290,210", "-o", "cut.png"]) == 0
    assert Path("cut.png").is_file()
    assert capsys.readouterr().err.startswith("wrote photo.jpg\n")
    assert main(["sample", "all", "-o", "new"]) == 0
    assert {path.stem for path in Path("new").glob("*.jpg")} == set(SAMPLES)
    capsys.readouterr()
    assert cli.err(["sample"]) == "exists: photo.jpg\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample", "cow"], "Unknown sample 'cow'. Choose from: cat, coffee, dog, rocket, truck"),
        (["sample", "-o", "there.jpg"], "'there.jpg' already exists"),
        (["sample", "all", "-o", "-"], "Choose a folder with -o FOLDER"),
        (
            ["sample", "-o", "a.png"],
            "Sample images are JPEG. Use a name ending in .jpg, got 'a.png'",
        ),
    ],
)
def test_what_cannot_be_written_is_one_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.jpg").write_text("mine")
    assert told in cli.refused(words)
    assert Path("there.jpg").read_text() == "mine"
