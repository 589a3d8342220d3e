"""Which modules a first answer loads: imports are most of the time of a cold `anymask segment`."""

import subprocess
import sys
from pathlib import Path

import pytest

MAX_MODULES = 78  # of our own
ROOMS = {"base", "cli", "formats", "images", "jobs", "masks", "models", "runtime", "segment"}
LATER = {  # modules of these rooms for which one answer has no use
    "formats": {"annotations", "documents", "outlines", "recognition", "registry", "sa1b", "yolo"},
    "jobs": {"engines", "folder", "pool", "records", "verbs"},
    "segment": {"edge_maps", "everything/grid", "everything/search", "labels", "text_prompts"},
    "masks": {"draw", "joining", "relations"},
    "base": {"machine"},
    "runtime": {"onnx_video", "torch"},
}  # fmt: skip
HEAVY = {"torch", "tomllib", "zipfile", "importlib.metadata", "asyncio"}
SEGMENT = """
import sys
from anymask.cli.main import main
from anymask.runtime import onnx
onnx.SLOW = float("inf")  # the advice for slow machines loads further modules
assert main(["segment", "sample:coffee", "--point", "300,200", "-o", sys.argv[1]]) == 0
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    target = tmp_path_factory.mktemp("cold") / "cut.png"
    done = subprocess.run(
        [sys.executable, "-c", SEGMENT, str(target)], capture_output=True, text=True, check=True
    )
    assert target.is_file()
    return set(done.stderr.split())


def ours(loaded: set[str]) -> list[str]:
    """Our modules among them, as `floor/name`."""
    return sorted(
        name.removeprefix("anymask.").replace(".", "/")
        for name in loaded
        if name.startswith("anymask")
    )


def test_one_answer_loads_few_modules_of_few_floors(loaded: set[str]) -> None:
    assert len(ours(loaded)) <= MAX_MODULES
    assert {name.partition("/")[0] for name in ours(loaded) if "/" in name} == ROOMS


def test_what_one_answer_does_not_need_stays_on_the_disk(loaded: set[str]) -> None:
    later = {f"{room}/{name}" for room, names in LATER.items() for name in names}
    assert later & set(ours(loaded)) == set()
    assert loaded & HEAVY == set()


def test_every_module_that_may_not_be_loaded_exists() -> None:
    package = Path(__file__).resolve().parents[2] / "src/anymask"
    absent = [
        f"{room}/{name}" for room, names in LATER.items() for name in names
        if not (package / room / f"{name}.py").is_file()
    ]  # fmt: skip
    assert absent == []
