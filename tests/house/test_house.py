"""The house stands: imports go down, and nothing is too big."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from anymask import __version__
from anymask.base import process
from tests.house import docstrings, gates, size

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "anymask"
PLUGINS = sorted((ROOT / "contrib").glob("anymask-*"))
OURS = [PACKAGE, ROOT / "tests", ROOT / "demo", *PLUGINS]
SHIPPED = [PACKAGE, *sorted((ROOT / "contrib").glob("anymask-*/src/*"))]


def report(complaints: list[str]) -> None:
    if complaints:
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)


def test_imports_only_go_down() -> None:
    report(gates.climbing_imports(PACKAGE))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_plug_ins_use_public_names(plugin: Path) -> None:
    report(gates.inner_imports(plugin / "src", gates.public_names(PACKAGE)))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_plug_in_has_the_version_of_the_package(plugin: Path) -> None:
    project = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == plugin.name
    assert project["version"] == __version__
    (own,) = [line for line in project["dependencies"] if line.startswith("anymask")]
    assert own.partition("==")[2] == __version__


def test_no_files_of_a_room_import_each_other_in_a_circle() -> None:
    report(gates.circular_imports(PACKAGE))


def test_the_core_loads_without_the_extras() -> None:
    report(gates.heavy_imports(PACKAGE, frozenset(sys.stdlib_module_names)))


@pytest.mark.parametrize("root", SHIPPED, ids=lambda root: root.name)
def test_json_is_read_in_one_place(root: Path) -> None:
    report(gates.json_readers(root))


@pytest.mark.parametrize("root", SHIPPED, ids=lambda root: root.name)
def test_csv_is_written_and_read_in_one_place(root: Path) -> None:
    report(gates.csv_users(root))


@pytest.mark.parametrize("root", SHIPPED, ids=lambda root: root.name)
def test_pictures_are_opened_with_a_list_of_decoders(root: Path) -> None:
    report(gates.image_openers(root))


@pytest.mark.parametrize("root", [*SHIPPED, ROOT / "research"], ids=lambda root: root.name)
def test_packages_with_telemetry_are_imported_in_one_place(root: Path) -> None:
    report(gates.reporting_imports(root))
    assert gates.REPORTING == process.REPORTING


@pytest.mark.parametrize("root", OURS, ids=lambda root: root.name)
def test_forbidden_packages_are_used_nowhere(root: Path) -> None:
    report(gates.forbidden_imports(root))


@pytest.mark.parametrize("root", OURS, ids=lambda root: root.name)
def test_everything_is_within_its_budget(root: Path) -> None:
    report(gates.over_budget(root))


def test_no_number_is_above_its_limit(capfd: pytest.CaptureFixture[str]) -> None:
    numbers, limits = size.measure(ROOT), size.limits()
    with capfd.disabled():  # CI shows them
        print("", *(f"{name}: {numbers[name]} of {limits[name]}" for name in limits), sep="\n")
    assert numbers.keys() == limits.keys()
    report([
        f"{name}: {count}, at most {limits[name]} (tests/house/size.toml); remove something"
        for name, count in numbers.items() if count > limits[name]
    ])  # fmt: skip


def test_logical_lines_do_not_depend_on_the_layout() -> None:
    text = '"""A."""\nimport os\n\ndef f(a, b):\n    """B."""\n    import re\n    return g(a, b)\n'
    wide = text.replace("(a, b)", "(\n    a,\n    b,\n)").replace("import os\n", "\n# C.\n\n")
    assert size.logical_lines(text) == size.logical_lines(wide) == 2
    assert size.logical_lines('class A:\n    """D."""\n') == 2  # `pass` is a line


def test_docstrings_are_google_style() -> None:
    report(docstrings.unparsed(PACKAGE))


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    report(gates.machine_paths(ROOT))


def test_modules_that_comments_and_documents_name_exist() -> None:
    report(gates.dead_paths(ROOT))


def test_every_name_of_a_surface_is_there() -> None:
    for stub in PACKAGE.rglob("__init__.pyi"):
        package = importlib.import_module(".".join(stub.parent.relative_to(ROOT / "src").parts))
        said = re.findall(r"import (\w+) as", stub.read_text("utf-8"))
        assert said
        assert set(said) <= set(package.__all__)
        missing = [name for name in said if not hasattr(package, name)]
        assert missing == [], package.__name__


def loaded_after(statements: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after some statements."""
    code = f"{statements}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_anymask_loads_nothing_heavy() -> None:
    assert loaded_after("import anymask") & {"torch", "cv2", "onnxruntime", "PIL", "onnx"} == set()


def core_modules() -> list[str]:
    """Every module that must work in an installation without the extras."""
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in gates.python_files(PACKAGE)
        if gates.room_of(path, PACKAGE)
        not in gates.TORCH_ROOMS | {gates.CARGO, *gates.ROOM_PACKAGES}
        and path.relative_to(PACKAGE).as_posix() not in gates.TORCH_FILES
        and path.name != "__main__.py"
    ]


def test_the_core_can_be_imported_where_the_extras_are_absent() -> None:
    absent = {"torch", "safetensors", "onnx", "skimage"}.union(*gates.ROOM_PACKAGES.values())
    blocked = "import sys\n" + "\n".join(f"sys.modules[{name!r}] = None" for name in absent)
    imports = "\n".join(f"import {name}" for name in core_modules())
    assert "anymask" in loaded_after(f"{blocked}\n{imports}")
