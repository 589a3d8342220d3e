"""The plug-in of contrib/README.md, as pip would install it."""

import re
import tomllib
from pathlib import Path

import pytest

import anymask
from tests.conftest import CommandLine

PAGE = Path(__file__).parents[2] / "contrib/README.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the module and the metadata of its distribution."""
    fences = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
    project = tomllib.loads(fences["toml"])["project"]
    facts = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    (facts / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in rows.items())
            for group, rows in groups
        )
    )
    (tmp_path / "anymask_largest.py").write_text(fences["python"], "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_is_a_command(folder: Path, cli: CommandLine) -> None:
    listed = [" ".join(line.split()) for line in cli.out(["--help"]).splitlines()]
    assert "largest command of the plug-in anymask-largest" in listed
    assert "command of the plug-in anymask-largest" in cli.out(["help", "largest"])
    words = [str(anymask.sample("coffee")), "-o", "out.json", "--grid", "4", "--model", "nano"]
    assert re.fullmatch(
        r"wrote out.json: 2 of \d+ objects\n", cli.err(["largest", *words, "--count", "2"])
    )
    every = anymask.load("nano").everything(anymask.sample("coffee"), grid=4)
    expected = sorted((mask.area for mask in every), reverse=True)[:2]
    (found,) = anymask.read(folder / "out.json")
    assert [mask.area for mask in found.masks] == expected
    assert "Use at least 1." in cli.refused(["largest", *words, "--count", "0"])
