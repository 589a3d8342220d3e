"""What these tests share with those of the core, with plug-ins."""

from collections.abc import Iterator

import pytest

from tests.conftest import one_thread, repository, shared  # noqa: F401  # sets variables, too
from tests.runtime.conftest import shelf, store_folder  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    """Plug-ins are in use, unlike in the tests of the core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANYMASK_DISABLE_PLUGINS", raising=False)
        yield
