from pathlib import Path

import pytest

from tests.runtimes.exports import exported


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, exported once for all tests; copy it before you break it."""
    return exported("stand_in", tmp_path_factory)
