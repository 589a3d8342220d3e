"""What works, and what an error says, where only some extras are installed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from anymask.base.lazy import EXTRAS
from tests.evaluation.small_sets import write_set
from tests.extras import run_with
from tests.house import gates
from tests.installed.extras import packages

STAR = """
from anymask import *
import anymask, inspect
from anymask.base import MissingExtra

assert all(hasattr(anymask, name) for name in anymask.__all__)
assert dict(inspect.getmembers(anymask))["load"] is load
assert not isinstance(3, Project) and (Project | None) and inspect.isclass(Project)
assert not hasattr(Project, "_repr_html_") and not hasattr(Project, "__wrapped__")
asked = (lambda: anymask.studio.create_project, lambda: hasattr(anymask.studio, "create_project"))
for use in (lambda: Project("photos"), lambda: Project.open, *asked):
    try:
        use()
    except MissingExtra as error:
        assert str(error).endswith("Install it with: pip install 'anymask[studio]'"), error
        assert "(package 'sqlalchemy')" in str(error), error
    else:
        raise SystemExit("no error")
try:
    from anymask.studio import create_app
except MissingExtra as error:
    print(error)
"""


def test_a_star_import_works_where_packages_are_missing() -> None:
    done = run_with((), STAR)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "anymask.studio.create_app requires the 'studio' extra (package 'fastapi'). "
        "Install it with: pip install 'anymask[studio]'\n"
    )


def test_a_package_that_only_a_module_s_head_needs_is_named() -> None:
    program = """
import sys, types
from anymask.cli import Command
from anymask.cli.command_table import COMMANDS
from anymask.cli.main import main
module = types.ModuleType("late")
def run(args):
    import torch
module.COMMAND = Command(run=run)
sys.modules["late"], COMMANDS["late"] = module, "late"
sys.exit(main(["late"]))
"""
    done = run_with((), program)
    assert done.returncode == 2
    assert done.stderr == (
        "anymask: error: 'anymask late' requires the 'torch' extra (package 'torch'). "
        "Install it with: pip install 'anymask[torch]'\n"
    )


def test_the_table_of_extras_is_that_of_the_project() -> None:
    loaded = set().union(gates.TORCH_PACKAGES, *gates.ROOM_PACKAGES.values())
    assert loaded <= EXTRAS.keys()
    distributions = {"av": "av", "nrrd": "pynrrd", "pi_heif": "pi-heif", "python_multipart": ""}
    for package, extra in EXTRAS.items():
        name = distributions.get(package, package.replace("_", "-")) or "python-multipart"
        assert name in packages(extra), package


# What cannot run is refused before work begins.

NO_MODEL = """
import sys
import anymask.runtime
from anymask.cli.main import main
def no_model(*_):
    raise SystemExit("a model was opened")
anymask.runtime.open_runtime = no_model
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two photos with masks."""
    folder = tmp_path_factory.mktemp("data") / "set"
    write_set(folder, [[(2, 4, 26, 20)], [(34, 24, 60, 44)]])
    return folder


@pytest.mark.parametrize(
    ("extras", "words", "message"),
    [
        ((), ["evaluate", "set", "--measure", "everything"],
         "The measure 'everything' requires the 'evaluate' extra (package 'pycocotools'). "
         "Install it with: pip install 'anymask[evaluate]'"),
        ((), ["evaluate", "set", "--measure", "shown", "--only"], "The measure 'shown' requires"),
        (("evaluate",), ["evaluate", "set", "--measure", "instance-ap"],
         "The measure 'instance-ap' requires the file detections.json, which is missing"),
        ((), ["evaluate", "score", "volume", "set", "set"],
         "(package 'scipy'). "
         "Install it with: pip install 'anymask[volumes]'"),
        ((), ["evaluate", "score", "video", "set", "set", "--rules", "unsupervised"],
         "(package 'scipy')"),
        ((), ["export", "nano", "-o", "bundle", "--verify"], "(package 'torch')"),
        (("studio",), ["project", "retrain", "set"], "(package 'torch')"),
        ((), ["finetune", "--data", "set", "-o", "run"], "(package 'torch')"),
        ((), ["annotate", "set"], "(package 'fastapi')"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_a_model_is_opened(
    extras: tuple[str, ...], words: list[str], message: str, data: Path
) -> None:
    before = sorted(data.parent.rglob("*"))
    done = run_with(extras, NO_MODEL, *words, cwd=data.parent)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("anymask: error: ")
    assert message in done.stderr
    assert sorted(data.parent.rglob("*")) == before


def test_a_detector_needs_its_packages_before_its_files(data: Path) -> None:
    """Nobody is sent to download gigabytes that nothing could open."""
    program = """
from anymask.find import open_detector
from anymask.base import MissingExtra
try:
    open_detector("llmdet_tiny")
except MissingExtra as error:
    print(error)
"""
    told = run_with((), program).stdout
    assert told.startswith("This detector requires the 'words' extra (package 'torch')")
    assert told.endswith("Install it with: pip install 'anymask[words]'\n")


# What an extra promises.


@pytest.mark.parametrize("words", [["segment", "--point", "9,9"], ["everything", "--grid", "2"]])
def test_maps_alone_reads_bands(words: list[str], tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 3000, (32, 32, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    command, *others = words
    given = [command, "bands.tif", *others, "--bands", "3,2,1", "--model", "nano", "-o", "mask.png"]
    program = "import sys; from anymask.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = run_with(("maps",), program, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_with((), program, *given, cwd=tmp_path)
    assert done.returncode == 2
    assert "(package 'tifffile')" in done.stderr
    assert "damaged" not in done.stderr
