"""The Processing script of QGIS on mocks of qgis.core: the command that it runs, and its errors."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from anymask.cli import main as door
from tests.scripts import loaded_script

SCRIPT = Path(__file__).parents[2] / "contrib/qgis/anymask_everything.py"
RECORDER = """#!/bin/sh
printf '%s\\n' "$@" > "$RECORDED"
echo "wrote the layer"
exit ${FAILS:-0}
"""


class Algorithm:
    """What the script uses of `QgsProcessingAlgorithm`."""

    def __init__(self) -> None:
        self.defined: list[str] = []

    def addParameter(self, parameter: Any) -> None:  # noqa: N802
        self.defined.append(parameter.name)

    def parameterAsRasterLayer(self, given: dict, name: str, _: Any) -> Any:  # noqa: N802
        return SimpleNamespace(source=lambda: given[name])

    def _given(self, given: dict, name: str, _: Any) -> Any:
        return given[name]

    parameterAsOutputLayer = parameterAsString = parameterAsDouble = parameterAsBoolean = _given  # noqa: N815


def parameter(name: str, *_: Any, **__: Any) -> Any:
    return SimpleNamespace(name=name)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    core = ModuleType("qgis.core")
    for name in ("RasterLayer", "String", "Number", "Boolean", "VectorDestination"):
        setattr(core, f"QgsProcessingParameter{name}", parameter)
    number = type("Number", (), {"Double": 1, "__new__": lambda cls, *a, **k: parameter(*a)})
    more = {
        "QgsProcessingParameterNumber": number, "QgsProcessingAlgorithm": Algorithm,
        "QgsProcessing": SimpleNamespace(TypeVectorPolygon=2),
        "QgsProcessingException": type("Failed", (Exception,), {}),
    }  # fmt: skip
    vars(core).update(more)
    monkeypatch.setitem(sys.modules, "qgis", ModuleType("qgis"))
    monkeypatch.setitem(sys.modules, "qgis.core", core)
    with loaded_script(SCRIPT) as module:
        yield module


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters, with a program that records its arguments as the command."""
    program = tmp_path / "recorder"
    program.write_text(RECORDER)
    program.chmod(0o755)
    monkeypatch.setenv("RECORDED", str(tmp_path / "words"))
    return {
        "RASTER": "ortho.tif", "WORDS": "", "GSD": 0.2, "RIGHT": True, "COMMAND": str(program),
        "OPTIONS": "--min-area 4", "OUTPUT": str(tmp_path / "out.gpkg"),
    }  # fmt: skip


class Feedback:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.pushInfo = self.pushCommandInfo = self.told.append

    def isCanceled(self) -> bool:  # noqa: N802
        return False


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes and pgrep")
@pytest.mark.parametrize(("words", "command"), [("", "everything"), ("roof, tree", "find")])
def test_it_runs_a_command_that_exists(
    script: Any, given: dict[str, Any], tmp_path: Path, words: str, command: str
) -> None:
    feedback = Feedback()
    given["WORDS"] = words
    found = script.AnymaskEverything().processAlgorithm(given, None, feedback)
    assert found == {"OUTPUT": given["OUTPUT"]}
    assert feedback.told[-1] == "wrote the layer"
    ran = (tmp_path / "words").read_text().splitlines()
    assert ran[0] == command
    parsed = door.load(door.commands()[command]).parser(command).parse_args(ran[1:])
    assert (float(parsed.gsd), parsed.right_angles) == (0.2, True)
    assert (words in ran) is bool(words)


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes and pgrep")
def test_a_failure_of_the_command_is_a_failure_in_qgis(
    script: Any, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "2")
    with pytest.raises(Exception, match="anymask failed"):
        script.AnymaskEverything().processAlgorithm(given, None, Feedback())


def test_every_parameter_that_is_read_is_defined(script: Any, given: dict[str, Any]) -> None:
    algorithm = script.AnymaskEverything()
    algorithm.initAlgorithm()
    assert set(algorithm.defined) == set(given)
