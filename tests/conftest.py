"""What every test may ask for."""

import gc
import os
from collections.abc import Iterator
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

# Browsers, trainings, exports of all families, the wheel, reference outputs: `make test-all`.
SLOW = ("tests/web", "tests/training", "tests/installed", "tests/golden", "tests/fuzz", "research")

# No test measures time, a busy machine may be slow, and every run draws the same examples.
settings.register_profile(
    "anymask",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("anymask")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slow tests by their folders."""
    for item in items:
        if item.path.relative_to(REPOSITORY).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the collector of cycles need not walk through it."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def hasty_disk() -> Iterator[None]:
    """Nothing waits until the disk has it: only a power cut would tell, and no test is one."""
    from anymask.studio import database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
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
