"""Fixtures of the plug-in's tests; the settings are those of the tests of anymask."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import hasty_disk as hasty_disk
from tests.conftest import one_thread as one_thread
from tests.studio.conftest import made as made
from tests.studio.conftest import project as project
from tests.studio.conftest import truth as truth

sys.path.insert(0, str(Path(__file__).parent))  # tool_files


@pytest.fixture(autouse=True, scope="module")
def plugins() -> Iterator[None]:
    """Plug-ins are in use, unlike in the tests of the core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANYMASK_DISABLE_PLUGINS", raising=False)
        yield
