"""What every test may ask for."""

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The arrays of tests are small: several threads for one product would mostly wait for each other,
# which takes ten times as long where something else is at work. Read when numpy and torch load.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Tests import onnxruntime themselves; its telemetry starts with the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Photos are asked with the small quick model, as before it had a larger one beside it: tests are
# about answers, not about which model gives them (`test_defaults.py` is). Processes inherit it.
os.environ["ANYMASK_MODEL"] = "nano"

# Plug-ins of contrib/ that are installed here do not change what the core does.
os.environ["ANYMASK_DISABLE_PLUGINS"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# What `make test` leaves out, measured in processor seconds (`python -m tests.house.durations`):
# tests, and fixtures whose tests are all left out.
SLOW = frozenset((REPOSITORY / "tests" / "slow.txt").read_text("utf-8").split("\n"))
FLOWS = frozenset((REPOSITORY / "tests" / "web" / "flows.txt").read_text("utf-8").split("\n"))

# No test measures time, a busy machine may be slow, and every run draws the same examples.
settings.register_profile(
    "anymask",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=int(os.environ.get("ANYMASK_TEST_EXAMPLES", "15")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("anymask")


# `make test-core` runs without the packages of most extras: what imports one is skipped.
CORE_ONLY = bool(os.environ.get("ANYMASK_TEST_CORE"))
# Every test of these folders needs such a package, or the builder of the wheel.
collect_ignore = ["golden", "installed", "studio", "training", "web"] if CORE_ONLY else []


class CoreModule(pytest.Module):
    """A module of tests that may need a package which is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        with missing_packages_skip():
            try:
                return list(super().collect())
            except (pytest.Collector.CollectError, pytest.skip.Exception):
                # Half loaded: what a test imports from it later must fail for the same reason.
                name = self.path.relative_to(REPOSITORY).with_suffix("").parts
                sys.modules.pop(".".join(name), None)
                raise


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip modules that import a missing package."""
    return CoreModule.from_parent(parent, path=module_path) if CORE_ONLY else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip tests whose fixtures import a missing package."""
    with missing_packages_skip():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip tests that import a missing package."""
    with missing_packages_skip():
        return (yield)


@contextmanager
def missing_packages_skip() -> Iterator[None]:
    """Skip instead of failing if a package is not installed, for tests of the core alone."""
    try:
        yield
    except (ImportError, pytest.Collector.CollectError) as error:
        cause = error if isinstance(error, ImportError) else error.__cause__
        name = getattr(cause, "name", None) or ""
        if not CORE_ONLY or not name or name.partition(".")[0] in ("anymask", "tests", "research"):
            raise
        pytest.skip(f"needs the package {name}", allow_module_level=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and the flows through the page that `.ci/run` runs."""
    for item in items:
        name = item.nodeid.partition("[")[0]
        if name in SLOW or SLOW.intersection(f"fixture {one}" for one in fixtures(item)):
            item.add_marker(pytest.mark.slow)
        if name in FLOWS:
            item.add_marker(pytest.mark.flow)


def fixtures(item: pytest.Item) -> list[str]:
    """The fixtures of a test, also those that it needs indirectly, each with its file or folder."""
    found = getattr(item, "_fixtureinfo", None)
    named = found.name2fixturedefs.items() if found else ()
    return [f"{several[-1].baseid}::{name}" for name, several in named if several]


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the collector of cycles need not walk through it."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def hasty_disk() -> Iterator[None]:
    """Nothing waits until the disk has it: only a power cut would tell, and no test is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        try:
            from anymask.studio import database
        except ImportError:  # without the extra [studio]
            yield
            return
        hasty = [pragma.replace("FULL", "OFF") for pragma in database.PRAGMAS]
        patch.setattr(database, "PRAGMAS", tuple(hasty))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """OpenCV reads no variable of the environment."""
    import cv2

    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of references and data beside the checkout; a user's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (references and data), which a clone does not have")
    return SHARED


class CommandLine:
    """Runs command lines in this process, checks their exit codes and returns what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.printed = capsys.readouterr

    def out(self, words: Sequence[str], code: int = 0) -> str:
        assert run_command(words) == code
        return self.printed().out

    def err(self, words: Sequence[str], code: int = 0) -> str:
        assert run_command(words) == code
        return self.printed().err

    def refused(self, words: Sequence[str]) -> str:
        return self.err(words, 2)


def run_command(words: Sequence[str]) -> int:
    from anymask.cli.main import main

    return main(words)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)
