"""Pictures and masks through pipes: only the result is on standard output."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import anymask
from anymask import edit
from anymask.cli.main import main
from anymask.images import sample
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime, discs

IMAGE, (DISC,) = discs((60, 90), [(30, 30, 20)])
COMMANDS = {
    "cutout": ["cutout", "--soft", "no"],
    "redact": ["redact", "--labels", "mask.png"],
    "segment": ["segment", "--box", "8,8,52,52"],
}
PIPE = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a photo of a disc, and the same photo on standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    found = Mask(mask_to_rle(DISC), score=0.9)
    monkeypatch.setattr("anymask.edit.subject.main_subject", lambda *_: found)
    monkeypatch.setattr(edit, "main_subject", lambda *_: found, raising=False)
    Image.fromarray(IMAGE).save("p.png")
    Image.fromarray(DISC).save("mask.png")
    give(monkeypatch)


def give(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.BytesIO(Path("p.png").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=piped, isatty=lambda: False))


def files() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_photo_goes_in_by_a_pipe_and_comes_out_by_one(
    command: str, capfdbinary: PIPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *words = COMMANDS[command]
    assert main([name, "p.png", *words, "-o", "wanted.png"]) == 0
    before = files()
    for source, more in (("-", []), ("-", ["-o", "-"]), ("p.png", ["-o", "/dev/stdout"])):
        give(monkeypatch)
        capfdbinary.readouterr()
        assert main([name, source, *words, *more]) == 0
        assert capfdbinary.readouterr().out == Path("wanted.png").read_bytes()
    assert files() == before


def test_everything_is_piped_as_any_format(
    capfdbinary: PIPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["everything", "-", "--grid", "4", "-o"]
    for ending in (".json", ".svg", ".overlay.png"):
        for target in (f"wanted{ending}", f"-{ending}"):
            give(monkeypatch)
            capfdbinary.readouterr()
            assert main([*words, target]) == 0
        told = capfdbinary.readouterr()
        assert told.out == Path(f"wanted{ending}").read_bytes()
        assert b"wrote standard output: " in told.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["segment", "p.png", "--point", "3,3", "-o", "-", "-o", "-.json"],
            "Only one result can be",
        ),
        (["segment", "p.png", "mask.png", "--point", "3,3", "-o", "-"], "image"),
        (["cutout", "p.png", "mask.png", "-o", "-"], "several images"),
        (["redact", "p.png", "--words", "cup", "-o", "-"], "--force"),
        (["redact", "p.png", "mask.png", "--labels", "mask.png", "-o", "-"], "image"),
        (["cutout", "p.png", "-o", "-.json"], "is not an image file"),
        (["boxes", "labels.json", "-o", "-"], "anymask boxes does not write to standard output"),
        (["volume", "s.nii", "--point", "3,3", "-o", "/dev/stdout"], "does not write to standard"),
        (["convert", "a.json", "-"], "anymask convert does not write to standard output"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_piped_is_refused_before_any_work(
    words: list[str], told: str, capfdbinary: PIPE
) -> None:
    assert main(words) == 2
    said = capfdbinary.readouterr()
    assert told.encode() in said.err
    assert said.out == b""


def test_on_a_terminal_a_photo_from_a_pipe_becomes_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main([*COMMANDS["cutout"], "-"]) == 0
    assert Path("stdin.cut.png").is_file()
    assert main([*COMMANDS["cutout"], "p.png", "-o", "-"]) == 2


def test_a_reader_that_goes_away_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.TextIOWrapper):
        def flush(self) -> None:
            raise BrokenPipeError

    for name, *words in COMMANDS.values():
        monkeypatch.setattr(sys, "stdout", Closed(io.BytesIO()))
        assert main([name, "p.png", *words, "-o", "-"]) == 141


def test_standard_output_is_binary() -> None:
    words = [sys.executable, "-m", "anymask", "sample", "-o", "-"]
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stdout == sample().read_bytes()
    assert done.stderr == b""
