"""Read the pickled object of a NumPy file as plain values; nothing in it is called or imported.

A pickle refers to functions by name and calls them. Here a name maps to one of a few internal
replies, for arrays, dtypes, numbers and paths; any other name is an error. Arrays are built from
their bytes after dtype and length are checked.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from anymask.base import DataError

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_HEAD = b"\x93NUMPY"
_MAX_VALUES = 1_000_000


def read_pickled(data: bytes) -> Any:
    """Read the object of a NumPy file as arrays, dict, list, tuple, str and numbers.

    Raises DataError, also for a pickle with other names.
    """
    if not data.startswith(_HEAD):
        raise DataError("The file is not a NumPy file. Expected a file written by numpy.save.")
    file = io.BytesIO(data)
    try:
        is_old = npy.read_magic(file) == (1, 0)
        (npy.read_array_header_1_0 if is_old else npy.read_array_header_2_0)(file)
        start = file.tell()
        _check_operations(file, len(data))
        file.seek(start)
        value = _Unpickler(file).load()
        found = _Plain()(value)
    except DataError:
        raise
    except Exception as error:  # unpickling altered bytes can raise almost any exception
        raise DataError("The pickled object is corrupted. Save the file again.") from error
    return found.item() if isinstance(found, np.ndarray) and found.shape == () else found


def _check_operations(file: io.BytesIO, most: int) -> None:
    """Raise DataError for numbers of values above `most`, and for tuples that name others often.

    Lists that do are counted by `_Plain`, but a tuple in a key is hashed during unpickling.
    """
    memo, tuples, shared, last, at = set[int](), set[int](), 0, "", 0
    for code, place, _ in pickletools.genops(file):
        if "PUT" in code.name or code.name == "MEMOIZE":
            memo.add(at := len(memo) if place is None else int(place))
            tuples |= {at} if "TUPLE" in last else set()
        elif code.stack_before or code.stack_after:
            last = code.name
        shared += place in tuples if "GET" in code.name else 0  # each can double the visits
        if at > most or shared > 16 or code.name in ("POP", "POP_MARK", "DUP"):  # of own tuples
            raise DataError("The pickled object contains itself, or one value too many times.")


@dataclass(frozen=True, slots=True)
class _Reply:
    """The reply for a name; frozen, so that no pickle can change it."""

    answer: Callable[..., Any]

    def __call__(self, *words: Any) -> Any:
        return self.answer(*words)


@dataclass(slots=True)
class _Type:
    """A dtype during reading: its name and byte order."""

    name: str
    order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def checked(self) -> np.dtype[Any]:
        """Return the dtype. Raises DataError for anything but numbers, text and objects."""
        found = np.dtype(self.name)
        if found.kind not in "biufcSUO" or found.hasobject != (found.kind == "O"):
            raise DataError(
                f"The pickled object contains an array of the type {self.name!r}, which is "
                "not supported."
            )
        return found.newbyteorder(self.order)


@dataclass(slots=True)
class _Array:
    """An array during reading."""

    state: list[Any] = field(default_factory=list)

    def __setstate__(self, state: Any) -> None:
        self.state = [*state]

    def checked(self, plain: Callable[[Any], Any]) -> Any:
        """Return the array, or the object of an array with one. Raises DataError."""
        _, shape, kind, fortran, data = self.state
        dtype = kind.checked()
        if dtype.kind == "O":
            items = np.empty(len(data), object)
            items[:] = [plain(item) for item in data]
            return items[0] if shape == () else items.reshape(shape, order="F" if fortran else "C")
        flat = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return flat.astype(dtype.newbyteorder("="))


class _Unpickler(pickle.Unpickler):
    """Unpickler that accepts only the names of `_named`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the reply for a name. Raises DataError for an unknown one."""
        if (module, name) == ("numpy", "dtype"):
            return _Reply(lambda kind, *_: _Type(kind))
        if module in _NUMPY and name == "_reconstruct":
            return _Reply(lambda *_: _Array())
        if (module in _NUMPY and name == "scalar") or (module, name) == ("numpy", "ndarray"):
            return _Reply(_scalar)  # ndarray is named by arrays, and fails if it is called
        if (module, name) == ("_codecs", "encode"):  # bytes in files of protocol 2
            return _Reply(lambda text, _: text.encode("latin1"))
        if module.startswith("pathlib") and name in _PATHS:
            return _Reply(lambda *parts: "/".join(parts))
        raise DataError(
            f"The pickled object uses {module}.{name}, which is not loaded because it "
            "could run a program. Only arrays, numbers, text, lists and dictionaries "
            "are supported."
        )


def _scalar(kind: _Type, data: bytes = b"") -> Any:
    return np.frombuffer(data, kind.checked()).item()


class _Plain:
    """Conversion to plain values in which each array is built once.

    Raises DataError for a value that contains itself, and for more than _MAX_VALUES, where a value
    that is contained twice counts twice.
    """

    def __init__(self) -> None:
        self._made, self._count = dict[int, tuple[Any, int]](), 0

    def __call__(self, value: Any) -> Any:
        start, found, size = self._count, value, 1
        plain = (str, bytes, bool, int, float, complex, type(None), set, bytearray)
        if not isinstance(value, plain):
            if id(value) not in self._made:
                self._made[id(value)] = self, 1  # until it is made
                self._made[id(value)] = self._of(value), self._count - start + 1
            found, size = self._made[id(value)]
        self._count = start + size
        if found is self or self._count > _MAX_VALUES:
            raise DataError(f"The pickled object contains itself, or over {_MAX_VALUES} values.")
        return found

    def _of(self, value: Any) -> Any:
        if isinstance(value, _Array):
            return value.checked(self)
        if isinstance(value, dict):
            return {key: self(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self(one) for one in value)
        raise DataError(
            f"The pickled object contains {type(value).__name__.strip('_')}, not a value."
        )
