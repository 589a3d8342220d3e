"""What these tests share with those of the core, with the plug-in enabled."""

import os

from tests.conftest import one_thread, repository, shared  # noqa: F401 - fixtures
from tests.runtime.conftest import shelf, store_folder  # noqa: F401 - fixtures

os.environ.pop("ANYMASK_DISABLE_PLUGINS", None)
