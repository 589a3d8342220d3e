"""Recipes and examples, which are no part of the package, as modules."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def loaded_script(path: Path, name: str | None = None) -> Iterator[ModuleType]:
    """A program as a module, for as long as it is in use.

    Its folder is where it finds the modules beside it; those go with it. It is known by `name`
    (its file's, where none is given), as dataclasses look themselves up.
    """
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    neighbors = {found.stem for found in path.parent.glob("*.py")} - set(sys.modules)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        for gone in {name, *neighbors}:
            sys.modules.pop(gone, None)
