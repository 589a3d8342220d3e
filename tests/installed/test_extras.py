"""What works, and what an error says, where only some extras are installed."""

import json

import pytest

from anymask.base.lazy import EXTRAS
from tests.extras import brings, run_with
from tests.house import gates

HELPS = """
import argparse, contextlib, io, json
from anymask.cli import CommandParser, commands, load
from anymask.cli.main import main

def lines():
    yield from ([], ["help"], ["-h"], ["--help"], ["--version"])
    for name, module in commands().items():
        parser = CommandParser()
        load(module).configure(parser)
        found = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        for words in [[], *([action] for one in found for action in one.choices)]:
            yield from ([name, *words, "--help"], [name, *words, "--help-all"])

told = {}
for words in lines():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        told[" ".join(words)] = [main(words), len(out.getvalue())]
print(json.dumps(told))
"""

NAMES = """
import importlib, json, pkgutil
import anymask
from anymask.base import MissingExtra
from anymask.base.lazy import _Placeholder

rooms = [one.name for one in pkgutil.iter_modules(anymask.__path__) if one.ispkg]
told = {}
for room in ["anymask", "anymask.sam", *(f"anymask.{name}" for name in rooms if name != "assets")]:
    module = importlib.import_module(room)
    assert set(getattr(module, "__all__", ())) <= set(dir(module)), room
    for name in getattr(module, "__all__", ()):
        try:
            value = getattr(module, name)
            told[f"{room}.{name}"] = "placeholder" if isinstance(value, _Placeholder) else "there"
        except MissingExtra as error:
            told[f"{room}.{name}"] = error.extra
print(json.dumps(told))
"""

STAR = """
from anymask import *
import anymask, inspect
from anymask.base import MissingExtra

assert all(hasattr(anymask, name) for name in anymask.__all__)
assert dict(inspect.getmembers(anymask))["load"] is load
assert not isinstance(3, Project) and (Project | None) and inspect.isclass(Project)
assert not hasattr(Project, "_repr_html_") and not hasattr(Project, "__wrapped__")
for use in (lambda: Project("photos"), lambda: Project.open, lambda: anymask.studio.Project):
    try:
        use()
    except MissingExtra as error:
        assert str(error).endswith("run: pip install 'anymask[studio]'"), error
        assert "Project needs the package 'sqlalchemy'" in str(error), error
    else:
        raise SystemExit("no error")
try:
    from anymask.studio import create_app
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize("extras", [(), ("studio",)])
def test_every_help_text_is_shown(extras: tuple[str, ...]) -> None:
    done = run_with(extras, HELPS)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 90
    assert {words: one for words, one in told.items() if one[0] != 0 or one[1] < 10} == {}


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = """
import sys
from anymask.cli import COMMANDS
from anymask.cli.main import main
main(["--help"])
print(sorted(sys.modules.keys() & {*COMMANDS.values(), "numpy", "cv2", "importlib.metadata"}))
"""
    assert run_with((), program).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("extras", [(), ("studio",), ("torch",), ("maps",)])
def test_a_public_name_is_there_or_names_its_extra(extras: tuple[str, ...]) -> None:
    done = run_with(extras, NAMES)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 1300
    absent = {name: found for name, found in told.items() if found != "there"}
    of_rooms = {name: extra for name, extra in absent.items() if name.count(".") > 1}
    assert set(of_rooms.values()) <= {*EXTRAS.values()} - {*extras}
    assert {extra for name, extra in absent.items() if name not in of_rooms} <= {"placeholder"}
    if "studio" in extras:
        others = {name for name, extra in of_rooms.items() if extra != "torch"}
        assert {name for name in others if name.startswith("anymask.studio.")} == {
            "anymask.studio.assistant_server"
        }
        assert told["anymask.Project"] == told["anymask.annotate"] == "there"


def test_a_star_import_works_where_packages_are_missing() -> None:
    done = run_with((), STAR)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "anymask.studio.create_app needs the package 'fastapi', which is not installed; "
        "run: pip install 'anymask[studio]'\n"
    )


def test_a_package_that_only_a_module_s_head_needs_is_named() -> None:
    program = """
import sys, types
from anymask.cli import COMMANDS
from anymask.cli.main import main
module = types.ModuleType("late")
module.configure = lambda parser: None
def run(args):
    import torch
module.run = run
sys.modules["late"], COMMANDS["late"] = module, "late"
sys.exit(main(["late"]))
"""
    done = run_with((), program)
    assert done.returncode == 2
    assert done.stderr == (
        "anymask: error: 'anymask late' needs the package 'torch', which is not installed; "
        "run: pip install 'anymask[torch]'\n"
    )


def test_the_table_of_extras_is_that_of_the_project() -> None:
    loaded = set().union(gates.TORCH_PACKAGES, *gates.ROOM_PACKAGES.values())
    assert loaded <= EXTRAS.keys()
    distributions = {"av": "av", "nrrd": "pynrrd", "pi_heif": "pi-heif", "python_multipart": ""}
    for package, extra in EXTRAS.items():
        name = distributions.get(package, package.replace("_", "-")) or "python-multipart"
        assert name in brings(extra), package
