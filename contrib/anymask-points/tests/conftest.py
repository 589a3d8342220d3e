"""Fixtures of the tests, with the settings of the tests of anymask."""

import sys
from pathlib import Path

import pytest

from tests.conftest import one_thread as one_thread
from tests.conftest import shared as shared

sys.path.insert(0, str(Path(__file__).parent))  # point_scenes


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins are in use, unlike in the tests of the core."""
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS", raising=False)
