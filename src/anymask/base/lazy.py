"""Import the public names of a package on first use.

A package's `__init__.pyi` lists its names, one a line, with the modules that define them. Type
checkers and editors read the same file:

    from anymask.masks import box_area as box_area

Its `__init__.py` contains `__getattr__, __dir__, __all__ = lazy_names(__name__)`, so importing the
package loads none of its modules.

A name whose module requires a missing package raises MissingExtra, an ImportError. This applies to
`from anymask.studio import NAME` and `hasattr(anymask.studio, NAME)`. The names of `anymask` itself
resolve to a placeholder that raises the error when called, so that `from anymask import *` works in
every installation.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from anymask.base.errors import MissingExtra

_NAME = re.compile(r"^from (\S+) import (\w+) as \w+$", re.MULTILINE)

# Packages of each extra, by import name.
_PACKAGES = {
    "torch": "torch safetensors onnx onnxscript",
    "words": "transformers",
    "ray": "ray",
    "studio": "sqlalchemy fastapi starlette pydantic uvicorn python_multipart",
    "postgres": "psycopg",
    "video": "av",
    "evaluate": "pycocotools scipy",
    "science": "tifffile roifile",
    "heic": "pi_heif",
    "microscopes": "czifile liffile nd2",
    "volumes": "nibabel pydicom nrrd zarr",
    "dicom-seg": "highdicom",
    "maps": "rasterio pyogrio shapely",
}
EXTRAS = {package: extra for extra, names in _PACKAGES.items() for package in names.split()}


def lazy_names(
    package: str, placeholders: bool = False
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package from its `__init__.pyi`.

    Args:
        package: `__name__` of the package that is being imported.
        placeholders: Return a placeholder for a name that requires a missing package, instead of
            raising MissingExtra.
    """
    module = sys.modules[package]
    stub = Path(str(module.__file__)).with_suffix(".pyi").read_text("utf-8")
    homes = {name: home for home, name in _NAME.findall(stub)}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        try:
            value = _load(package, homes[name], name)
        except ImportError as error:
            if (missing := missing_extra(error, f"{package}.{name}")) is None:
                raise
            if placeholders:  # not cached: the package may be installed while the program runs
                body = {"__module__": package, "__doc__": str(missing), "_missing": missing}
                return _Placeholder(name, (), body)
            raise missing from None
        setattr(module, name, value)
        return value

    return get, lambda: sorted({*homes, *(n for n in vars(module) if n.startswith("__"))}), [*homes]


def _load(package: str, home: str, name: str) -> Any:
    if home == package or not hasattr(importlib.import_module(home), name):
        return importlib.import_module(f"{home}.{name}")
    return getattr(importlib.import_module(home), name)


def missing_extra(error: ImportError, purpose: str) -> MissingExtra | None:
    """Return the MissingExtra for a failed import of an optional package, else None.

    Args:
        error: Exception raised by the import.
        purpose: Feature that requires the package, for the message.
    """
    from anymask.base.errors import MissingExtra

    package = error.name or ""
    if isinstance(error, MissingExtra):
        return MissingExtra(package, error.extra, purpose)
    if isinstance(error, ModuleNotFoundError) and package in EXTRAS:
        return MissingExtra(package, EXTRAS[package], purpose)
    return None


def need_packages(packages: Iterable[str], extra: str, purpose: str) -> None:
    """Raise MissingExtra for the first package that is not installed, without importing any.

    Args:
        packages: Import names.
        extra: Extra that installs them.
        purpose: Feature that requires them, for the message.
    """
    from anymask.base.errors import MissingExtra

    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra, purpose)


class _Placeholder(type):
    """Metaclass of a public name whose package is not installed.

    The name is a class, so that it can be used in `isinstance` and in annotations.
    """

    _missing: MissingExtra

    def __call__(cls, *_args: object, **_options: object) -> NoReturn:
        raise cls._missing.with_traceback(None)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("_"):  # introspection tools read such attributes of any object
            raise AttributeError(f"{cls.__name__!r} has no attribute {name!r}", name=name, obj=cls)
        raise cls._missing.with_traceback(None)
