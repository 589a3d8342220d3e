"""What every test of this plug-in may ask for: as the package's tests, with plug-ins."""

import pytest

from anymask.segment import Model
from tests.conftest import hasty_disk, one_thread, repository  # noqa: F401  # sets variables, too
from tests.segment.fakes import ColorRuntime


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS", raising=False)


@pytest.fixture
def model() -> Model:
    """The model that programs of others call."""
    return Model(ColorRuntime())
