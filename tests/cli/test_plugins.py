"""Commands of plug-ins: listed and run where they are installed, and named where they are not."""

from pathlib import Path

import pytest

from anymask.base import PLUGINS, plugins
from tests.conftest import CommandLine

PROBE = """
from anymask.cli import Argument, Command

def run(args):
    print("probed", args.depth)

COMMAND = Command(run, (Argument("--depth", type=int, help="depth in meters"),))
"""
SUMMARY = "command of the plug-in anymask-probe"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plug-in as pip installs it: a module, and the metadata of its distribution."""
    facts = tmp_path / "anymask_probe-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: anymask-probe\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[anymask.commands]\nprobe = anymask_probe\nsample = anymask_probe\n"
        "lost = anymask_lost\nempty = json\n"
    )
    (tmp_path / "anymask_probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS")
    return tmp_path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a plug-in with the commands `probe` and `sonar`."""
    commands = {"probe": "measure a depth", "sonar": "measure depths"}
    one = plugins.Plugin(commands=commands)
    monkeypatch.setitem(PLUGINS, "anymask-depths", one)


def listed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The first word and the rest of each printed line."""
    return [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("folder")
def test_a_plug_in_replaces_no_built_in_command(cli: CommandLine) -> None:
    assert "depth in meters" not in cli.out(["sample", "--help"])
    assert cli.out(["--help"]).count("\n  sample ") == 1


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("words", [["sonar"], ["sonar", "--help"], ["help", "sonar"]])
def test_a_command_of_an_absent_plug_in_names_it(words: list[str], cli: CommandLine) -> None:
    assert cli.refused(words) == (
        "anymask: error: Command 'sonar' requires the plug-in anymask-depths. Install it in a "
        "clone of anymask with: pip install ./contrib/anymask-depths\n"
    )
    assert "sonar" not in cli.out(["--help"])


@pytest.mark.usefixtures("folder")
def test_other_names_stay_unknown(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Unknown command 'prob'. Did you mean 'probe'?" in cli.refused(["prob"])
    for name, reason in (("lost", "No module named"), ("empty", "has no attribute 'COMMAND'")):
        told = cli.refused([name])
        assert told.startswith(f"anymask: error: The command '{name}' of the plug-in ")
        assert reason in told
        assert told.count("\n") == 1
    monkeypatch.setenv("ANYMASK_DISABLE_PLUGINS", "1")
    assert "Unknown command 'probe'." in cli.refused(["probe"])
    assert SUMMARY not in cli.out(["--help"])
