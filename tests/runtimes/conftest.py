from pathlib import Path

import pytest

from anymask.export.graphs import export_bundle
from tests.runtimes.stand_in import SPEC, build


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, exported once for all tests; copy it before you break it."""
    folder = tmp_path_factory.mktemp("bundles") / "stand_in"
    export_bundle(build(), SPEC, folder, licence="Apache-2.0", weights_hash="f" * 64)
    return folder
