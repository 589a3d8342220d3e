from pathlib import Path

import pytest

from tests.runtime.exports import export_once, exported
from tests.training.small_data import write_sets


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two small sets."""
    return write_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, exported once for all tests; copy it before you break it."""
    return exported("stand_in", tmp_path_factory)


@pytest.fixture(autouse=True)
def traced_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """torch traces each network once in a run."""
    export_once(monkeypatch, tmp_path_factory)
