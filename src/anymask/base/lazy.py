"""Imports the public names of a package when they are first used.

A package's `__init__.pyi` lists its names, a line each, with the modules that hold them; type
checkers and editors read the same file:

    from anymask.masks import box_area as box_area

Its `__init__.py` says `__getattr__, __dir__, __all__ = lazy_names(__name__)`, so that importing the
package loads none of its modules.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAME = re.compile(r"^from (\S+) import (\w+) as \w+$", re.MULTILINE)


def lazy_names(
    package: str,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, by the `__init__.pyi` beside it.

    package  its `__name__`, while it is imported
    """
    module = sys.modules[package]
    stub = Path(str(module.__file__)).with_suffix(".pyi").read_text("utf-8")
    homes = {name: home for home, name in _NAME.findall(stub)}

    def get(name: str) -> Any:
        if name not in homes:
            text = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=module)
        home = homes[name]
        if home == package or not hasattr(importlib.import_module(home), name):
            value: Any = importlib.import_module(f"{home}.{name}")
        else:
            value = getattr(importlib.import_module(home), name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted({*homes, *(n for n in vars(module) if n.startswith("__"))}), [*homes]
