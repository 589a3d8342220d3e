"""Fixtures of the plug-in's tests; the settings are those of the tests of anymask."""

import pytest

from tests.conftest import one_thread as one_thread
from tests.conftest import shared as shared


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins are in use, unlike in the tests of the core."""
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS", raising=False)
