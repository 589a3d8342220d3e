"""The front door: every failure is a sentence and an exit code."""

import argparse
import subprocess
import sys
import types
from pathlib import Path

import pytest

from anymask import __version__
from anymask.base import InputError, MissingExtra
from anymask.cli import SUMMARIES
from anymask.cli.command import Argument, Command
from anymask.cli.command_table import COMMANDS
from anymask.cli.main import main
from tests.conftest import CommandLine


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A command named `probe`; a test sets what it does in `action`."""
    module = types.ModuleType("anymask_probe")
    state = types.SimpleNamespace(action=lambda args: None, args=None)

    def run(args: argparse.Namespace) -> None:
        state.args = args
        state.action(args)

    number = Argument("--number", type=int)
    module.COMMAND = Command(run=run, arguments=(number,))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "anymask_probe", module)
    monkeypatch.setitem(COMMANDS, "probe", "anymask_probe")
    return state


def fails_with(error: BaseException):
    def action(_: argparse.Namespace) -> None:
        raise error

    return action


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command_with_its_summary(words: list[str], cli: CommandLine) -> None:
    out = cli.out(words)
    assert SUMMARIES.keys() == COMMANDS.keys()
    for name, summary in SUMMARIES.items():
        assert f"  {name} " in out
        assert summary in out
    assert "error:" not in out


def test_only_the_chosen_command_is_imported() -> None:
    code = (
        "import sys\n"
        "from anymask.cli.main import main, COMMANDS\n"
        "main(['--version']); main(['nothing'])\n"
        "print([m for m in COMMANDS.values() if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("word", ["version", "--version", "-V"])
def test_the_version_has_three_spellings(word: str, cli: CommandLine) -> None:
    assert cli.out([word]) == f"anymask {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            ["p.jpg", "--point", "1,2"],
            "anymask segment p.jpg --point 1,2. To segment all objects: anym",
        ),
        (
            ["p.jpg"],
            "anymask segment p.jpg --point X,Y. To segment all objects: anymask everything p.jpg",
        ),
        (["https://a.b/c.jpg"], "The command must be the first argument"),
        (["zzz"], "Unknown command 'zzz'. 'anymask --help' lists the commands"),
        (["--point", "1,2"], "The command must come before its options, but '--point' is first"),
        (["predict", "p.jpg"], "Did you mean 'segment'?"),
        (["Segment", "p.jpg"], "Did you mean 'segment'?"),
        (["generate", "p.jpg"], "Did you mean 'everything'?"),
    ],
)
def test_what_is_no_command_gets_a_hint(words: list[str], hint: str, cli: CommandLine) -> None:
    error = cli.refused(words)
    assert hint in error
    assert error.count("\n") == 1


def test_our_own_error_is_one_line_without_a_traceback(
    command: types.SimpleNamespace, cli: CommandLine
) -> None:
    for ours, typed in (
        ("expected an image, got a spoon; pass an image",) * 2,
        ('Pass one (number="a_1").', "Pass one (--number a_1)."),
        ("number= requires crop=. Set crop.", "--number requires crop=. Set crop."),
        (
            "Use number=(3, 2.5), number='auto', number=N or number=True.",
            "Use --number 3,2.5, --number auto, --number N or --number.",
        ),
        ("Pass --number 1/2 (in Python number=(1, 2) and number=).", "Pass --number 1/2."),
        ("number must be 1, got 2.", "--number must be 1, got 2."),
        ("Option number requires number=None.", "Option --number requires no --number."),
        ("every=2, start=0; http://a/b?number=1 <a b='c'>",) * 2,
        ("File not found: 'a number=3.jpg', number=3.jpg or a/number=3",) * 2,
    ):
        command.action = fails_with(InputError(ours))
        assert cli.refused(["probe"]) == f"anymask: error: {typed}\n"


def test_a_full_disk_is_a_sentence_too(command: types.SimpleNamespace, cli: CommandLine) -> None:
    command.action = fails_with(OSError(28, "No space left on device", "out.png"))
    assert "No space left on device: 'out.png'. Free some space" in cli.refused(["probe"])
    for name in (".out.png.part", ".out.png.0123abcd.part"):
        command.action = fails_with(PermissionError(13, "Permission denied", f"a/{name}"))
        assert cli.refused(["probe"]) == (
            "anymask: error: Permission denied: 'a/out.png'. Check the path and its permissions, "
            "or choose another location.\n"
        )


def test_an_interrupt_is_130_and_says_how_to_go_on(
    command: types.SimpleNamespace, cli: CommandLine
) -> None:
    command.action = fails_with(KeyboardInterrupt())
    assert "Run the same command again to resume" in cli.err(["probe"], 130)


def test_a_defect_keeps_its_traceback(command: types.SimpleNamespace) -> None:
    command.action = fails_with(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["probe"])


def test_a_closed_pipe_leaves_no_noise_behind() -> None:
    code = (
        "import sys\n"
        "from anymask.cli.main import COMMANDS, main\n"
        "import types\n"
        "m = types.ModuleType('flood')\n"
        "from anymask.cli import Command\n"
        "run = lambda args: [print('line', i) for i in range(100_000)]\n"
        "m.COMMAND = Command(run=run)\n"
        "sys.modules['flood'] = m; COMMANDS['flood'] = 'flood'\n"
        "sys.exit(main(['flood']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert err == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "absent", "--point", "1,1", "-o", "o.gpkg"],
        ["everything", "absent", "-o", "o.gpkg"],
        ["find", "there", "absent", "--like", "there@click:1,1"],
        ["track", "absent", "--box", "1,1,9,9", "-o", "o.mp4"],
        ["volume", "absent", "--box", "1,1,9,9", "-o", "o.nii.gz"],
        ["change", "there", "absent", "-o", "o.gpkg"],
        ["redact", "there", "--labels", "absent", "-o", "o"],
        ["annotate", "absent"],
        ["project", "export", "absent", "-o", "o.json"],
        ["project", "import", "there", "absent"],
        ["evaluate", "score", "volume", "there", "absent"],
        ["finetune", "--data", "absent", "-o", "o"],
    ],
    ids=lambda words: " ".join(words),
)
def test_a_missing_input_is_reported_before_a_missing_package(
    words: list[str], cli: CommandLine, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def lacks(*_: object) -> None:
        raise MissingExtra("package", "extra", "this")

    monkeypatch.setattr(Command, "_execute", lacks)
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    error = cli.refused(words)
    assert "File or folder not found: 'absent'" in error
    Path("absent").mkdir()
    assert "anymask[extra]" in cli.refused(words)
