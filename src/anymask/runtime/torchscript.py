"""Read the tensors of a TorchScript archive without its program.

An archive consists of a pickle with the tree of modules, the bytes of each storage, and code. Only
the pickle and the storages are read. Its names refer to classes of the program; here each of them
becomes a plain record, and any other name is refused, so nothing of the file
is called or imported.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, MissingExtra, WeightsError, check_members
from anymask.runtime.protocol import import_torch

if TYPE_CHECKING:
    import torch

DEEPEST = 32  # of nested modules
_DTYPES = {
    "HalfStorage": "float16", "FloatStorage": "float32", "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool",
}  # fmt: skip
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist",
          "restore_type_tag")  # fmt: skip


def read_script(path: Path) -> dict[str, torch.Tensor]:
    """Read the parameters and buffers of a TorchScript archive by name, on the CPU.

    Raises:
        WeightsError: The archive is corrupted, or its pickle requires code execution.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            (pickled,) = [one for one in archive.namelist() if one.endswith("/data.pkl")]
            folder = pickled.removesuffix("data.pkl")
            root = _Unpickler(io.BytesIO(archive.read(pickled)), archive, folder).load()
            found = dict(_tensors(root, "", 0))
    except MissingExtra:
        raise
    except (DataError, WeightsError) as error:
        raise WeightsError(f"{path} was not loaded. {error}") from error
    except Exception as error:  # corrupted files raise arbitrary exceptions
        raise WeightsError(
            f"{path} is not a readable TorchScript archive: it is truncated or corrupted. Download "
            "it again, or copy it again from its source."
        ) from error
    if not found:
        raise WeightsError(f"{path} contains no weights. Pass another file.")
    return found


class _Record:
    """An object of the program: its attributes, without its class."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    """Unpickler that accepts tensors, numbers, containers and records."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type("_Module", (_Record,), {})  # a new class each: the pickle cannot alter ours
        answer: Callable[..., Any] | None = None
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            answer = _tensor
        elif (module, name) == ("collections", "OrderedDict"):
            answer = _nothing
        elif module == "torch.jit._pickle" and name in _LISTS:
            answer = _first
        elif module == "torch" and name in _DTYPES:
            return getattr(import_torch(), _DTYPES[name])
        if answer is None:
            raise WeightsError(
                f"Loading it would run code (it requires {module}.{name}), and anymask ran none of "
                "it. Convert the file with the program that wrote it: "
                "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')."
            )
        return answer

    def persistent_load(self, pid: Any) -> Any:
        torch = import_torch()
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError("Not a storage")
        data = self._archive.read(f"{self._folder}data/{key}")
        if len(data) != count * dtype.itemsize:
            raise ValueError("A storage has another length")
        return torch.frombuffer(bytearray(data), dtype=dtype) if count else torch.empty(0)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    found: torch.Tensor = (
        import_torch().as_strided(storage, tuple(size), tuple(stride), offset).clone()
    )
    return found


def _nothing(*_: Any) -> None:
    return None


def _first(value: Any, *_: Any) -> Any:
    return value


def _tensors(record: Any, prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a record and of all records below it, with dotted names."""
    if not isinstance(record, _Record) or depth > DEEPEST:
        return
    for name, value in record.state.items():
        if isinstance(value, import_torch().Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.", depth + 1)
