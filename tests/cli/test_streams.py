import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anymask.cli.main import main, was_interrupted
from anymask.cli.outputs import printable, utf8_stdio


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat\x1b]0;owned\x07", r"cat\x1b]0;owned\x07"),
        ("a\tb\nc é", "a\tb\nc é"),
        ("\x9b2J", r"\x9b2J"),
        ("\r\x1b[Kours", "\r\x1b[Kours"),
    ],
)
def test_control_characters_of_labels_do_not_reach_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_bytes_of_names_that_are_no_text_are_printed_as_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with utf8_stdio():
        print(os.fsdecode(b"\xff.png"))
    assert capsys.readouterr().out == "\\udcff.png\n"


def test_streams_that_are_closed_keep_nothing_and_stop_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["--version"]) == 0
    assert main(["nothing"]) == 2


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_standard_error_stops_nothing_and_a_full_output_does() -> None:
    with contextlib.redirect_stderr(Full()):
        assert main(["nothing"]) == 2
    with contextlib.redirect_stdout(Full()):
        assert main(["--version"]) == 2


def test_an_interruption_behind_an_import_error_is_one() -> None:
    hidden = ImportError("initialization failed")
    hidden.__cause__ = KeyboardInterrupt()
    assert was_interrupted(hidden)
    assert not was_interrupted(ImportError("no module"))


def test_a_command_whose_output_is_closed_ends_well(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "anymask", "--version"]
    line = '"$@" >&- 2>&-'
    assert subprocess.run(["sh", "-c", line, "sh", *words], check=False).returncode == 0
